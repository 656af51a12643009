# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the readers of all formats share: limits, one video that grows, and what is left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from detsam2_ros.media.notes import Notes
from detsam2_ros.quality.segments import Segment, SegmentedFrame, SegmentedVideo
from detsam2_ros.results.masks import Mask

MAX_SIDE = 16384  # pixels; more than any camera has, so a larger number is a mistake
MAX_FRAMES = 1_000_000  # of a video, nine hours at 30 frames a second
MAX_ID = 2**31 - 1
MAX_THINGS = 5000  # on an image; one with more values is no label image, but depth, say
REVISIONS, OBJECTS = 'revisions.jsonl', 'objects.jsonl'  # in the folder of a segment_video
_PART = 1 << 22  # pixels

_log = logging.getLogger(__name__)


def is_run(folder: Path) -> bool:
    """Return whether a path is the folder of a segment_video."""
    return any((folder / name).is_file() for name in (REVISIONS, OBJECTS))


@dataclass
class GrowingVideo:
    """A video while its masks are read in any order; the first mask of an id on a frame counts."""

    name: str
    size: tuple[int, int]  # (height, width)
    notes: Notes
    segments: dict[int, dict[int, Segment]] = field(default_factory=dict)  # by frame and id
    ignored: dict[int, list[Mask]] = field(default_factory=dict)  # by frame

    def add_frames(self, numbers: range) -> None:
        """Take frames that may be without any segment."""
        for number in numbers:
            self.segments.setdefault(number, {})

    def add(self, number: int, segment: Segment, example: str) -> None:
        """Take a segment; a second one of an id, and an empty one, are left out and counted."""
        there = self.segments.setdefault(number, {})
        if not segment.mask:
            self.notes.add('mask', 'empty', example)
        elif segment.id in there:
            self.notes.add('mask', 'another one of its id is on the frame', example)
        else:
            there[segment.id] = segment

    def ignore(self, number: int, mask: Mask) -> None:
        """Take pixels that do not count."""
        self.segments.setdefault(number, {})
        self.ignored.setdefault(number, []).append(mask)

    def done(self, class_names: Mapping[int, str]) -> SegmentedVideo:
        """Return the video as it is now."""
        frames = {
            number: SegmentedFrame(
                tuple(there.values()), _union(self.ignored.get(number, ()), self.size))
            for number, there in sorted(self.segments.items())
        }
        return SegmentedVideo(self.name, self.size, frames, dict(class_names))


def _union(masks: list[Mask] | tuple[()], size: tuple[int, int]) -> Mask | None:
    if not masks:
        return None
    if len(masks) == 1:
        return masks[0] or None
    pixels = np.zeros(size, bool)
    for mask in masks:
        pixels |= mask.pixels()
    return Mask.of(pixels) or None


def label_masks(labels: np.ndarray) -> Iterator[tuple[int, Mask]]:
    """Yield the values in an image of labels, integer [H, W] from 0, with their pixels; not 0."""
    for value in label_values(labels):
        yield value, Mask.of(labels == value)


def label_values(labels: np.ndarray) -> list[int]:
    """Return the values in an image of labels, integer [H, W] from 0, ascending; not 0."""
    found: set[int] = set()
    # By parts, since bincount copies what it gets to 8 bytes a pixel.
    for rows in np.array_split(labels, 1 + labels.size // _PART):
        found.update(np.flatnonzero(np.bincount(rows.ravel())).tolist())
    return sorted(found - {0})


def is_size(height: object, width: object) -> bool:
    """Return whether two values are the height and width that an image can have."""
    return all(type(side) is int and 1 <= side <= MAX_SIDE for side in (height, width))


def report(path: Path, notes: Notes) -> None:
    """Log what was left out, a sentence for each reason."""
    for sentence in notes.sentences():
        _log.warning('%s: %s', path, sentence)
