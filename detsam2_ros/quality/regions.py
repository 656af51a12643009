# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""J and F of DAVIS: how well the regions and the boundaries of masks agree.

The definition is that of the DAVIS challenge, unsupervised: things are paired one to one over the
whole video, since a tracker that a detector drives has ids of its own; every frame of the truth
counts, the first and the last too; a thing that is absent on a frame, and rightly not shown, has
J = F = 1 there. Ours, since the kept library (vos-benchmark) takes label images, in which masks
cannot overlap, knows no pixels to ignore, and needs scikit-image for one disk. A test holds both
to the same values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from detsam2_ros.quality.alignment import FramePair, aligned
from detsam2_ros.quality.overlap import iou_table, within, without
from detsam2_ros.quality.segments import SegmentedVideo
from detsam2_ros.results.masks import Mask

_TOLERANCE = 0.008  # of the image's diagonal: how far apart two boundaries may lie and still agree

# F of pairs of masks, measured before; views of a video share most of their masks.
Measured = MutableMapping[tuple[Mask, Mask], float]


@dataclass(frozen=True)
class Regions:
    """J and F of each true thing, means over the frames of its video."""

    regions: tuple[float, ...] = ()
    boundaries: tuple[float, ...] = ()

    def __add__(self, other: Regions) -> Regions:
        return Regions(self.regions + other.regions, self.boundaries + other.boundaries)

    @property
    def j(self) -> float:
        """Region similarity J: mean over things, NaN without any."""
        return float(np.mean(self.regions)) if self.regions else math.nan

    @property
    def f(self) -> float:
        """Boundary accuracy F: mean over things, NaN without any."""
        return float(np.mean(self.boundaries)) if self.boundaries else math.nan

    @property
    def jf(self) -> float:
        """J&F, the mean of J and F."""
        return (self.j + self.f) / 2


def regions(
    truth: SegmentedVideo, shown: SegmentedVideo, measured: Measured | None = None
) -> Regions:
    """Return J and F of each true thing of a video.

    measured: F of pairs of masks that were compared before; it is added to. Raises MeasureError.
    """
    known: Measured = {} if measured is None else measured
    frames = [_less_ignored(frame) for frame in aligned(truth, shown)]
    true_ids = sorted({id_ for frame in frames for id_ in frame.truth})
    shown_ids = sorted({id_ for frame in frames for id_ in frame.shown})
    values_j, values_f = [], []
    for true_id, shown_id in _partners(frames, true_ids, shown_ids).items():
        pairs = [
            (frame.truth.get(true_id), None if shown_id is None else frame.shown.get(shown_id))
            for frame in frames
        ]
        values_j.append(float(np.mean([_agreement(*each, None) for each in pairs])))
        values_f.append(float(np.mean([_agreement(*each, known) for each in pairs])))
    return Regions(tuple(values_j), tuple(values_f))


def boundary_f(truth: Mask, shown: Mask) -> float:
    """Return F of two masks, as DAVIS defines it: 1 pixel wide boundaries that nearly meet."""
    if truth == shown:
        return 1.0
    radius = math.ceil(_TOLERANCE * math.hypot(*truth.size))
    height, width = truth.size
    boxes = [mask.box for mask in (truth, shown) if mask.box is not None]
    # Outside of this nothing is, and a boundary lies half a pixel towards the origin.
    margin = radius + 2
    box = (
        max(min(b[0] for b in boxes) - margin, 0), max(min(b[1] for b in boxes) - margin, 0),
        min(max(b[2] for b in boxes) + margin, width),
        min(max(b[3] for b in boxes) + margin, height),
    )  # fmt: skip
    own, other = _boundary(within(truth, box)), _boundary(within(shown, box))
    counts = int(own.sum()), int(other.sum())
    if not all(counts):
        return float(counts == (0, 0))
    disk = _disk(radius)
    recall = int((own & cv2.dilate(other, disk)).sum()) / counts[0]
    precision = int((other & cv2.dilate(own, disk)).sum()) / counts[1]
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _less_ignored(frame: FramePair) -> FramePair:
    if not frame.ignored:
        return frame
    truth, shown = (
        {id_: cut for id_, mask in own.items() if (cut := without(mask, frame.ignored))}
        for own in (frame.truth, frame.shown)
    )
    return FramePair(frame.number, truth, shown)


def _partners(
    frames: Iterable[FramePair], true_ids: list[int], shown_ids: list[int]
) -> dict[int, int | None]:
    """Pair true things with shown ones over a whole video so that the sum of J is greatest."""
    sums = np.zeros((len(true_ids), max(len(shown_ids), len(true_ids))))
    rows = {id_: row for row, id_ in enumerate(true_ids)}
    columns = {id_: column for column, id_ in enumerate(shown_ids)}
    for frame in frames:
        here = [rows[id_] for id_ in frame.truth], [columns[id_] for id_ in frame.shown]
        absent = np.ones_like(sums)
        absent[here[0], :] = 0
        absent[:, here[1]] = 0
        sums += absent
        sums[np.ix_(*here)] += iou_table(list(frame.truth.values()), list(frame.shown.values()))
    # Without enough things that are shown, some true ones are paired with one that never is.
    own: list[int | None] = [*shown_ids, *[None] * (sums.shape[1] - len(shown_ids))]
    pairs = zip(*linear_sum_assignment(sums, maximize=True), strict=True)
    return {true_ids[row]: own[column] for row, column in pairs}


def _agreement(truth: Mask | None, shown: Mask | None, measured: Measured | None) -> float:
    """Return J of two masks, or F with `measured`; None: absent."""
    if truth is None or shown is None:
        return float(truth is shown)
    if measured is None:
        return truth.iou(shown)
    key = truth, shown
    if key not in measured:
        measured[key] = boundary_f(truth, shown)
    return measured[key]


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Return where a mask, bool [h, w], differs from its neighbours right and below, uint8."""
    right, below, both = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], below[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask ^ right) | (mask ^ below) | (mask ^ both)
    # On the last row and column there is one neighbour only, in the corner none.
    edge[-1] = mask[-1] ^ right[-1]
    edge[:, -1] = mask[:, -1] ^ below[:, -1]
    edge[-1, -1] = False
    return edge.astype(np.uint8)


def _disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)
