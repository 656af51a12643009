# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""All measures of videos at several lags: what the command `evaluate` reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from detsam2_ros.quality.alignment import MeasureError, check
from detsam2_ros.quality.identity import Identity, identity
from detsam2_ros.quality.lags import Lag, reach, view
from detsam2_ros.quality.regions import Measured, Regions, regions
from detsam2_ros.quality.revisions import Revisions, revisions, total
from detsam2_ros.quality.segments import RevisedVideo, SegmentedVideo


@dataclass(frozen=True)
class Scores:
    """How good one view is."""

    regions: Regions
    identity: Identity

    def __add__(self, other: Scores) -> Scores:
        return Scores(self.regions + other.regions, self.identity + other.identity)


# Each lies from 0 to 1 (sMOTSA and MOTA below 0 too), and more is better.
MEASURES: Mapping[str, Callable[[Scores], float]] = {
    'J': lambda scores: scores.regions.j,
    'F': lambda scores: scores.regions.f,
    'J&F': lambda scores: scores.regions.jf,
    'HOTA': lambda scores: scores.identity.hota,
    'DetA': lambda scores: scores.identity.deta,
    'AssA': lambda scores: scores.identity.assa,
    'LocA': lambda scores: scores.identity.loca,
    'IDF1': lambda scores: scores.identity.idf1,
    'MOTA': lambda scores: scores.identity.mota,
    'sMOTSA': lambda scores: scores.identity.smotsa,
}


@dataclass(frozen=True)
class Evaluation:
    """The measures of one video, or of several together."""

    name: str
    scores: Mapping[Lag, Scores]
    revisions: Revisions
    frames: int  # of the truth

    @property
    def is_scored(self) -> bool:
        """Whether there was a true thing to find."""
        return bool(self.revisions.first)

    def values(self, measure: str) -> dict[Lag, float]:
        """Return one of MEASURES at each lag; NaN where there was nothing to find."""
        if not self.is_scored:
            return dict.fromkeys(self.scores, math.nan)
        return {lag: MEASURES[measure](own) for lag, own in self.scores.items()}


def evaluate(truth: SegmentedVideo, results: RevisedVideo, lags: Iterable[Lag]) -> Evaluation:
    """Measure a video; raises MeasureError, which names the video and the way out."""
    check(truth, results.size, {each.frame for each in results.revisions})
    known: Measured = {}
    scores: dict[Lag, Scores] = {}
    views: list[tuple[SegmentedVideo, Scores]] = []
    for lag in lags:
        shown = view(results, lag)
        same = [own for other, own in views if other.frames == shown.frames]
        own = same[0] if same else Scores(regions(truth, shown, known), identity(truth, shown))
        views.append((shown, own))
        scores[lag] = own
    return Evaluation(truth.name, scores, revisions(truth, results), len(truth.frames))


def together(name: str, evaluations: Sequence[Evaluation]) -> Evaluation:
    """Add up videos that were measured at the same lags.

    J and F are means over the things of all videos, gain and shares over all object-frames; the
    counts behind the identity measures add up as TrackEval adds them.
    """
    scores = {
        lag: reduce(add, (each.scores[lag] for each in evaluations))
        for lag in evaluations[0].scores
    }
    parts = [each.revisions for each in evaluations]
    return Evaluation(name, scores, total(parts), sum(each.frames for each in evaluations))


def curve_lags(results: Iterable[RevisedVideo], count: int = 20) -> list[int]:
    """Return lags from 0 to the one from which nothing changes any more, `count` at most."""
    last = max((reach(each) for each in results), default=0)
    step = max(math.ceil(last / max(count - 1, 1)), 1)
    return [*range(0, last, step), last]


def paired(
    truths: Sequence[SegmentedVideo], results: Sequence[RevisedVideo], wanted: Sequence[str] = ()
) -> list[tuple[SegmentedVideo, RevisedVideo]]:
    """Return each video of the truth with its results, by name; one of each need no same name.

    wanted: names of the videos to compare; none: all of the truth. Raises MeasureError.
    """
    if len(truths) == len(results) == 1 and not wanted:
        return [(truths[0], results[0])]
    true, own = {each.name: each for each in truths}, {each.name: each for each in results}
    for whose, videos, names in (('truth has', truths, true), ('results have', results, own)):
        if len(names) < len(videos):
            twice = next(name for name in names if sum(v.name == name for v in videos) > 1)
            raise MeasureError(
                f"the {whose} two videos named '{twice}': give one of them, or rename it"
            )
    for name in wanted:
        if name not in true:
            raise MeasureError(f"the truth has no video '{name}'; it has {_names(true)}")
    chosen = list(wanted) or list(true)
    missing = [name for name in chosen if name not in own]
    if missing:
        raise MeasureError(
            f'the results have no video {_names(missing)}; they have {_names(own)}: name those '
            f'to compare with --video NAME, or add the missing ones'
        )
    if not chosen:
        raise MeasureError('the truth has no video')
    return [(true[name], own[name]) for name in chosen]


def _names(names: Iterable[str]) -> str:
    shown = [f"'{name}'" for name in names]
    more = f' and {len(shown) - 5} more' if len(shown) > 5 else ''
    return (', '.join(shown[:5]) or 'none') + more
