# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a detector is and what it returns; any detector that fits this protocol can lead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Detections:
    """The boxes a detector found in one image.

    boxes: float32 [n, 4] xyxy in pixels of the image; class_ids: int64 [n]; scores: float32
    [n] in 0..1. Raises ValueError when the lengths or shapes do not fit together.
    """

    boxes: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float32)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f'detections: boxes must be [n, 4] xyxy, got shape {boxes.shape}')
        class_ids = np.asarray(self.class_ids, dtype=np.int64).reshape(-1)
        scores = np.asarray(self.scores, dtype=np.float32).reshape(-1)
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
