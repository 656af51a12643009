# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A detector that misses balls and finds some where there are none; what it finds is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.quality.clips import MIN_VISIBLE
from benchmarks.quality.scenery import Box, Scenery
from detsam2_ros.engine import Detections
from detsam2_ros.results.masks import box_iou
from detsam2_ros.scene.scene import CLASS_NAMES, SceneFrame

# What a false box may lie on. A lasting one lies on cloth or a structure, and there again on the
# next detection frame.
KINDS = ('cloth', 'structure', 'lasting', 'double')
TRUE = 'ball'
# Scores of true and of false boxes, uniform: they overlap.
_TRUE_SCORES, _FALSE_SCORES = (0.55, 0.98), (0.5, 0.93)


@dataclass(frozen=True)
class Found:
    """The boxes of a frame, and what each lies on: TRUE, or one of KINDS."""

    detections: Detections
    kinds: tuple[str, ...]

    def kind_at(self, box: Box, class_id: int) -> str | None:
        """Return what a new object's box came from; None where it came from no box."""
        same = self.detections.class_ids == class_id
        iou = np.where(same, box_iou(np.array([box]), self.detections.boxes)[0], 0.0)
        return self.kinds[int(iou.argmax())] if len(iou) and iou.max() > 0 else None


@dataclass(frozen=True)
class Errors:
    """What goes wrong with detections."""

    rate: float  # the share of detection frames with a false box
    missed: float  # the share of balls that are not detected


class ErringDetector:
    """Finds what it was told to; asked for detection frames in order."""

    def __init__(self, found: Mapping[int, Found]):
        self.class_names = CLASS_NAMES
        self._found = iter([found[index].detections for index in sorted(found)])

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """Return the boxes of the next detection frames."""
        return [next(self._found) for _ in images]


@dataclass
class _Draft:
    boxes: list[Box]
    class_ids: list[int]
    scores: list[float]
    kinds: list[str]

    def add(self, box: Box, class_id: int, score: float, kind: str) -> None:
        self.boxes.append(box)
        self.class_ids.append(class_id)
        self.scores.append(score)
        self.kinds.append(kind)


def found_in(
    film: Sequence[SceneFrame],
    scenery: Sequence[Scenery],
    interval: int,
    errors: Errors,
    seed: int,
) -> dict[int, Found]:
    """Draw what the detector finds on each detection frame, by frame index.

    The same balls are missed, with the same scores, whatever the rate of false boxes. All kinds
    are about as frequent in a clip.
    """
    found = {}
    kinds = _kinds(range(0, len(film), interval), errors.rate, seed)
    lasting: tuple[str, int, tuple[float, float], int] | None = None
    for frame, around in list(zip(film, scenery, strict=True))[::interval]:
        draft = _true_boxes(frame, errors.missed, seed)
        rng = np.random.default_rng((seed, frame.index, 1))
        if lasting is not None:
            _again(draft, frame, around, lasting, rng)
            lasting = None
        kind = kinds.get(frame.index)
        if kind == 'double':
            _double(draft, rng)
        elif kind is not None:
            lasting = _false_box(draft, frame, around, kind, rng)
        found[frame.index] = Found(
            Detections(np.array(draft.boxes), np.array(draft.class_ids), np.array(draft.scores)),
            tuple(draft.kinds),
        )
    return found


def _kinds(frames: Sequence[int], rate: float, seed: int) -> dict[int, str]:
    """Draw what the false boxes lie on, by frame; those of a lower rate are among those here."""
    rng = np.random.default_rng((seed, 2))
    first = int(rng.integers(len(KINDS)))
    order = rng.permutation(frames)[: round(rate * len(frames))]
    return {int(at): KINDS[(first + i) % len(KINDS)] for i, at in enumerate(order)}


def _true_boxes(frame: SceneFrame, missed: float, seed: int) -> _Draft:
    chance, score = np.random.default_rng((seed, frame.index)).random((2, len(frame.ids)))
    low, high = _TRUE_SCORES
    draft = _Draft([], [], [], [])
    for row in np.flatnonzero((frame.visible_fraction > MIN_VISIBLE) & (chance >= missed)):
        x0, y0, x1, y1 = (float(end) for end in frame.boxes[row])
        score_of = low + (high - low) * float(score[row])
        draft.add((x0, y0, x1, y1), int(frame.class_ids[row]), score_of, TRUE)
    return draft


def _class_and_score(frame: SceneFrame, rng: np.random.Generator) -> tuple[int, float]:
    """Draw a class, every second time one of the balls', and a score."""
    there = rng.random() < 0.5
    class_id = rng.choice(frame.class_ids) if there else rng.integers(len(CLASS_NAMES))
    return int(class_id), float(rng.uniform(*_FALSE_SCORES))


def _false_box(
    draft: _Draft, frame: SceneFrame, around: Scenery, kind: str, rng: np.random.Generator
) -> tuple[str, int, tuple[float, float], int] | None:
    """Add a box on cloth or on a structure; returns what lies there on the next frame too."""
    free = around.free(frame)
    on = kind if kind != 'lasting' else rng.choice(['cloth', 'structure'])
    class_id, score = _class_and_score(frame, rng)
    # Hands and cues are rare, and all kinds are to be seen: a kind is drawn first.
    names = sorted({thing.kind for thing in free})
    if on == 'structure' and names:
        name = rng.choice(names)
        things = [thing for thing in free if thing.kind == name]
        thing = things[rng.integers(len(things))]
        draft.add(thing.box, class_id, score, kind)
        return (name, thing.number, (0.0, 0.0), class_id) if kind == 'lasting' else None
    place = around.cloth(rng, frame)
    if place is None:
        return None
    draft.add(around.box_at(place), class_id, score, kind)
    return ('cloth', 0, place, class_id) if kind == 'lasting' else None


def _again(
    draft: _Draft,
    frame: SceneFrame,
    around: Scenery,
    lasting: tuple[str, int, tuple[float, float], int],
    rng: np.random.Generator,
) -> None:
    """Add the box of the detection frame before once more, unless its structure is gone."""
    name, number, place, class_id = lasting
    score = float(rng.uniform(*_FALSE_SCORES))
    if name == 'cloth':
        draft.add(around.box_at(place), class_id, score, 'lasting')
        return
    for thing in around.free(frame):
        if (thing.kind, thing.number) == (name, number):
            draft.add(thing.box, class_id, score, 'lasting')


def _double(draft: _Draft, rng: np.random.Generator) -> None:
    """Add a second box to one that was found, of its class or of another one."""
    balls = [row for row, kind in enumerate(draft.kinds) if kind == TRUE]
    if not balls:
        return
    row = balls[rng.integers(len(balls))]
    x0, y0, x1, y1 = draft.boxes[row]
    wide, high = x1 - x0, y1 - y0
    shift = rng.uniform(-0.35, 0.35, 2) * (wide, high)
    scale = rng.choice([rng.uniform(0.55, 0.8), rng.uniform(1.25, 1.7)])
    x, y = (x0 + x1) / 2 + shift[0], (y0 + y1) / 2 + shift[1]
    box = (x - scale * wide / 2, y - scale * high / 2, x + scale * wide / 2, y + scale * high / 2)
    class_id = draft.class_ids[row]
    if rng.random() < 0.5:
        class_id = (class_id + int(rng.integers(1, len(CLASS_NAMES)))) % len(CLASS_NAMES)
    draft.add(box, class_id, float(rng.uniform(*_FALSE_SCORES)), 'double')
