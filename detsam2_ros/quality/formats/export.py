# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Revisions out in the standard formats: what was said first of each frame, or last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from detsam2_ros.quality.formats.davis_out import DavisWriter
from detsam2_ros.quality.formats.kitti_mots_out import KittiMotsWriter
from detsam2_ros.quality.formats.writing import FormatWriter
from detsam2_ros.quality.formats.youtube_vis_out import YouTubeVisWriter
from detsam2_ros.quality.segments import Revision, SegmentedFrame

WRITERS: dict[str, Callable[[Path], FormatWriter]] = {
    'davis': DavisWriter,
    'kitti-mots': KittiMotsWriter,
    'youtube-vis': YouTubeVisWriter,
}
FIRST, FINAL = '0', 'final'


class Export:
    """A sink that writes a folder for each format into a folder; close it at the end.

    which: FIRST or FINAL. A frame waits, as packed masks, until it is final, so that frames are
    written in order. Raises InputError on a failed write.
    """

    def __init__(self, folder: Path, formats: Sequence[str], which: str = FINAL) -> None:
        self._writers = [WRITERS[name](folder / name) for name in formats]
        self._which = which
        self._waiting: dict[int, tuple[SegmentedFrame, Mapping[int, str]]] = {}
        self._written = -1  # the last frame
        self._is_closed = False

    def begin(self, name: str, size: tuple[int, int]) -> None:
        """Begin a video."""
        self.end()
        self._written = -1
        for writer in self._writers:
            writer.begin(name, size)

    def take(self, revision: Revision, names: Mapping[int, str], stamp: int | None) -> None:
        """Keep a revision of a frame if it is wanted."""
        is_first = revision.frame not in self._waiting
        if revision.frame > self._written and (is_first or self._which == FINAL):
            self._waiting[revision.frame] = revision.shown, names

    def settle(self, before: int, newest: int) -> None:
        """Write the frames before a number."""
        for number in sorted(number for number in self._waiting if number < before):
            frame, names = self._waiting.pop(number)
            self._written = number
            for writer in self._writers:
                writer.frame(number, frame, names)

    def end(self) -> None:
        """Write the frames that wait."""
        if self._waiting:
            self.settle(max(self._waiting) + 1, max(self._waiting))

    def close(self) -> None:
        """Write the frames that wait and finish the files; safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            self.end()
            for writer in self._writers:
                writer.close()
