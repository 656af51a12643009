# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The boxes that another node found on a frame, with classes in its own words; no ROS in here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from detsam2_ros.engine import Detections

MAX_CLASSES = 1000  # names that detections may bring


@dataclass(frozen=True)
class NamedDetections:
    """What a message found: float32 [n, 4] xyxy pixels, float32 [n] scores, classes as sent.

    stamp: of the image, nanoseconds.
    """

    stamp: int
    boxes: np.ndarray
    classes: tuple[str, ...]
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)


def to_detections(
    boxes: NamedDetections, known: Mapping[int, str], class_id: Callable[[str], int]
) -> tuple[Detections, int]:
    """Return boxes with their classes as numbers, and how many have a class too many.

    A class that is written as a number is that number, any other one a name. known: the names
    that there are. class_id: gives a name its number, a new one if need be.
    """
    ids, rows = [], []
    numbers: dict[str, int | None] = {}
    names = set(known.values())
    for row, text in enumerate(boxes.classes):
        if text not in numbers:
            if re.fullmatch('[0-9]{1,9}', text):
                numbers[text] = int(text)
            elif text in names or len(names) < MAX_CLASSES:
                numbers[text] = class_id(text)
                names.add(text)
            else:
                numbers[text] = None
        number = numbers[text]
        if number is not None:
            ids.append(number)
            rows.append(row)
    kept = Detections(boxes.boxes[rows], np.array(ids, np.int64), boxes.scores[rows])
    return kept, len(boxes) - len(kept)
