# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""KITTI MOTS out: a text file for each video, a line for each mask, and a seqmap."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from detsam2_ros.media.coco_masks import compressed
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.sidecar import VideoRecord, write_sidecar
from detsam2_ros.quality.formats.writing import FormatWriter, Numbers
from detsam2_ros.quality.segments import SegmentedFrame

IGNORE_CLASS = 10
IGNORED = 10000  # id of ignored pixels
OF_A_CLASS = 1000  # ids
_KNOWN = {'car': 1, 'pedestrian': 2, 'person': 2}
_SEQMAP = 'evaluate_mots.seqmap.all'


class KittiMotsWriter(FormatWriter):
    """Writes lines 'frame id class height width rle' into TARGET/VIDEO.txt.

    Classes named car, and pedestrian or person, are 1 and 2 as in KITTI; other classes get the
    next number from 3 on as they appear, without 10, which is ignored pixels. The id is 1000 times
    the class plus 0..999; an object beyond 1000 of its class is left out.
    """

    what = 'KITTI MOTS text'

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self._lines: IO[str] | None = None
        self._classes: dict[int, int] = {}
        self._numbers: dict[int, Numbers] = {}
        self._of_ids: dict[int, int | None] = {}

    def begin(self, name: str, size: tuple[int, int]) -> None:
        """Begin a video."""
        super().begin(name, size)
        self._numbers, self._of_ids = {}, {}
        try:
            if self._lines is not None:
                self._lines.close()
            self.target.mkdir(parents=True, exist_ok=True)
            self._lines = (self.target / f'{self._file}.txt').open('w', encoding='ascii')
        except OSError as error:
            raise InputError(f'cannot write into {self.target}: {error.strerror}') from error

    def _write(self, file: str, record: VideoRecord, number: int, frame: SegmentedFrame) -> None:
        assert self._lines is not None
        size = f'{record.size[0]} {record.size[1]}'
        for segment in frame.segments:
            if segment.id not in self._of_ids:
                self._of_ids[segment.id] = self._number(segment.id, segment.class_id, record)
            id_ = self._of_ids[segment.id]
            if id_ is not None:
                runs = compressed(segment.mask)
                self._lines.write(f'{number} {id_} {id_ // OF_A_CLASS} {size} {runs}\n')
        if frame.ignored is not None:
            runs = compressed(frame.ignored)
            self._lines.write(f'{number} {IGNORED} {IGNORE_CLASS} {size} {runs}\n')

    def _number(self, id_: int, class_id: int, record: VideoRecord) -> int | None:
        kind = self._class(class_id)
        first = kind * OF_A_CLASS
        numbers = self._numbers.setdefault(kind, Numbers(range(first, first + OF_A_CLASS)))
        found = numbers.take(first + id_ % OF_A_CLASS)
        if found is None:
            self.notes.add(
                'object', 'KITTI MOTS has room for 1000 of a class', f'id {id_} of {record.name}')
        else:
            record.objects[found] = (id_, class_id)
        return found

    def _class(self, class_id: int) -> int:
        if class_id not in self._classes:
            name = self.class_names.get(class_id, '').lower()
            free = max([*self._classes.values(), *_KNOWN.values()]) + 1
            free += free == IGNORE_CLASS
            self._classes[class_id] = _KNOWN.get(name, free)
        return self._classes[class_id]

    def _finish(self) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        if self._lines is not None:
            self._lines.close()
        rows = [
            f'{file} empty {record.frames[0][0]:06d} {record.frames[-1][1]:06d}\n'
            for file, record in self.records.items()
            if record.frames
        ]
        (self.target / _SEQMAP).write_text(''.join(rows), encoding='utf-8')
        write_sidecar(self.target, self.records, self.class_names)
