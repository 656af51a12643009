# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What no library measures: what the revisions of a tracker gain, lose and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np

from detsam2_ros.quality.alignment import check, masks_of
from detsam2_ros.quality.ghosts import cover
from detsam2_ros.quality.lags import by_frame, shown
from detsam2_ros.quality.overlap import iou_table, within
from detsam2_ros.quality.scoring import FOUND_IOU, Pairing, pair
from detsam2_ros.quality.segments import RevisedVideo, Revision, SegmentedVideo
from detsam2_ros.results.masks import Mask

# A mask is as good as another with an IoU lower by this at most: boundaries jitter.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Revisions:
    """Counts of one video or more; the measures follow from them.

    An object-frame is a true thing on a frame. Its mask is the one that is paired with it on that
    frame, in the masks as first published and in the final ones by themselves.
    """

    first: tuple[float, ...] = ()  # IoU as first published, of each object-frame
    final: tuple[float, ...] = ()
    true_pixels: int = 0
    lost_pixels: int = 0  # true pixels that were covered at first and are not in the end
    waits: tuple[int, ...] = ()  # frames until it was right, of each that was corrected
    ghosts_shown: int = 0  # (id, frame) pairs: at any time
    ghosts_left: int = 0  # in the end
    masks_written: int = 0  # published for the first time, or changed
    masks_final: int = 0
    pixels_written: int = 0  # of masks when first published, and every pixel that changed since
    pixels_final: int = 0
    ages: tuple[int, ...] = ()  # frames from a frame to its finality
    unsettled: int = 0  # frames of which nothing says when they became final

    def __add__(self, other: Revisions) -> Revisions:
        return total([self, other])

    @property
    def gain(self) -> float:
        """Mean IoU of the final masks less that of the first ones, NaN without object-frames."""
        return _mean(np.subtract(self.final, self.first))

    @property
    def found_first(self) -> float:
        """Share of object-frames that were found at first."""
        return _mean(np.asarray(self.first) >= FOUND_IOU)

    @property
    def found_final(self) -> float:
        """Share of object-frames that are found in the end."""
        return _mean(np.asarray(self.final) >= FOUND_IOU)

    @property
    def regret_masks(self) -> float:
        """Share of object-frames whose IoU fell by more than TOLERANCE."""
        return _mean(np.subtract(self.first, self.final) > TOLERANCE)

    @property
    def regret_pixels(self) -> float:
        """Share of true pixels that were covered at first and are not in the end."""
        return _share(self.lost_pixels, self.true_pixels)

    @property
    def wrong_at_first(self) -> int:
        """The number of object-frames that were not found at first."""
        return sum(iou < FOUND_IOU for iou in self.first)

    @property
    def time_to_correct(self) -> tuple[float, float]:
        """Median and 95th percentile of the waits, NaN where nothing was corrected."""
        return _percentile(self.waits, 50), _percentile(self.waits, 95)

    @property
    def ghosts_withdrawn(self) -> int:
        """Ghosts that were shown and are not left: gone, or their mask became that of a thing."""
        return self.ghosts_shown - self.ghosts_left

    @property
    def edit_overhead(self) -> tuple[float, float]:
        """Masks and pixels written for each final one; 1: nothing was ever changed."""
        return (
            _share(self.masks_written, self.masks_final),
            _share(self.pixels_written, self.pixels_final),
        )

    @property
    def age_at_finality(self) -> tuple[float, float]:
        """Median and maximum of the frames until a frame is final, NaN where nothing says."""
        return _percentile(self.ages, 50), _percentile(self.ages, 100)


def total(parts: Sequence[Revisions]) -> Revisions:
    """Add up the counts of frames or videos."""
    sums: dict[str, Any] = {}
    for each in fields(Revisions):
        values = [getattr(part, each.name) for part in parts]
        is_list = isinstance(each.default, tuple)
        sums[each.name] = tuple(chain.from_iterable(values)) if is_list else sum(values)
    return Revisions(**sums)


