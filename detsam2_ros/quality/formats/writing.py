# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the writers of all formats share: one video after the other, frame by frame."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.sidecar import VideoRecord
from detsam2_ros.quality.segments import Segment, SegmentedFrame, SegmentedVideo
from detsam2_ros.results.masks import Mask

_log = logging.getLogger(__name__)


class FormatWriter(ABC):
    """Writes videos frame by frame; to be used as a context manager.

    Memory grows with the number of objects, not with that of frames. Where masks overlap, the
    object that the frame names first keeps the pixels, so that each pixel is of one object, as in
    the label images. An object keeps the class of its first frame. What a format has no room for
    is left out, counted, and logged at the end. Raises InputError on a failed write.
    """

    what = ''  # the format, in a few words

    def __init__(self, target: Path) -> None:
        self.target = target
        self.notes = Notes()
        self.class_names: dict[int, str] = {}
        self.records: dict[str, VideoRecord] = {}  # by the names of files
        self._file = ''
        self._is_closed = False

    def begin(self, name: str, size: tuple[int, int]) -> None:
        """Begin a video of images of (height, width)."""
        file = re.sub(r'[^\w.-]+', '_', name).strip('._') or 'video'
        if file in self.records:
            raise InputError(f'{self.target}: two videos would be called {file}; rename one')
        self._file = file
        self.records[file] = VideoRecord(name, size)

    def frame(self, number: int, frame: SegmentedFrame, names: Mapping[int, str]) -> None:
        """Write a frame; numbers ascend. names: of the classes that appear on it."""
        record = self.records[self._file]
        for segment in frame.segments:
            known = names.get(segment.class_id)
            if known is not None:
                self.class_names.setdefault(segment.class_id, known)
        try:
            self._write(self._file, record, number, self._disjoint(record, number, frame))
        except OSError as error:
            raise self._failed(error) from error
        record.add_frame(number)

    def close(self) -> None:
        """Finish the files; safe to call twice."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._finish()
        except OSError as error:
            raise self._failed(error) from error
        for sentence in self.notes.sentences():
            _log.warning('%s: %s', self.target, sentence)

    def __enter__(self) -> FormatWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _write(self, file: str, record: VideoRecord, number: int, frame: SegmentedFrame) -> None:
        """Write a frame of disjoint masks with pixels; raises OSError."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what comes last; raises OSError."""

    def _failed(self, error: OSError) -> InputError:
        return InputError(f'cannot write {self.target}: {error.strerror or error}')

    def _disjoint(
        self, record: VideoRecord, number: int, frame: SegmentedFrame
    ) -> SegmentedFrame:
        taken = np.zeros(record.size, bool)
        segments, ids = [], set()
        for segment in frame.segments:
            example = f'object {segment.id} on frame {number} of {record.name}'
            if segment.id in ids:
                self.notes.add('mask', 'another one of its object is on the frame', example)
                continue
            ids.add(segment.id)
            mask = self._free(segment.mask, taken, record)
            if mask != segment.mask:
                self.notes.add('mask', 'an object named before it has some pixels', example, 'cut')
            if mask:
                segments.append(Segment(segment.id, segment.class_id, mask))
        ignored = None if frame.ignored is None else self._free(frame.ignored, taken, record)
        return SegmentedFrame(tuple(segments), ignored or None)

    def _free(self, mask: Mask, taken: np.ndarray, record: VideoRecord) -> Mask:
        """Return the part of a mask that is not taken yet, and take it."""
        if mask.size != record.size:
            raise InputError(
                f'{self.target}: a mask of {mask.size[1]}x{mask.size[0]} pixels cannot go into '
                f'{record.name}, whose images have {record.size[1]}x{record.size[0]}'
            )
        if mask.box is None:
            return mask
        x0, y0, x1, y1 = mask.box
        crop, there = mask.crop(), taken[y0:y1, x0:x1]
        if (crop & there).any():
            crop &= ~there
            mask = Mask.of_crop(mask.size, y0, x0, crop)
        there |= crop
        return mask


def write_videos(videos: Iterable[SegmentedVideo], writer: FormatWriter) -> None:
    """Write videos, and close the writer; raises InputError."""
    with writer:
        for video in videos:
            writer.begin(video.name, video.size)
            for number in sorted(video.frames):
                writer.frame(number, video.frames[number], video.class_names)


class Numbers:
    """Numbers for ids in a format with room for some: an id keeps its own where that is free."""

    def __init__(self, allowed: range) -> None:
        self._allowed = allowed
        self._taken: set[int] = set()
        self._next = allowed.start

    def take(self, wanted: int) -> int | None:
        """Return a number that was never returned before; None when all are taken."""
        if wanted not in self._allowed or wanted in self._taken:
            while self._next in self._taken:
                self._next += 1
            if self._next not in self._allowed:
                return None
            wanted = self._next
        self._taken.add(wanted)
        return wanted
