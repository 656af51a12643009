# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scores of label images against the truth of a scene: the balls that count, and their pairs."""

from __future__ import annotations

import numpy as np

from detsam2_ros.quality.overlap import label_iou_table
from detsam2_ros.quality.scoring import Pairing, Tally, pair

# Balls count from this visible share on: a sliver of a ball says little about masks.
MIN_VISIBLE = 0.25


class Score(Tally):
    """Adds up scores over frames: IoU of each ball that counts, and id switches."""

    def add(self, truth: np.ndarray, balls: np.ndarray, labels: np.ndarray) -> float:
        """Score a frame and return its mean IoU, 1 without a ball.

        truth, labels: integer [H, W]. balls: ids of the balls that count. Each ball is paired
        with at most one object; a ball without one counts 0.
        """
        pairing = pairs(truth, balls, labels)
        self.add_frame(pairing)
        ious = list(pairing.ious.values())
        return float(np.mean(ious)) if ious else 1.0


def pairs(truth: np.ndarray, balls: np.ndarray, labels: np.ndarray) -> Pairing:
    """Pair balls with objects one to one.

    truth, labels: integer [H, W]. balls: ids in truth, [n].
    """
    ids = np.flatnonzero(np.bincount(labels.ravel())).tolist()
    shown = [id_ for id_ in ids if id_]
    own = np.asarray(balls, int).tolist()
    return pair(label_iou_table(truth, own, labels, shown), own, shown)
