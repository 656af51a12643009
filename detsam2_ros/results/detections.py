# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a detector found: boxes with classes and scores, and what became of late ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MAX_CLASS_ID = 2**31 - 1


@dataclass(frozen=True)
class Detections:
    """The boxes a detector found in one image.

    boxes: float32 [n, 4] xyxy in pixels of the image; class_ids: int64 [n], 0 and more; scores:
    float32 [n] in 0..1. Raises ValueError for what is no number, no class id, or does not fit
    together in length or shape.
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        boxes = _floats('boxes', self.boxes)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f'detections: boxes must be [n, 4] xyxy, got shape {boxes.shape}')
        class_ids = _class_ids(self.class_ids)
        scores = _floats('scores', self.scores).reshape(-1)
        if not len(boxes) == len(class_ids) == len(scores):
            raise ValueError(
                f'detections: {len(boxes)} boxes, {len(class_ids)} class_ids and '
                f'{len(scores)} scores must be equally many'
            )
        object.__setattr__(self, 'boxes', boxes)
        object.__setattr__(self, 'class_ids', class_ids)
        object.__setattr__(self, 'scores', scores)

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls) -> Detections:
        """Return detections without any box."""
        return cls(np.zeros((0, 4)), np.zeros(0), np.zeros(0))


def _floats(what: str, values: object) -> np.ndarray:
    try:
        return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f'detections: {what} must be numbers ({error})') from error


def _class_ids(values: object) -> np.ndarray:
    """Return ids as int64 [n]; detectors give them as floats too."""
    given = np.asarray(values).reshape(-1)
    if given.dtype.kind in 'iuf':
        whole = (given >= 0) & (given <= MAX_CLASS_ID) & (given % 1 == 0)  # NaN: False
        if whole.all():
            return given.astype(np.int64)
        given = given[~whole]
    raise ValueError(
        f'detections: class_ids must be whole numbers in 0..{MAX_CLASS_ID}, got {given[0]!r:.40}; '
        'a name goes into class_names of the detector'
    )


def usable(detections: Detections, height: int, width: int) -> tuple[Detections, int]:
    """Clip boxes to the image and drop those that cannot be a prompt.

    Dropped are boxes or scores that are not finite, and boxes with less than one pixel inside
    the image. Returns the rest, best score first, and the number dropped.
    """
    boxes = detections.boxes.copy()
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(detections.scores)
    boxes[~finite] = 0.0
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    keep = finite & (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    order = np.flatnonzero(keep)
    order = order[np.argsort(-detections.scores[order], kind='stable')]
    kept = Detections(boxes[order], detections.class_ids[order], detections.scores[order])
    return kept, len(detections) - len(kept)


@dataclass(frozen=True)
class LateDetections:
    """What became of detections that came for a frame that is there.

    matched, started: how many condition an object, and start one. ignored: those that do
    neither: unusable, weak, twice, of what has a prompt there, beyond max_objects. waiting: the
    frame's window is open, they are used when it closes; then the counts are 0.
    """

    matched: int = 0
    started: int = 0
    ignored: int = 0
    waiting: bool = False
