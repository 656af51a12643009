# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small SAM 2 models with random weights that react to what they remember.

Plain random weights nearly ignore their memory: an engine that attended to the wrong frames
would still give the right masks. Here the parts that memory passes through are scaled up
until reversing the temporal codes changes most masks (`test_parity_weights.py` checks it).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from oracle.configs import build, config, with_postprocessing


def random_weights(
    settings: dict[str, Any], seed: int = 0, gain: float = 1.0
) -> dict[str, torch.Tensor]:
    """Return seeded weights for a config that make masks depend on memory.

    gain scales what passes through memory; 0 leaves plain random weights.
    """
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    try:
        module = build(with_postprocessing(settings))
        if gain:
            _sensitise(module, gain, settings['model']['image_size'], seed)
    finally:
        torch.random.set_rng_state(state)
    return {name: value.clone() for name, value in module.state_dict().items()}


@torch.no_grad()
def _sensitise(module: torch.nn.Module, gain: float, image_size: int, seed: int) -> None:
    decoder = module.sam_mask_decoder
    # Features that follow the image: the initial ones are nearly constant.
    for name, weight in module.image_encoder.named_parameters():
        if weight.ndim > 1 and 'norm' not in name and 'pos_embed' not in name:
            weight.mul_(1.5)
    # Temporal codes as large as the memories they are added to, and pointers that matter.
    module.maskmem_tpos_enc.normal_(0, 1.5 * gain)
    module.no_obj_ptr.normal_(0, 1.0)
    if module.no_obj_embed_spatial is not None:
        module.no_obj_embed_spatial.normal_(0, 1.0)
    _scale((module.obj_ptr_proj, module.obj_ptr_tpos_proj), 2.5 * gain)
    for block in module.memory_encoder.fuser.layers:
        block.gamma.fill_(1.0)
    _scale((module.memory_encoder.mask_downsampler,), 2.0)
    _scale((module.memory_encoder.mask_downsampler.encoder[-1],), 4.0)
    # Attention to memory that selects, and whose result outweighs the image feature.
    for layer in module.memory_attention.layers:
        cross = layer.cross_attn_image
        _scale((cross.q_proj, cross.k_proj, cross.v_proj), 2.0 * gain)
        _scale((cross.out_proj,), 4.0 * gain)
    # A decoder whose tokens follow the features.
    for name, part in decoder.transformer.named_modules():
        if name.endswith('token_to_image'):
            _scale((part,), 2.0)
    _scale((decoder.output_upscaling[0],), 4.0)
    # Masks of both signs: logits are sums of positive features, so weigh half of them down.
    for head in decoder.output_hypernetworks_mlps:
        last = head.layers[-1]
        last.weight.mul_(6.0)
        last.weight.sub_(last.weight.mean(0))
        last.bias.normal_(0, 1.0)
        last.bias.sub_(last.bias.mean())
    for _ in range(2):
        _calibrate(module, image_size, seed)


def _scale(parts: Iterable[torch.nn.Module], factor: float) -> None:
    for part in parts:
        for weight in part.parameters():
            if weight.ndim > 1:
                weight.mul_(factor)


def _calibrate(module: torch.nn.Module, image_size: int, seed: int) -> None:
    """Shift and scale the decoder's outputs by what they are on a short tracked film."""
    decoder = module.sam_mask_decoder
    score = decoder.pred_obj_score_head
    score = score.layers[-1] if hasattr(score, 'layers') else score
    seen: dict[torch.nn.Module, list[torch.Tensor]] = {score: [], decoder.output_upscaling[3]: []}
    hooks = [
        part.register_forward_hook(lambda part, _, out: seen[part].append(out)) for part in seen
    ]
    try:
        for part_film, box in enumerate(_BOXES):
            edges = [image_size * edge for edge in box]
            _film(module, image_size, 1000 * seed + part_film + 500, edges)
    finally:
        for hook in hooks:
            hook.remove()
    for part, outputs in seen.items():
        values = torch.cat(outputs).transpose(0, 1).flatten(1)
        # 0.7 deviations above zero: about three of four are visible.
        level, spread = (0.7, 1.0) if part is score else (0.0, 1.5)
        deviation = values.std(1).clamp_min(1e-4)
        # A transposed convolution has its outputs in the second dimension.
        shape = (-1, 1) if part is score else (1, -1, 1, 1)
        part.weight.mul_((spread / deviation).reshape(shape))
        part.bias.copy_((part.bias - values.mean(1)) * spread / deviation + level)


# Where the calibration looks, as parts of the image.
_BOXES = (
    (0.1, 0.1, 0.5, 0.6),
    (0.4, 0.5, 0.9, 0.8),
    (0.2, 0.3, 0.4, 0.9),
    (0.6, 0.1, 0.8, 0.4),
)


def _film(module: torch.nn.Module, size: int, seed: int, box: list[float]) -> None:
    memory: dict[str, dict[int, Any]] = {'cond_frame_outputs': {}, 'non_cond_frame_outputs': {}}
    prompt = {
        'point_coords': torch.tensor(box).reshape(1, 2, 2),
        'point_labels': torch.tensor([[2, 3]], dtype=torch.int32),
    }
    film = images(4, size, size, seed)
    for frame, image in enumerate(film):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(57).sub(2)
        _, features, positions, sizes = module._prepare_backbone_features(
            module.forward_image(pixels))
        first = frame == 0
        memory['cond_frame_outputs' if first else 'non_cond_frame_outputs'][frame] = (
            module.track_step(
                frame_idx=frame, is_init_cond_frame=first, current_vision_feats=features,
                current_vision_pos_embeds=positions, feat_sizes=sizes,
                point_inputs=prompt if first else None, mask_inputs=None, output_dict=memory,
                num_frames=len(film),
            )
        )


def save(
    folder: Path, kind: str = 'sam21', seed: int = 0, image_size: int = 128, gain: float = 1.0
) -> tuple[Path, Path]:
    """Write a random model as the official files come: (checkpoint .pt, config .yaml)."""
    settings = config(kind, image_size)
    checkpoint = folder / f'random_{kind}_{seed}_{image_size}.pt'
    yaml = checkpoint.with_suffix('.yaml')
    torch.save({'model': random_weights(settings, seed, gain)}, checkpoint)
    yaml.write_text('# @package _global_\n' + OmegaConf.to_yaml(OmegaConf.create(settings)))
    return checkpoint, yaml


def images(count: int, height: int = 96, width: int = 128, seed: int = 0) -> list[np.ndarray]:
    """Return a short film of drifting coloured blobs, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    blobs = 6
    centre = rng.uniform(0, 1, (blobs, 2)) * (height, width)
    speed = rng.uniform(-8, 8, (blobs, 2))
    radius = rng.uniform(0.08, 0.25, blobs) * height
    colour = rng.uniform(0, 255, (blobs, 3))
    ground = rng.uniform(60, 190, 3) + 30 * np.sin(x / 9 + rng.uniform(0, 6))[..., None]
    film = []
    for t in range(count):
        image = ground.copy()
        for i in range(blobs):
            cy, cx = (centre[i] + t * speed[i]) % (height, width)
            near = np.exp(-((((y - cy) ** 2 + (x - cx) ** 2) / radius[i] ** 2) ** 2))[..., None]
            image = image * (1 - near) + colour[i] * near
        image += rng.normal(0, 4, image.shape)
        film.append(image.clip(0, 255).astype(np.uint8))
    return film
