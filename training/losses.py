# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Losses on mask logits, predicted IoU and object score."""

from __future__ import annotations

import torch
import torch.nn.functional as F

HIDDEN_WEIGHT = 3.0  # hidden objects are rare even in chosen clips


def dice_loss(logits_nhw: torch.Tensor, target_nhw: torch.Tensor) -> torch.Tensor:
    """Return one soft Dice loss per mask, [n]."""
    p = logits_nhw.sigmoid().flatten(1)
    t = target_nhw.flatten(1)
    return 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)


def focused_bce(
    logits_nhw: torch.Tensor, target_nhw: torch.Tensor, focus: float
) -> torch.Tensor:
    """Return one cross entropy per mask, [n]: half for the object, as much or more for the rest.

    With focus 0 all background pixels together weigh as much as the object; with focus 1 as if
    they were about four times its area; with focus 2 a background pixel weighs nearly what one of
    the object does, as the IoU has it. Less leaves masks a tenth too large; starting with more
    collapses to empty ones: raise it slowly.
    """
    t = target_nhw.flatten(1)
    bce = F.binary_cross_entropy_with_logits(logits_nhw.flatten(1), t, reduction='none')
    area = t.sum(1).clamp(min=1)
    rest = (t.shape[1] - area).clamp(min=1)
    near = torch.minimum(rest, 4 * area + 64)
    if focus <= 1:
        rest_norm = rest ** (1 - focus) * near**focus
    else:
        rest_norm = near * 4 ** (1 - focus)
    return 0.5 * (bce * t).sum(1) / area + 0.5 * (bce * (1 - t)).sum(1) / rest_norm


def mask_iou(logits_nhw: torch.Tensor, target_nhw: torch.Tensor) -> torch.Tensor:
    """Return the IoU of thresholded logits and a 0/1 target, [n]; two empty masks give 1."""
    p = logits_nhw.flatten(1) > 0
    t = target_nhw.flatten(1) > 0.5
    union = (p | t).sum(1)
    return torch.where(union > 0, (p & t).sum(1) / union.clamp(min=1), 1.0)


def mask_loss(
    logits_nhw: torch.Tensor, target_nhw: torch.Tensor, focus: float
) -> torch.Tensor:
    """Return Dice plus cross entropy per mask, [n]."""
    return dice_loss(logits_nhw, target_nhw) + focused_bce(logits_nhw, target_nhw, focus)


def decoder_loss(
    masks_nmhw: torch.Tensor,
    ious_nm: torch.Tensor,
    scores_n1: torch.Tensor,
    target_nhw: torch.Tensor,
    focus: float,
    single: bool,
    hidden_weight: float = HIDDEN_WEIGHT,
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss of the decoder's four raw masks (token 0, three candidates), and its parts.

    Only the best candidate learns the mask, all learn how good they are; token 0 learns too where
    it is used (`single`). A hidden object teaches the score alone.
    """
    present = target_nhw.flatten(1).any(1)
    score = F.binary_cross_entropy_with_logits(
        scores_n1[:, 0].float(), present.float(),
        weight=torch.where(present, 1.0, hidden_weight))
    parts = {'score': float(score.detach())}
    if not present.any():
        return score + 0.0 * masks_nmhw.float().mean() + 0.0 * ious_nm.float().mean(), parts
    masks, target = masks_nmhw.float()[present], target_nhw[present]
    n, m = masks.shape[:2]
    size = target.shape[-2:]
    small = F.interpolate(target[:, None], masks.shape[-2:], mode='area').round()
    with torch.no_grad():
        many = small.expand(-1, m - 1, -1, -1).flatten(0, 1)
        best = 1 + dice_loss(masks[:, 1:].flatten(0, 1), many).view(n, m - 1).argmin(1)
        small_iou = mask_iou(masks.flatten(0, 1), small.expand(-1, m, -1, -1).flatten(0, 1))
        iou_target = small_iou.view(n, m)
    chosen = masks[torch.arange(n), best][:, None]
    if single:
        chosen = torch.cat([masks[:, :1], chosen], 1)
    # At full resolution: what counts is the mask after upsampling, and balls are few cells wide.
    large = F.interpolate(chosen, size, mode='bilinear', align_corners=False).flatten(0, 1)
    truth = target.repeat_interleave(chosen.shape[1], 0)
    per_mask = mask_loss(large, truth, focus)
    with torch.no_grad():
        large_iou = mask_iou(large, truth).view(n, -1)
        rows = torch.arange(n)
        iou_target[rows, best] = large_iou[:, -1]
        if single:
            iou_target[:, 0] = large_iou[:, 0]
    iou = (ious_nm.float()[present] - iou_target).abs().mean()
    mask = per_mask.mean()
    parts |= {'mask': float(mask.detach()), 'iou': float(large_iou[:, -1].mean())}
    return mask + 0.5 * iou + score, parts
