# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The one scorer: which shown thing is which true one, and what "found" means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

FOUND_IOU = 0.5  # a true thing is found on a frame by a mask with this IoU at least


@dataclass(frozen=True)
class Pairing:
    """Pairs of a true and a shown thing on one frame, one to one."""

    ious: Mapping[int, float]  # by true id, of all true things; 0 without a pair
    partners: Mapping[int, int]  # shown id by true id, of pairs that overlap
    shown: tuple[int, ...]  # ids of all things shown

    @property
    def found(self) -> dict[int, int]:
        """Shown id by true id, of the true things that are found."""
        return {id_: own for id_, own in self.partners.items() if self.ious[id_] >= FOUND_IOU}

    @property
    def strays(self) -> set[int]:
        """Shown ids that find nothing."""
        return set(self.shown) - set(self.found.values())


def pair(table: np.ndarray, true_ids: Sequence[int], shown_ids: Sequence[int]) -> Pairing:
    """Pair true things with shown ones so that the sum of IoUs is greatest.

    table: IoU of each true thing with each shown one, float [n, m].
    """
    ious, partners = dict.fromkeys(map(int, true_ids), 0.0), {}
    for row, column in zip(*linear_sum_assignment(table, maximize=True), strict=True):
        if table[row, column] > 0:
            true_id = int(true_ids[row])
            ious[true_id] = float(table[row, column])
            partners[true_id] = int(shown_ids[column])
    return Pairing(ious, partners, tuple(map(int, shown_ids)))


def count_found(ious: Iterable[float]) -> int:
    """Return how many true things are found, by the IoU of each."""
    return sum(iou >= FOUND_IOU for iou in ious)


@dataclass
class Tally:
    """Adds up the pairings of the frames of one clip, in order."""

    ious: list[float] = field(default_factory=list)  # of each true thing on each frame
    switches: int = 0  # a true thing is found under another id than when it was found last
    shown: Counter[int] = field(default_factory=Counter)  # frames that show a thing, by its id
    stray: Counter[int] = field(default_factory=Counter)  # of these, frames where it finds nothing
    hidden: int = 0  # frames on which a true thing that was found before is not to be seen
    lingering: int = 0  # of these, those on which its id is still shown and finds nothing
    _ids: dict[int, int] = field(default_factory=dict)  # by true id, when found last

    def add_frame(self, pairing: Pairing) -> None:
        """Count a frame."""
        found, strays = pairing.found, pairing.strays
        self.ious += pairing.ious.values()
        self.shown.update(pairing.shown)
        self.stray.update(strays)
        for true_id in self._ids.keys() - pairing.ious.keys():
            self.hidden += 1
            self.lingering += self._ids[true_id] in strays
        for true_id, own in found.items():
            self.switches += self._ids.get(true_id, own) != own
            self._ids[true_id] = own

    @property
    def mean(self) -> float:
        """Mean IoU over all true things and frames, 0 without any."""
        return float(np.mean(self.ious)) if self.ious else 0.0

    @property
    def found_count(self) -> int:
        """The number of true things found, over all frames."""
        return count_found(self.ious)

    @property
    def found(self) -> float:
        """Share of true things and frames that are found, 0 without any."""
        return self.found_count / len(self.ious) if self.ious else 0.0

    @property
    def false_objects(self) -> list[int]:
        """Ids that find nothing on more than half of the frames that show them."""
        return sorted(id_ for id_, count in self.shown.items() if self.stray[id_] > count / 2)
