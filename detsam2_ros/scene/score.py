# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scores of label images against the truth: IoU of each ball, balls found, id switches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

# Balls count from this visible share on: a sliver of a ball says little about masks.
MIN_VISIBLE = 0.25
# A ball with this IoU with an object is found; the object's id is then that of the ball.
MATCH_IOU = 0.5


@dataclass
class Score:
    """Adds up scores over frames: IoU of each ball that counts, and id switches."""

    ious: list[float] = field(default_factory=list)
    switches: int = 0
    _last: dict[int, int] = field(default_factory=dict)

    def add(self, truth: np.ndarray, balls: np.ndarray, labels: np.ndarray) -> float:
        """Score a frame and return its mean IoU, 1 without a ball.

        truth, labels: integer [H, W]. balls: ids of the balls that count. Each ball is paired
        with at most one object; a ball without one counts 0.
        """
        ious, keys = pairs(truth, balls, labels)
        self.ious += ious.tolist()
        for ball, iou, key in zip(balls.tolist(), ious, keys, strict=True):
            if iou >= MATCH_IOU:
                self.switches += int(self._last.get(ball, key) != key)
                self._last[ball] = int(key)
        return float(ious.mean()) if len(ious) else 1.0

    @property
    def mean(self) -> float:
        """Mean IoU over all balls and frames."""
        return float(np.mean(self.ious)) if self.ious else 0.0

    @property
    def found(self) -> float:
        """Share of balls and frames with a mask of IoU >= MATCH_IOU."""
        return float(np.mean(np.asarray(self.ious) >= MATCH_IOU)) if self.ious else 0.0


def pairs(
    truth: np.ndarray, balls: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pair balls with objects one to one; returns IoU float [n] and id int [n], 0 if none.

    truth, labels: integer [H, W]. balls: ids in truth, [n].
    """
    ious, keys = np.zeros(len(balls)), np.zeros(len(balls), int)
    found = np.unique(labels[labels > 0]).astype(int)
    if not len(balls) or not len(found):
        return ious, keys
    table = np.zeros((len(balls), len(found)))
    areas = np.bincount(labels.ravel())
    for row, ball in enumerate(balls):
        own = truth == ball
        both = np.bincount(labels[own].astype(int), minlength=len(areas))[found]
        table[row] = both / np.maximum(own.sum() + areas[found] - both, 1)
    rows, columns = linear_sum_assignment(-table)
    hit = table[rows, columns] > 0
    ious[rows[hit]] = table[rows, columns][hit]
    keys[rows[hit]] = found[columns[hit]]
    return ious, keys
