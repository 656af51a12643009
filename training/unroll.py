# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Run the model over images and clips the way inference does, collecting losses.

The model stays in evaluation mode (it has no dropout): so memories come from its own thresholded
choices, hidden frames are blanked and pointers selected exactly as they will be later.
"""

from __future__ import annotations

import numpy as np
import torch

from training.data import Clip
from training.losses import decoder_loss, mask_iou
from training.network import normalise


class DecoderTap:
    """Keeps the mask decoder's output before candidates are chosen and hidden ones blanked."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.last: tuple[torch.Tensor, ...] | None = None
        decoder = model.sam_mask_decoder
        inner = decoder.predict_masks

        def predict_masks(**kwargs: object) -> tuple[torch.Tensor, ...]:
            self.last = inner(**kwargs)
            return self.last

        decoder.predict_masks = predict_masks

    def loss(
        self, target_nhw: torch.Tensor, focus: float, single: bool, **more: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of the latest prediction and its parts."""
        masks, ious, _, scores = self.last
        return decoder_loss(masks, ious, scores, target_nhw, focus, single, **more)


def jitter_boxes(boxes_n4: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Shift each side by about 4 % of the box, sometimes by 10 %, as detectors do."""
    wh = np.tile(boxes_n4[:, 2:] - boxes_n4[:, :2], 2)
    share = np.where(rng.random((len(wh), 1)) < 0.2, 0.10, 0.04)
    noisy = boxes_n4 + rng.normal(0, 1, wh.shape) * share * wh
    return np.clip(noisy, 0, size - 1).astype(np.float32)


def box_points(boxes_n4: np.ndarray, device: str = 'cpu') -> dict[str, torch.Tensor]:
    """Return boxes as SAM 2 takes them: two corner points labelled 2 and 3."""
    coords = torch.as_tensor(boxes_n4, dtype=torch.float32, device=device).view(-1, 2, 2)
    labels = torch.tensor([[2, 3]], dtype=torch.int32, device=device).expand(len(coords), 2)
    return {'point_coords': coords, 'point_labels': labels}


def click_points(
    targets_nhw: np.ndarray, rng: np.random.Generator, device: str = 'cpu'
) -> dict[str, torch.Tensor]:
    """Return one positive click per object, anywhere on it."""
    coords = []
    for target in targets_nhw:
        ys, xs = np.nonzero(target)
        i = int(rng.integers(len(ys)))
        coords.append((xs[i], ys[i]))
    xy = torch.tensor(np.array(coords), dtype=torch.float32, device=device)[:, None]
    labels = torch.ones(len(coords), 1, dtype=torch.int32, device=device)
    return {'point_coords': xy, 'point_labels': labels}


def mean_parts(parts: list[dict[str, float]]) -> dict[str, float]:
    """Average logged values by name."""
    keys = {k for p in parts for k in p}
    return {k: float(np.mean([p[k] for p in parts if k in p])) for k in sorted(keys)}


def mean_loss(
    results: list[tuple[torch.Tensor, dict[str, float]]],
) -> tuple[torch.Tensor, dict[str, float]]:
    """Average losses and logged values."""
    return torch.stack([r[0] for r in results]).mean(), mean_parts([r[1] for r in results])


def image_step(
    model: torch.nn.Module, tap: DecoderTap, clips: list[Clip], rng: np.random.Generator,
    focus: float, device: str = 'cpu',
) -> tuple[torch.Tensor, dict[str, float]]:
    """Encode a batch of images once and decode every object of each from a box or a click."""
    with torch.autocast(device, torch.bfloat16):
        images = normalise(np.concatenate([c.images for c in clips]), device)
        features = model.forward_image(images)['backbone_fpn']
        owner = torch.tensor(
            [i for i, c in enumerate(clips) for _ in c.boxes], device=device)
        masks = np.concatenate([c.targets[:, 0] for c in clips])
        boxes = np.concatenate([c.boxes[:, 0] for c in clips])
        if rng.random() < 0.75:
            points = box_points(jitter_boxes(boxes, rng, images.shape[-1]), device)
        else:
            points = click_points(masks, rng, device)
        low, middle, top = (f.index_select(0, owner) for f in features)
        model._forward_sam_heads(
            backbone_features=top + model.no_mem_embed.view(1, -1, 1, 1), point_inputs=points,
            high_res_features=[low, middle],
            multimask_output=points['point_labels'].shape[1] == 1)
    return tap.loss(torch.from_numpy(masks).to(device).float(), focus, single=True)


def clip_step(
    model: torch.nn.Module, tap: DecoderTap, clip: Clip, rng: np.random.Generator,
    focus: float, track_focus: float, train_encoder: bool, device: str = 'cpu',
) -> tuple[torch.Tensor, dict[str, float]]:
    """Prompt the conditioned frames, then track through all others in order, as one pass does."""
    count, length = clip.targets.shape[:2]
    targets = torch.from_numpy(clip.targets).to(device).float()
    memory: dict[str, dict] = {'cond_frame_outputs': {}, 'non_cond_frame_outputs': {}}
    losses, parts = [], []
    with torch.autocast(device, torch.bfloat16):
        with torch.set_grad_enabled(train_encoder):
            out = model.forward_image(normalise(clip.images, device))
        _, feats, positions, sizes = model._prepare_backbone_features(out)
        conditioned, times = clip.layout.conditioned, clip.layout.times
        tracked = [t for t in range(length) if t not in conditioned]
        for t in conditioned + tracked:
            prompted = t in conditioned
            points = mask = None
            if prompted:
                kind = rng.random()
                if kind < 0.8:
                    boxes = jitter_boxes(clip.boxes[:, t], rng, targets.shape[-1])
                    points = box_points(boxes, device)
                elif kind < 0.9:
                    points = click_points(clip.targets[:, t], rng, device)
                else:
                    mask = targets[:, t, None]
            rows = torch.full((count,), t, device=device)
            if clip.rows is not None and t >= length - clip.rows.shape[1]:
                rows = torch.from_numpy(clip.rows[:, t - length]).to(device)
            now = [f.index_select(1, rows) for f in feats]
            step = model.track_step(
                frame_idx=times[t], is_init_cond_frame=prompted, current_vision_feats=now,
                current_vision_pos_embeds=[
                    p.index_select(1, rows) for p in positions],
                feat_sizes=sizes, point_inputs=points, mask_inputs=mask, output_dict=memory,
                num_frames=10_000, run_mem_encoder=False)
            # What a frame predicts is data for the next ones: gradients through the whole chain
            # are so noisy that they undo what single images taught.
            model._encode_memory_in_output(
                now, sizes, points, t != tracked[-1], step['pred_masks_high_res'].detach(),
                step['object_score_logits'].detach(), step)
            kept = {k: step[k] for k in ('maskmem_features', 'maskmem_pos_enc', 'obj_ptr')}
            if not prompted:
                kept['obj_ptr'] = kept['obj_ptr'].detach()
            memory['cond_frame_outputs' if prompted else 'non_cond_frame_outputs'][times[t]] = kept
            if mask is not None:
                continue
            with torch.autocast(device, enabled=False):
                loss, part = tap.loss(
                    targets[:, t], focus if prompted else track_focus, single=prompted)
            losses.append(loss)
            if not prompted:
                part = {f'track_{k}': v for k, v in part.items()}
                part |= _tracking(step['pred_masks_high_res'], targets[:, t])
            parts.append(part)
    return torch.stack(losses).mean(), mean_parts(parts)


def _tracking(masks_n1hw: torch.Tensor, target_nhw: torch.Tensor) -> dict[str, float]:
    present = target_nhw.flatten(1).any(1)
    with torch.no_grad():
        iou = mask_iou(masks_n1hw[:, 0].float(), target_nhw)
    values = {}
    if present.any():
        values['J'] = float(iou[present].mean())
    if not present.all():
        values['empty'] = float((iou[~present] == 1).float().mean())
    return values
