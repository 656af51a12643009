# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Fit the untrained memory modules to the scale of image features that the image stage settled on.

After single images the top features are some thirty times larger than a fresh mask embedding, and
memories are kept in bfloat16: the mask would drown in rounding, and tracking never start.
"""

from __future__ import annotations

import torch


@torch.no_grad()
def look_at_the_same_place(attention: torch.nn.Module, amplitude: float = 3.2) -> None:
    """Start a rotary attention as "two cells around here": a constant in the fast frequencies.

    Rotation turns equal constants of query and key into a bump around displacement zero. Things
    move little between frames; where to look else is left to be learnt.
    """
    quarter = attention.internal_dim // attention.num_heads // 4  # frequencies per axis
    for bias in (attention.q_proj.bias, attention.k_proj.bias):
        pairs = bias.view(-1, 2, quarter, 2)  # heads, axes, frequencies, (real, imaginary)
        pairs[:, :, : quarter * 10 // 32, 0] += amplitude


@torch.no_grad()
def look_elsewhere_too(attention: torch.nn.Module, share: float = 0.5) -> None:
    """Lower that constant: at 3.2 a like cell eight cells away has no chance of being read."""
    quarter = attention.internal_dim // attention.num_heads // 4
    for bias in (attention.q_proj.bias, attention.k_proj.bias):
        bias.view(-1, 2, quarter, 2)[:, :, : quarter * 10 // 32, 0] *= share


@torch.no_grad()
def balance_memory(model: torch.nn.Module, images_b3hw: torch.Tensor) -> dict[str, float]:
    """Rescale memory encoder and memory attention in place; return the measured scales.

    Afterwards the mask weighs more than the image in a memory, what is read from memory is a
    sizeable part of the features it is added to, and reading nothing leaves the features much as
    the decoder knows them.
    """
    features = model.forward_image(images_b3hw)['backbone_fpn'][-1].float()
    tokens = features.flatten(2).transpose(1, 2).flatten(0, 1)  # [n, c]
    scale = float(tokens.std())
    encoder, attention = model.memory_encoder, model.memory_attention

    encoder.pix_feat_proj.weight /= scale
    image_part = encoder.pix_feat_proj(features)
    size = images_b3hw.shape[-1]
    squares = torch.full((1, 1, size, size), -10.0, device=features.device)
    squares[..., size // 4 : size // 2, size // 4 : size // 2] = 10.0
    mask_part = encoder.mask_downsampler(squares)
    ratio = 2 * float(image_part.std() / mask_part.std(dim=(2, 3)).mean())
    last = encoder.mask_downsampler.encoder[-1]
    last.weight *= ratio
    last.bias *= ratio

    for layer in attention.layers:
        layer.cross_attn_image.out_proj.weight *= 0.6 * scale
        look_at_the_same_place(layer.cross_attn_image)

    # Per channel, the line that turns normalised features back into what the decoder knows.
    wanted = tokens + model.no_mem_embed[0]
    x = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:])
    mean_x, mean_y = x.mean(0), wanted.mean(0)
    slope = ((x - mean_x) * (wanted - mean_y)).mean(0) / ((x - mean_x) ** 2).mean(0)
    attention.norm.weight.copy_(slope)
    attention.norm.bias.copy_(mean_y - slope * mean_x)
    left = (attention.norm(tokens) - wanted).std() / (wanted - mean_y).std()
    return {'feature_scale': scale, 'mask_gain': ratio, 'norm_residual': float(left)}
