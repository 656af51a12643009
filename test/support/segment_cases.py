# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Segmented videos for tests of their formats, by hand and by hypothesis."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from detsam2_ros.quality.formats.revisions import RevisionsWriter
from detsam2_ros.quality.segments import Revision, Segment, SegmentedFrame, SegmentedVideo
from detsam2_ros.results.masks import Mask

CLASSES = {0: 'cup', 1: 'car', 5: 'person', 7: 'fork, big'}
VOID = -1


def frame_of(labels: np.ndarray, classes: dict[int, int]) -> SegmentedFrame:
    """Make a frame of labels, int [H, W]: ids, 0 = background, VOID = ignored."""
    segments = tuple(
        Segment(id_, classes[id_], Mask.of(labels == id_))
        for id_ in np.unique(labels[labels > 0]).tolist()
    )
    return SegmentedFrame(segments, Mask.of(labels == VOID) or None)


def video_of(
    name: str, pictures: dict[int, np.ndarray], classes: dict[int, int]
) -> SegmentedVideo:
    """Make a video of labels by frame."""
    size = next(iter(pictures.values())).shape
    frames = {number: frame_of(labels, classes) for number, labels in pictures.items()}
    used = {classes[thing.id] for frame in frames.values() for thing in frame.segments}
    names = {kind: CLASSES[kind] for kind in sorted(used)}
    return SegmentedVideo(name, (size[0], size[1]), frames, names)


@st.composite
def videos(draw: Callable, max_id: int = 2**31 - 1) -> list[SegmentedVideo]:
    """Draw up to three videos with missing and empty frames, and ids of any size."""
    found = []
    for number in range(draw(st.integers(1, 3))):
        height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        ids = draw(st.lists(st.integers(1, max_id), min_size=1, max_size=4, unique=True))
        classes = {id_: draw(st.sampled_from(sorted(CLASSES))) for id_ in ids}
        values = st.sampled_from([0, 0, VOID, *ids])
        pictures = st.lists(values, min_size=height * width, max_size=height * width)
        frames = {
            frame: np.array(draw(pictures)).reshape(height, width)
            for frame in draw(st.lists(st.integers(0, 12), min_size=1, max_size=4, unique=True))
        }
        found.append(video_of(f'clip {number}', frames, classes))
    return found


def content(found: Iterable[SegmentedVideo]) -> dict[str, object]:
    """Return all that videos say, in a form that compares without regard to order."""
    return {
        video.name: (
            video.size,
            {
                number: ({thing.id: thing for thing in frame.segments}, frame.ignored)
                for number, frame in video.frames.items()
            },
        )
        for video in found
    }


def names_used(found: Iterable[SegmentedVideo]) -> dict[int, str]:
    """Return the names of the classes that appear."""
    return {
        thing.class_id: video.class_names[thing.class_id]
        for video in found for frame in video.frames.values() for thing in frame.segments
    }  # fmt: skip


CLIP = video_of('clip', {
    0: np.array([[1, 1, 0], [0, 2, VOID]]), 1: np.array([[0, 1, 0], [2, 2, 0]]),
}, {1: 1, 2: 5})  # fmt: skip


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def record_clip(path: Path) -> bytes:
    """Record two revisions of two frames."""
    path.parent.mkdir(exist_ok=True)
    with RevisionsWriter(path) as file:
        file.begin('clip', CLIP.size)
        for number, frame in CLIP.frames.items():
            said = Revision(number, 0, 1, False, frame, frozenset({7}))
            file.take(said, CLIP.class_names, None)
            file.settle(number, 1)
        file.end()
    return path.read_bytes()
