# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who takes what a tracker says as it says it: the interface, and one that keeps all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from detsam2_ros.media.notes import Notes
from detsam2_ros.quality.formats.reading import label_masks
from detsam2_ros.quality.segments import RevisedVideo, Revision, Segment, SegmentedFrame


class RevisionSink(Protocol):
    """Takes revisions in the order in which they were said, one video after the other."""

    def begin(self, name: str, size: tuple[int, int]) -> None:
        """Begin a video of images of (height, width)."""
        ...

    def take(self, revision: Revision, names: Mapping[int, str], stamp: int | None) -> None:
        """Take a revision. names: of its classes. stamp: of the image, ns, as far as known."""
        ...

    def settle(self, before: int, newest: int) -> None:
        """Take note that frames before a number are final since the frame newest was there."""
        ...

    def end(self) -> None:
        """Take note that the tracker has said all of this video: every frame is final."""
        ...


class Named(Protocol):
    """The part of an object that a format keeps."""

    @property
    def id(self) -> int:
        """The id."""
        ...

    @property
    def class_id(self) -> int:
        """The class."""
        ...

    @property
    def class_name(self) -> str:
        """The name of the class."""
        ...


def shown_by(
    labels: np.ndarray, objects: Iterable[Named], notes: Notes, example: str
) -> tuple[SegmentedFrame, dict[int, str]]:
    """Return what labels, integer [H, W], show of the objects, and the names of their classes.

    Pixels with the id of no object are left out and counted.
    """
    known = {thing.id: thing for thing in objects}
    segments, names = [], {}
    for id_, mask in label_masks(labels):
        thing = known.get(id_)
        if thing is None:
            notes.add('mask', 'no object has its id', f'id {id_} {example}')
        else:
            segments.append(Segment(id_, thing.class_id, mask))
            names[thing.class_id] = thing.class_name
    return SegmentedFrame(tuple(segments)), names


@dataclass
class _Growing:
    name: str
    size: tuple[int, int]
    revisions: list[Revision] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    settled: dict[int, int] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)  # frames that are not settled
    last: dict[int, int] = field(default_factory=dict)  # by frame: place of its last revision

    def settle(self, number: int, newest: int) -> None:
        self.open.discard(number)
        self.settled.setdefault(number, newest)


class Collector:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self._videos: list[_Growing] = []

    def begin(self, name: str, size: tuple[int, int]) -> None:
        """Begin a video."""
        self._videos.append(_Growing(name, size))

    def take(self, revision: Revision, names: Mapping[int, str], stamp: int | None) -> None:
        """Keep a revision."""
        video = self._videos[-1]
        video.last[revision.frame] = len(video.revisions)
        video.revisions.append(revision)
        video.names.update(names)
        video.open.add(revision.frame)
        if revision.final:
            video.settle(revision.frame, revision.newest)

    def settle(self, before: int, newest: int) -> None:
        """Note which frames are final."""
        video = self._videos[-1]
        for number in [number for number in video.open if number < before]:
            video.settle(number, newest)

    def end(self) -> None:
        """Note that all frames are final now, whatever else was."""
        video = self._videos[-1]
        newest = max((each.newest for each in video.revisions), default=0)
        for number in sorted(video.open):
            video.settle(number, newest)

    def videos(self) -> list[RevisedVideo]:
        """Return the videos, with the last revision of a final frame marked final."""
        return [
            RevisedVideo(
                video.name,
                video.size,
                tuple(
                    replace(
                        revision,
                        final=place == video.last[revision.frame]
                        and revision.frame not in video.open,
                    )
                    for place, revision in enumerate(video.revisions)
                ),
                dict(sorted(video.names.items())),
                dict(video.settled),
            )
            for video in self._videos
        ]
