# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How others keep ghosts from being shown, on top of the plain rules, as baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.quality.false_boxes import Found
from detsam2_ros.engine import FrameResult, Object, Stream
from detsam2_ros.results.masks import box_iou

# SAM 3's video predictor: an object that is younger than the delay is removed once it was
# unmatched on so many frames, or on so many lay on the detection of an older one. It has a
# detector on every frame.
DELAY, UNMATCHED, DOUBLED = 15, 8, 8
_MATCH_IOU = 0.3  # of boxes, as the engine matches


@dataclass
class Rule:
    """Publishes all at once and removes nothing: the plain rules, or the engine's own."""

    delay: int = 0  # frames that output is held back
    shown_from: dict[int, int] = field(default_factory=dict)  # by id; at once without an entry
    gone_from: dict[int, int] = field(default_factory=dict)  # by id: when it was removed

    def watch(self, stream: Stream, result: FrameResult, found: Found) -> None:
        """Look at the first masks of a detection frame before the next frame comes."""

    def is_shown(self, id_: int, time: int) -> bool:
        """Tell whether an object is in what is published at a time, a frame index."""
        return self.shown_from.get(id_, -1) <= time < self.gone_from.get(id_, time + 1)

    def _remove(self, stream: Stream, id_: int, time: int) -> None:
        self.gone_from[id_] = time
        if any(thing.id == id_ for thing in stream.objects):
            stream.remove_object(id_)


def scaled(threshold: int, delay: int, interval: int) -> int:
    """Return what a count of frames within a delay comes to with a detector on every n-th.

    The same share of the detection frames that a new object meets within the delay, at least 1.
    """
    met = (delay - 1) // interval
    return max(1, -(-threshold * met // delay))


@dataclass
class HotStart(Rule):
    """SAM 3's hot start; every mask is published `delay` frames late."""

    delay: int = DELAY
    interval: int = 10
    _born: dict[int, int] = field(default_factory=dict)
    _unmatched: dict[int, int] = field(default_factory=dict)
    _doubled: dict[int, int] = field(default_factory=dict)

    def watch(self, stream: Stream, result: FrameResult, found: Found) -> None:
        now = result.index
        old = [thing for thing in result.objects if thing.visible and thing.id in self._born]
        for thing in result.objects:
            self._born.setdefault(thing.id, now)
        lies_on = [detections_at(thing, found) for thing in old]
        for thing, own in zip(old, lies_on, strict=True):
            if not own and not thing.conditioned:
                self._unmatched[thing.id] = self._unmatched.get(thing.id, 0) + 1
        for row in set().union(*lies_on):
            same = [thing.id for thing, own in zip(old, lies_on, strict=True) if row in own]
            first = min(same, key=lambda id_: (self._born[id_], id_))
            for id_ in set(same) - {first}:
                self._doubled[id_] = self._doubled.get(id_, 0) + 1
        for thing in old:
            if now - self._born[thing.id] >= self.delay:
                continue
            unmatched = self._unmatched.get(thing.id, 0)
            doubled = self._doubled.get(thing.id, 0)
            if unmatched >= scaled(UNMATCHED, self.delay, self.interval) or doubled >= scaled(
                DOUBLED, self.delay, self.interval
            ):
                self._remove(stream, thing.id, now)


@dataclass
class Probation(Rule):
    """ByteTrack's: a new object is published once the next detection frame has it too.

    Else it is removed. Those of the first frame are published at once.
    """

    _known: set[int] = field(default_factory=set)
    _waiting: set[int] = field(default_factory=set)

    def watch(self, stream: Stream, result: FrameResult, found: Found) -> None:
        now = result.index
        conditioned = {thing.id for thing in result.objects if thing.conditioned}
        for id_ in self._waiting:
            if id_ in conditioned:
                self.shown_from[id_] = now
            else:
                self._remove(stream, id_, now)
        self._waiting = {thing.id for thing in result.objects} - self._known
        self._known |= self._waiting
        if now == 0:
            self._waiting = set()
        self.shown_from.update(dict.fromkeys(self._waiting, NEVER))


NEVER = 1 << 30


def detections_at(thing: Object, found: Found) -> set[int]:
    """Return the rows of the detections that an object lies on, whatever their class."""
    iou = box_iou(np.array([thing.box]), found.detections.boxes)[0]
    return set(np.flatnonzero(iou >= _MATCH_IOU).tolist())


@dataclass(frozen=True)
class Revision:
    """Masks of a frame as the engine gave them."""

    time: int  # the newest frame that it had taken
    result: FrameResult


@dataclass(frozen=True)
class View:
    """Masks of a frame as somebody saw them from a time on."""

    time: int
    things: tuple[Object, ...]  # the visible ones


def views(revisions: Sequence[Revision], rule: Rule) -> list[View]:
    """Return what was to be seen of a frame, from first to last."""
    index = revisions[0].result.index
    first = index + rule.delay
    ids = {thing.id for revision in revisions for thing in revision.result.objects}
    times = {max(revision.time, first) for revision in revisions}
    for change in (rule.shown_from, rule.gone_from):
        times |= {max(change[id_], first) for id_ in ids if change.get(id_, NEVER) < NEVER}
    seen = []
    for time in sorted(time for time in times if time >= revisions[0].time):
        latest = [revision.result for revision in revisions if revision.time <= time][-1]
        things = tuple(t for t in latest.objects if t.visible and rule.is_shown(t.id, time))
        seen.append(View(time, things))
    return seen
