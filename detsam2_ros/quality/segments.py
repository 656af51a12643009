# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Segmented videos as values: the truth, and what a tracker said of each frame at each lag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from detsam2_ros.results.masks import Mask


@dataclass(frozen=True)
class Segment:
    """One thing on one frame."""

    id: int  # of the thing, the same on all frames; >= 1
    class_id: int
    mask: Mask  # empty masks do not count


@dataclass(frozen=True)
class SegmentedFrame:
    """All things on one frame."""

    segments: tuple[Segment, ...] = ()
    ignored: Mask | None = None  # pixels in which a prediction counts neither for nor against


@dataclass(frozen=True)
class SegmentedVideo:
    """The things of a video, as truth or as one view of what a tracker said."""

    name: str
    size: tuple[int, int]  # (height, width) of the images
    frames: Mapping[int, SegmentedFrame]  # by frame number from 0; truth may know some frames only
    class_names: Mapping[int, str] = field(default_factory=dict)  # by class id, as far as known


@dataclass(frozen=True)
class Revision:
    """What a tracker said of a frame at one time."""

    frame: int  # number of the frame, from 0
    revision: int  # 0 as first published
    newest: int  # number of the newest frame that the tracker had received by then
    final: bool  # nothing later is said of the frame
    shown: SegmentedFrame
    withdrawn: frozenset[int] = frozenset()  # ids taken back by this revision


@dataclass(frozen=True)
class RevisedVideo:
    """All that a tracker said of a video, in the order in which it said it."""

    name: str
    size: tuple[int, int]  # (height, width) of the images
    revisions: tuple[Revision, ...]
    class_names: Mapping[int, str] = field(default_factory=dict)
    # By frame, as far as known: number of the newest frame when the frame became final. A frame
    # may become final without a revision that says so.
    settled: Mapping[int, int] = field(default_factory=dict)
