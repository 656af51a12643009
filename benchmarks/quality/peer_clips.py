# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The clips that trackers are compared on: pictures, truth, and what a detector finds in them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.quality.balanced import encodings
from benchmarks.quality.clips import MIN_VISIBLE
from benchmarks.quality.false_boxes import Errors, found_in
from benchmarks.quality.return_scenes import Plot, Returning
from benchmarks.quality.scenery import SIZE, Filmed
from detsam2_ros.engine import Detections
from detsam2_ros.quality.segments import Segment, SegmentedFrame, SegmentedVideo
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import CLASS_NAMES, SceneFrame, SceneOptions

INTERVAL = 10  # D: frames from one detection frame to the next
SCORE = 0.9  # of each box, where the detector finds nothing but balls
MIN_VISIBLE_TRUTH = 0.25  # a ball that shows less is ignored: a sliver says little about masks


@dataclass(frozen=True)
class Case:
    """What a clip shows, and how its detector errs."""

    balls: int = 3
    scene: Mapping[str, Any] = field(default_factory=dict)  # what else SceneOptions has
    missed: float = 0.0  # share of balls that are not detected
    false: float | None = None  # share of detection frames with a false box; None: scores are one
    away: tuple[int, int] | None = None  # how many frames two balls are away

    def film(self, seed: int, frames: int) -> tuple[Filmed, int]:
        """Return the clip, nothing of it drawn, and its length."""
        if self.away is not None:
            clip = Returning(
                seed, Plot(balls=self.balls, leaves=(12, 20), away=self.away, tail=25)
            )
            return clip, clip.length
        options = SceneOptions(balls=self.balls, **self.scene)
        return Filmed(seed, options), frames


_PLAIN = {'occluders': 0.0, 'late_ball': 0.0}
CASES: dict[str, Case] = {
    'clean': Case(3, _PLAIN),
    'boxes dropped': Case(6, _PLAIN, missed=0.3),
    'false boxes': Case(4, {'distractors': 1.0, 'occluders': 4.0}, false=0.3),
    'occluded': Case(3, {'occluders': 4.0, 'occlusion_boost': 0.5, 'late_ball': 0.0}),
    'late': Case(3, {'occluders': 0.0, 'late_ball': 1.0}),
    'returning': Case(3, away=(62, 70)),
    '9 objects': Case(9),
}


@dataclass(frozen=True, eq=False)
class Shown:
    """A clip, and what the detector finds on its detection frames."""

    name: str
    film: Sequence[SceneFrame]
    found: Mapping[int, Detections]  # by frame number; every INTERVAL-th frame has an entry

    def truth(self) -> SegmentedVideo:
        """Return what is to be seen; balls that are hidden but for a sliver are ignored."""
        frames = {frame.index: _truth(frame) for frame in self.film}
        return SegmentedVideo(self.name, (SIZE, SIZE), frames, CLASS_NAMES)

    def owners(self, index: int) -> list[int]:
        """Return which ball each box of a frame is of, 1..n; a false box is of a thing of its own.

        Boxes of balls are those of the truth, so they are told by their place.
        """
        frame, found = self.film[index], self.found[index]
        owners = []
        for row, (box, class_id) in enumerate(zip(found.boxes, found.class_ids, strict=True)):
            same = (frame.boxes == box).all(1) & (frame.class_ids == class_id)
            ball = int(frame.ids[same][0]) if same.any() else 1000 + 100 * index + row
            owners.append(ball)
        return owners


@functools.lru_cache(maxsize=1)
def shown(case_name: str, seed: int, frames: int) -> Shown:
    """Draw a clip; the last one is kept, and encodings of no other."""
    for dtype in ('float32', 'bfloat16'):
        encodings(dtype).known.clear()
    case = CASES[case_name]
    clip, length = case.film(seed, frames)
    scenes = [clip.scene(index) for index in range(length)]
    film = [frame for frame, _ in scenes]
    if case.false is None:
        found = {frame.index: _boxes(frame, case.missed, seed) for frame in film[::INTERVAL]}
    else:
        errors = Errors(case.false, case.missed)
        drawn = found_in(film, [around for _, around in scenes], INTERVAL, errors, seed)
        found = {index: each.detections for index, each in drawn.items()}
    return Shown(f'{case_name} {seed}', film, found)


def _boxes(frame: SceneFrame, missed: float, seed: int) -> Detections:
    chance = np.random.default_rng((seed, frame.index)).random(len(frame.ids))
    rows = np.flatnonzero((frame.visible_fraction > MIN_VISIBLE) & (chance >= missed))
    return Detections(frame.boxes[rows], frame.class_ids[rows], np.full(len(rows), SCORE))


def _truth(frame: SceneFrame) -> SegmentedFrame:
    segments, ignored = [], np.zeros(frame.labels.shape, bool)
    for ball, class_id, share in zip(
        frame.ids, frame.class_ids, frame.visible_fraction, strict=True
    ):
        own = frame.labels == ball
        if share >= MIN_VISIBLE_TRUTH:
            segments.append(Segment(int(ball), int(class_id), Mask.of(own)))
        else:
            ignored |= own
    return SegmentedFrame(tuple(segments), Mask.of(ignored) if ignored.any() else None)
