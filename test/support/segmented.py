# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Segmented videos for tests: boxes by hand, and random ones with all that can go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detsam2_ros.quality.segments import (
    RevisedVideo,
    Revision,
    Segment,
    SegmentedFrame,
    SegmentedVideo,
)
from detsam2_ros.results.masks import Box, Mask

SIZE = (40, 48)  # height, width
NAMES = {1: 'car', 2: 'pedestrian'}


def mask(box: Box, size: tuple[int, int] = SIZE) -> Mask:
    pixels = np.zeros(size, bool)
    pixels[box[1] : box[3], box[0] : box[2]] = True
    return Mask.of(pixels)


def frame(
    things: Mapping[int, Box | Mask], ignored: Mask | None = None, size: tuple[int, int] = SIZE
) -> SegmentedFrame:
    """Make a frame of boxes or masks by id; things with odd ids are of class 1, others of 2."""
    return SegmentedFrame(
        tuple(
            Segment(id_, 2 - id_ % 2, own if isinstance(own, Mask) else mask(own, size))
            for id_, own in things.items()
        ),
        ignored,
    )


def video(
    frames: Mapping[int, Mapping[int, Box | Mask]] | Sequence[Mapping[int, Box | Mask]],
    name: str = 'clip',
) -> SegmentedVideo:
    numbered = frames if isinstance(frames, Mapping) else dict(enumerate(frames))
    return SegmentedVideo(name, SIZE, {n: frame(own) for n, own in numbered.items()}, NAMES)


def revised(
    *said: tuple[int, int, Mapping[int, Box | Mask]],
    name: str = 'clip',
    size: tuple[int, int] = SIZE,
) -> RevisedVideo:
    """Make what a tracker said: (frame, newest frame by then, things by id), in that order."""
    last = {number: place for place, (number, _, _) in enumerate(said)}
    count: dict[int, int] = {}
    revisions = []
    for place, (number, newest, things) in enumerate(said):
        count[number] = count.get(number, -1) + 1
        shown = frame(things, size=size)
        revisions.append(Revision(number, count[number], newest, last[number] == place, shown))
    return RevisedVideo(name, size, tuple(revisions), NAMES)


def random_pair(
    seed: int, frames: int = 12, things: int = 6, ignored: bool = False
) -> tuple[SegmentedVideo, SegmentedVideo]:
    """Make a truth and a tracker's view of it, without overlaps: label images can hold both.

    Things come and go; the view has masks that are shifted, cut, missing, doubled, of nothing, of
    another class, and under ids that change.
    """
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 30, (things, 2))
    speed = rng.uniform(-1.5, 1.5, (things, 2))
    side = rng.integers(4, 14, things)
    own = {id_: id_ for id_ in range(1, things + 1)}
    true, shown = {}, {}
    for number in range(frames):
        labels, said = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
        for i in range(things):
            if rng.random() < 0.1:
                own[i + 1] += 2 * things  # another id, of the same class
            if rng.random() < 0.2:
                continue
            x, y = (place[i] + number * speed[i]).astype(int)
            dx, dy = rng.integers(-2, 3, 2)
            _paint(labels, x, y, int(side[i]), i + 1)
            if rng.random() < 0.8:
                _paint(said, x + dx, y + dy, int(side[i] + rng.integers(-2, 3)), own[i + 1] % 200)
            if rng.random() < 0.1:
                _paint(said, *rng.integers(0, 40, 2), 5, 201 + i)
        region = mask((30, 25, 46, 38)) if ignored else None
        if region:
            labels[region.pixels()] = 0
        true[number] = frame(of_labels(labels), region)
        shown[number] = frame(of_labels(said))
    name = f'{seed:04d}'
    return SegmentedVideo(name, SIZE, true, NAMES), SegmentedVideo(name, SIZE, shown, NAMES)


def of_labels(labels: np.ndarray) -> dict[int, Mask]:
    return {int(id_): Mask.of(labels == id_) for id_ in np.unique(labels) if id_}


def to_labels(shown: SegmentedFrame) -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    for segment in shown.segments:
        labels[segment.mask.pixels()] = segment.id
    return labels


def _paint(labels: np.ndarray, x: int, y: int, side: int, value: int) -> None:
    if side > 0:
        labels[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = value


def with_other_ids(shown: SegmentedVideo, random: Any) -> SegmentedVideo:
    """Return a video whose things have other ids, drawn by chance."""
    ids = sorted({s.id for own in shown.frames.values() for s in own.segments})
    other = dict(zip(ids, random.sample(range(1, 900), len(ids)), strict=True))
    return video({
        number: {other[s.id]: s.mask for s in own.segments}
        for number, own in shown.frames.items()
    })  # fmt: skip