def revisions(truth: SegmentedVideo, results: RevisedVideo) -> Revisions:
    """Measure all that was said of a video against its truth.

    Object-frames and ghosts are those of the frames that the truth knows. Edits and ages are of
    all frames. Raises MeasureError.
    """
    said = by_frame(results)
    check(truth, results.size, set(said))
    parts = []
    for number, frame in sorted(truth.frames.items()):
        true = masks_of(frame, truth.name, number)
        own = said.get(number, [])
        masks = [masks_of(shown(each), results.name, number) for each in own]
        parts += [_object_frames(true, own, masks), _ghosts(true, masks, frame.ignored)]
    for own in said.values():
        parts.append(_edits([masks_of(shown(each), results.name, each.frame) for each in own]))
    settled = _settled(results, said)
    ages = tuple(settled[number] - number for number in sorted(settled))
    return total([*parts, Revisions(ages=ages, unsettled=len(said) - len(ages))])


def _object_frames(
    truth: Mapping[int, Mask], said: Sequence[Revision], masks: Sequence[Mapping[int, Mask]]
) -> Revisions:
    """Measure the true things of a frame; said, masks: its revisions."""
    pairings = _pairings(truth, masks)
    first, final = pairings[0], pairings[-1]
    before, after = (masks[0], masks[-1]) if masks else ({}, {})
    lost, waits = 0, []
    for id_, mask in truth.items():
        old = before.get(first.partners.get(id_, 0))
        lost += _lost(mask, old, after.get(final.partners.get(id_, 0)))
        if first.ious[id_] < FOUND_IOU <= final.ious[id_]:
            least = max(final.ious[id_] - TOLERANCE, FOUND_IOU)
            wrong = [at for at, each in enumerate(pairings) if each.ious[id_] < least]
            waits.append(said[wrong[-1] + 1].newest - said[0].newest)
    return Revisions(
        tuple(first.ious.values()),
        tuple(final.ious.values()),
        sum(mask.area for mask in truth.values()),
        lost,
        tuple(waits),
    )


def _lost(truth: Mask, before: Mask | None, after: Mask | None) -> int:
    """Return the number of true pixels that one mask covers and a later one does not."""
    if before is None or before == after or truth.box is None:
        return 0
    covered = within(truth, truth.box) & within(before, truth.box)
    if after is not None:
        covered &= ~within(after, truth.box)
    return int(np.count_nonzero(covered))


def _pairings(truth: Mapping[int, Mask], masks: Sequence[Mapping[int, Mask]]) -> list[Pairing]:
    """Pair true things with each revision of a frame; one never published shows nothing."""
    own = list(truth.values())
    pairings: list[Pairing] = []
    for number, each in enumerate(masks or [{}]):
        if number and each == masks[number - 1]:
            pairings.append(pairings[-1])
        else:
            table = iou_table(own, list(each.values()))
            pairings.append(pair(table, list(truth), list(each)))
    return pairings


def _ghosts(
    truth: Mapping[int, Mask], masks: Sequence[Mapping[int, Mask]], ignored: Mask | None
) -> Revisions:
    seen = [cover(truth, each, ignored).ghosts for each in masks]
    if not seen:
        return Revisions()
    return Revisions(ghosts_shown=len(frozenset().union(*seen)), ghosts_left=len(seen[-1]))


def _edits(masks: Sequence[Mapping[int, Mask]]) -> Revisions:
    """Count what was written of one frame over its revisions."""
    count = pixels = 0
    before: Mapping[int, Mask] = {}
    for now in masks:
        for id_ in before.keys() | now.keys():
            old, new = before.get(id_), now.get(id_)
            if old != new:
                count += new is not None  # to take a mask back writes none
                pixels += _changed(old, new)
        before = now
    final = masks[-1].values() if masks else ()
    return Revisions(
        masks_written=count, masks_final=len(final),
        pixels_written=pixels, pixels_final=sum(mask.area for mask in final),
    )  # fmt: skip


def _changed(old: Mask | None, new: Mask | None) -> int:
    """Return the number of pixels that are in one of two masks and not in the other."""
    if old is None or new is None:
        return sum(mask.area for mask in (old, new) if mask is not None)
    return old.area + new.area - 2 * old.overlap(new)


def _settled(results: RevisedVideo, said: Mapping[int, Sequence[Revision]]) -> dict[int, int]:
    """Return the newest frame when each frame became final, as far as anything says so."""
    settled = {number: own[-1].newest for number, own in said.items() if own[-1].final}
    return settled | {number: at for number, at in results.settled.items() if number in said}


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _percentile(values: Sequence[int], share: float) -> float:
    return float(np.percentile(values, share)) if values else math.nan
