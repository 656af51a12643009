# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which masks are ghosts: shown, and of no true thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from detsam2_ros.quality.overlap import iou_table, overlap_table, share_within
from detsam2_ros.quality.scoring import FOUND_IOU
from detsam2_ros.results.masks import Mask

# A mask that does not find a thing shows it all the same with this share of its pixels on it: half
# of a cup is a bad mask of a cup, and no ghost.
SHARE_ON_THING = 0.5


@dataclass(frozen=True)
class Cover:
    """Which mask shows which true thing, one to one."""

    things: Mapping[int, int]  # true id by shown id
    ious: Mapping[int, float]  # by true id, of all true things; 0 without a mask
    ghosts: frozenset[int]  # shown ids whose mask shows nothing, or what another mask shows


def cover(
    truth: Mapping[int, Mask], shown: Mapping[int, Mask], ignored: Mask | None = None
) -> Cover:
    """Pair masks with the true things that they show, so that the sum of IoUs is greatest.

    A mask shows a thing when it finds the thing, or when at least half of the mask lies on the
    thing. A mask of which more than half lies in `ignored` is no ghost. Empty masks do not count.
    """
    ids = [id_ for id_, mask in shown.items() if mask]
    masks, true_ids = [shown[id_] for id_ in ids], list(truth)
    ious = iou_table(masks, list(truth.values()))
    areas = np.array([mask.area for mask in masks], np.int64)
    shares = overlap_table(masks, list(truth.values())) / np.maximum(areas, 1)[:, None]
    # Of two masks that show a thing by their pixels only, the one that covers more of it counts.
    shows = (ious >= FOUND_IOU) | (shares >= SHARE_ON_THING)
    weight = np.where(shows, ious + 1e-6, 0.0)
    best = dict.fromkeys(true_ids, 0.0)
    things = {}
    for row, column in zip(*linear_sum_assignment(weight, maximize=True), strict=True):
        if weight[row, column] > 0:
            things[ids[row]] = true_ids[column]
            best[true_ids[column]] = float(ious[row, column])
    ghosts = set(ids) - things.keys()
    if ignored is not None and ghosts:
        within = share_within(masks, ignored)
        ghosts -= {id_ for id_, share in zip(ids, within, strict=True) if share > 0.5}
    return Cover(things, best, frozenset(ghosts))
