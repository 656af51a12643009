# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a person or another program says of an object on a frame, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import (
    ImageFeatures,
    MaskPrediction,
    decode_masks,
    decode_points,
)
from detsam2_ros.engine.sam2.transfer import to_device
from detsam2_ros.results.errors import PromptError

_BOX_LABELS = (2, 3)  # SAM 2's point labels for the corners of a box
_INSIDE, _OUTSIDE = 1, 0
MAX_POINTS = 64
# A mask as logits: sigmoid(10) is 1 but for 5e-5. (SAM2Base._use_mask_as_output)
_LOGIT_SCALE, _LOGIT_BIAS = 20.0, -10.0


@dataclass(frozen=True, eq=False)
class Prompt:
    """Where an object is on a frame: a box, points, a box with points, or a mask.

    box: (x0, y0, x1, y1) pixels. points: float [n, 2] xy pixels; labels: int [n], 1 inside the
    object, 0 outside. mask: bool [H, W]. Raises PromptError for anything that is none of these.
    """

    box: tuple[float, float, float, float] | None = None
    points: np.ndarray | None = None
    labels: np.ndarray | None = None
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        points = np.zeros((0, 2)) if self.points is None else _floats('points', self.points)
        if points.ndim != 2 or points.shape[1] != 2:
            raise PromptError(f'a prompt needs points [n, 2], got shape {list(points.shape)}')
        labels = np.zeros(0) if self.labels is None else _floats('labels', self.labels)
        if labels.ndim != 1 or len(labels) != len(points):
            raise PromptError(
                f'a prompt needs a label for each point: {len(points)} points, '
                f'{labels.size} labels'
            )
        if len(points) > MAX_POINTS:
            raise PromptError(f'a prompt has at most {MAX_POINTS} points, got {len(points)}')
        if not np.isin(labels, (_INSIDE, _OUTSIDE)).all():
            raise PromptError('the labels of points are 1 (inside) or 0 (outside)')
        if self.mask is not None and (self.box is not None or len(points)):
            raise PromptError('a mask prompt comes alone, without a box or points')
        if self.mask is None and self.box is None and not len(points):
            raise PromptError('a prompt needs a box, points or a mask')
        if not np.isfinite(points).all():
            raise PromptError('the points of a prompt must be finite numbers')
        object.__setattr__(self, 'points', points)
        object.__setattr__(self, 'labels', labels.astype(np.int64))
        if self.box is not None:
            object.__setattr__(self, 'box', _box(self.box))
        if self.mask is not None:
            object.__setattr__(self, 'mask', _mask(self.mask))

    @property
    def is_correction(self) -> bool:
        """Whether it says something only of a mask that is there: points, no box or mask."""
        return self.box is None and self.mask is None

    def check(self, height: int, width: int, refines: bool) -> None:
        """Raise PromptError when it cannot be one for an image; refines: a mask is there."""
        assert self.points is not None and self.labels is not None
        if self.mask is not None:
            if self.mask.shape != (height, width):
                raise PromptError(
                    f'the mask is {self.mask.shape[1]}x{self.mask.shape[0]}, the images of the '
                    f'stream are {width}x{height}'
                )
            return
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if min(x1, width) - max(x0, 0) < 1 or min(y1, height) - max(y0, 0) < 1:
                raise PromptError(
                    f'the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) has no pixel inside the image, '
                    f'which is {width}x{height}'
                )
        inside = (self.points >= 0) & (self.points < (width, height))
        if not inside.all():
            x, y = self.points[~inside.all(axis=1)][0]
            raise PromptError(
                f'the point ({x:g}, {y:g}) is outside the image, which is {width}x{height}'
            )
        if self.is_correction and not refines and not (self.labels == _INSIDE).any():
            raise PromptError(
                'points outside an object tell nothing of a new one: add one inside, or a box'
            )


