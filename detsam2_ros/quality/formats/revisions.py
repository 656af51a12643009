# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The file revisions.jsonl: all that a tracker said, a line for each revision of a frame.

A first line {"format": "detsam2 revisions", "version": 1, "video", "size": [height, width]}
begins a video. Then come, in the order in which they were said,

- {"frame", "revision", "newest", "final", "stamp", "withdrawn", "objects": [{"id", "class_id",
  "class_name", "rle"}]}: newest is the newest frame that the tracker had by then, rle are the
  compressed run lengths of COCO;
- {"final_before", "newest"}: frames before that number are final from now on;
- {"end": true}: nothing is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from detsam2_ros.media.coco_masks import compressed, to_mask
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.reading import MAX_FRAMES, MAX_ID, is_size
from detsam2_ros.quality.formats.sinks import RevisionSink
from detsam2_ros.quality.segments import Revision, Segment, SegmentedFrame
from detsam2_ros.results.masks import Mask

_FORMAT, _VERSION = 'detsam2 revisions', 1
_MAX_LINE = 1 << 28  # bytes


class RevisionsWriter:
    """A sink that writes the file; to be used as a context manager.

    Whole lines are in the file at any moment. Raises InputError on a failed write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open('w', encoding='utf-8')
        except OSError as error:
            raise self._failed(error) from error

    def begin(self, name: str, size: tuple[int, int]) -> None:
        """Begin a video."""
        self._write({'format': _FORMAT, 'version': _VERSION, 'video': name, 'size': list(size)})

    def take(self, revision: Revision, names: Mapping[int, str], stamp: int | None) -> None:
        """Write a revision."""
        objects = [
            {
                'id': thing.id,
                'class_id': thing.class_id,
                'class_name': names.get(thing.class_id, ''),
                'rle': compressed(thing.mask),
            }
            for thing in revision.shown.segments
        ]
        self._write({
            'frame': revision.frame, 'revision': revision.revision, 'newest': revision.newest,
            'final': revision.final, 'stamp': stamp, 'withdrawn': sorted(revision.withdrawn),
            'objects': objects,
        })  # fmt: skip

    def settle(self, before: int, newest: int) -> None:
        """Write which frames are final."""
        self._write({'final_before': before, 'newest': newest})

    def end(self) -> None:
        """Write that the video is complete."""
        self._write({'end': True})

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._file.close()

    def __enter__(self) -> RevisionsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: dict[str, Any]) -> None:
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + '\n')
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> InputError:
        return InputError(f'cannot write {self.path}: {error.strerror or error}')


def read_revisions(path: Path, sink: RevisionSink, notes: Notes) -> None:
    """Give the lines of a file to a sink.

    A last line that is torn is left out and counted, and so is any line that is no such line.
    Raises InputError where the file does not begin with a video.
    """
    reader = _Reader(path, sink, notes)
    try:
        for place, (line, is_torn) in enumerate(_lines(path), 1):
            reader.line(line, is_torn, f'line {place} of {path.name}')
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror or error}') from error
    if not reader.size:
        raise InputError(f'{path} is empty; record again with --revisions')


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield lines, and whether each is without its end."""
    with path.open('rb') as file:
        while line := file.readline(_MAX_LINE):
            yield line, not line.endswith(b'\n')


class _Reader:
    def __init__(self, path: Path, sink: RevisionSink, notes: Notes) -> None:
        self._path, self._sink, self._notes = path, sink, notes
        self.size: tuple[int, int] | None = None
        self._last: dict[int, int] = {}  # by frame: its revision
        self._newest = 0

    def line(self, data: bytes, is_torn: bool, example: str) -> None:
        """Take a line."""
        try:
            row = json.loads(data)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            if self.size is None:
                raise self._no_such_file()
            why = 'it is torn, so the recording was broken off' if is_torn else 'it is no JSON'
            self._notes.add('line', why, example)
        elif 'format' in row:
            self._begin(row, example)
        elif self.size is None:
            raise self._no_such_file()
        elif 'final_before' in row:
            before, newest = row['final_before'], row.get('newest')
            if _is_count(before) and _is_count(newest):
                self._sink.settle(before, newest)
            else:
                self._notes.add('line', 'final_before or newest is no frame', example)
        elif row.get('end') is True:
            self._sink.end()
        else:
            self._revision(row, example)

    def _no_such_file(self) -> InputError:
        return InputError(
            f'{self._path} does not begin with the line of a recording of revisions, '
            f'{{"format": "{_FORMAT}", ...}}; segment_video --revisions writes such a file'
        )

    def _begin(self, row: dict[str, Any], example: str) -> None:
        if row['format'] != _FORMAT or row.get('version') != _VERSION:
            raise InputError(
                f'{self._path} is {row["format"]!r:.40} of version {row.get("version")!r:.20}; '
                f'only version {_VERSION} of {_FORMAT!r} is known here: record again'
            )
        size = row.get('size')
        if not isinstance(size, list) or len(size) != 2 or not is_size(*size):
            raise InputError(f'{self._path}, {example}: size {size!r:.40} is no [height, width]')
        self.size, self._last, self._newest = (size[0], size[1]), {}, 0
        self._sink.begin(str(row.get('video', self._path.parent.name)), self.size)

    def _revision(self, row: dict[str, Any], example: str) -> None:
        frame, revision, newest = row.get('frame'), row.get('revision'), row.get('newest')
        objects, withdrawn, stamp = row.get('objects'), row.get('withdrawn'), row.get('stamp')
        if not (_is_count(frame) and _is_count(revision) and _is_count(newest)) or not (
            isinstance(objects, list) and isinstance(withdrawn, list)
        ):
            self._notes.add('line', 'it is no revision of a frame', example)
        elif newest < frame:
            self._notes.add('line', 'its frame is newer than the newest', example)
        elif revision <= self._last.get(frame, -1):
            self._notes.add('line', 'a revision that is as new was there before', example)
        elif newest < self._newest:
            self._notes.add('line', 'its newest frame is older than one before', example)
        else:
            self._last[frame], self._newest = revision, newest
            names: dict[int, str] = {}
            said = Revision(
                frame=frame,
                revision=revision,
                newest=newest,
                final=row.get('final') is True,
                shown=self._shown(objects, names, example),
                withdrawn=frozenset(id_ for id_ in withdrawn if type(id_) is int),
            )
            self._sink.take(said, names, stamp if type(stamp) is int else None)

    def _shown(self, rows: list[Any], names: dict[int, str], example: str) -> SegmentedFrame:
        assert self.size is not None
        height, width = self.size
        segments: dict[int, Segment] = {}
        for row in rows:
            id_ = row.get('id') if isinstance(row, dict) else None
            kind = row.get('class_id') if isinstance(row, dict) else None
            if not _is_count(kind, MAX_ID) or not _is_count(id_, MAX_ID) or not id_:
                self._notes.add('object', 'its id or class_id is no such number', example)
                continue
            if id_ in segments:
                self._notes.add('object', 'another one on the frame has its id', example)
                continue
            runs = {'size': [height, width], 'counts': row.get('rle')}
            pixels = to_mask(runs, (width, height), example, self._notes)
            if pixels is not None:
                segments[id_] = Segment(id_, kind, Mask.of(pixels))
                names[kind] = str(row.get('class_name') or f'class {kind}')
        return SegmentedFrame(tuple(segments.values()))


def _is_count(value: Any, limit: int = MAX_FRAMES) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= limit