def decode_prompt(
    model: Sam2Model,
    features: ImageFeatures,
    prompt: Prompt,
    size: tuple[int, int],
    before: np.ndarray | None,
) -> MaskPrediction:
    """Segment one object from a prompt, without memory; a batch of one.

    size: (height, width) of the image. before: the mask that points alone correct, bool [H, W].
    As SAM2VideoPredictor.add_new_points_or_box and add_new_mask do on a frame that was not
    tracked; the published mask is in the place of the logits of an earlier click.
    """
    height, width = size
    if prompt.mask is not None:
        return decode_masks(model, features, mask_prompts(model, prompt.mask[None]))
    assert prompt.points is not None and prompt.labels is not None
    points, labels = prompt.points, prompt.labels
    if prompt.box is not None:
        corners = np.array(prompt.box).reshape(2, 2).clip(0, (width, height))
        points = np.concatenate([corners, points])
        labels = np.concatenate([_BOX_LABELS, labels])
    scaled = (points * (model.image_size / np.array([width, height]))).astype(np.float32)
    logits = None
    if prompt.is_correction and before is not None and before.any():
        side = model.mask_size
        small = F.interpolate(
            torch.from_numpy(before.astype(np.float32))[None, None], (side, side),
            mode='bilinear', align_corners=False, antialias=True,
        )  # fmt: skip
        logits = to_device(small * _LOGIT_SCALE + _LOGIT_BIAS, model.device)
    return decode_points(
        model,
        features,
        to_device(torch.from_numpy(scaled)[None], model.device),
        to_device(torch.from_numpy(labels.astype(np.int32))[None], model.device),
        logits,
    )


def decode_boxes(
    model: Sam2Model, features: ImageFeatures, boxes: np.ndarray, size: tuple[int, int]
) -> MaskPrediction:
    """Segment B objects from a box each, without memory.

    boxes: float [B, 4] xyxy pixels. size: (height, width) of the image.
    """
    height, width = size
    scale = np.array([model.image_size / width, model.image_size / height] * 2)
    corners = (boxes * scale).astype(np.float32).reshape(-1, 2, 2)
    labels_bp = to_device(torch.tensor([_BOX_LABELS], dtype=torch.int32), model.device)
    points_bp2 = to_device(torch.from_numpy(corners), model.device)
    return decode_points(model, features, points_bp2, labels_bp.expand(len(boxes), -1))


def mask_prompts(model: Sam2Model, masks_nhw: np.ndarray) -> torch.Tensor:
    """Bring masks, bool [n, H, W], to the model's size, float 0/1 [n, 1, S, S].

    As SAM2VideoPredictor.add_new_mask does.
    """
    size = (model.image_size, model.image_size)
    resized = F.interpolate(
        torch.from_numpy(masks_nhw.astype(np.float32))[:, None], size, mode='bilinear',
        align_corners=False, antialias=True,
    )  # fmt: skip
    return to_device((resized >= 0.5).float(), model.device)


def _floats(what: str, values: object) -> np.ndarray:
    """Return numbers as float64; raises PromptError for text, ragged lists and the like."""
    try:
        given = np.asarray(values)
        if given.dtype.kind in 'biuf':
            return given if given.dtype == bool else given.astype(np.float64)
    except (TypeError, ValueError):  # a ragged list
        pass
    raise PromptError(f'{what} of a prompt must be numbers, got {values!r:.60}')


def _box(box: object) -> tuple[float, float, float, float]:
    values = _floats('a box', box)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise PromptError(f'a box is four finite numbers x0, y0, x1, y1 in pixels, got {box}')
    x0, y0, x1, y1 = (float(value) for value in values)
    if x1 <= x0 or y1 <= y0:
        raise PromptError(f'the box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is empty: x0 < x1, y0 < y1')
    return x0, y0, x1, y1


def _mask(mask: object) -> np.ndarray:
    values = _floats('a mask', mask)
    if values.ndim != 2:
        raise PromptError(f'a mask is [H, W], got shape {list(values.shape)}')
    if np.isnan(values).any():
        raise PromptError('the mask has pixels that are no number (NaN)')
    if not values.any():
        raise PromptError('the mask has no pixel')
    return values.astype(bool)
