# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YouTube-VIS out: JSON of all objects, as a truth and as results."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import IO, Any

from detsam2_ros.media.coco_masks import compressed, decompressed
from detsam2_ros.quality.formats.sidecar import VideoRecord
from detsam2_ros.quality.formats.writing import FormatWriter
from detsam2_ros.quality.segments import SegmentedFrame
from detsam2_ros.results.masks import Mask

INSTANCES, RESULTS = 'instances.json', 'results.json'
Pick = Callable[[dict[str, Any]], Any]  # what of the row of a mask goes into a list


@dataclass
class _Track:
    """Where the masks of an object lie in the file that collects them."""

    id: int  # of the annotation
    thing: int  # id of the object in its video, -1 for ignored pixels
    class_id: int
    frames: array[int] = field(default_factory=lambda: array('q'))
    places: array[int] = field(default_factory=lambda: array('q'))


class YouTubeVisWriter(FormatWriter):
    """Writes TARGET/instances.json in the form of a truth, and results.json in that of results.

    Frame n is place n of file_names. The truth has uncompressed run lengths, the results have
    compressed ones with a score of 1, as the tools for each expect. 'instance' is the id of an
    object in its video, since ids of annotations differ over all videos. Ignored pixels are an
    annotation with iscrowd 1. Masks wait in a temporary file, since an annotation holds all frames
    of an object.
    """

    what = 'YouTube-VIS JSON'

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self._tracks: dict[str, dict[int, _Track]] = {}
        self._masks: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _finish
        self._count = 0

    def _write(self, file: str, record: VideoRecord, number: int, frame: SegmentedFrame) -> None:
        for segment in frame.segments:
            self._add(file, number, segment.id, segment.class_id, segment.mask)
        if frame.ignored is not None:
            self._add(file, number, -1, -1, frame.ignored)

    def _add(self, file: str, number: int, thing: int, class_id: int, mask: Mask) -> None:
        tracks = self._tracks.setdefault(file, {})
        if thing not in tracks:
            self._count += 1
            tracks[thing] = _Track(self._count, thing, class_id)
        assert mask.box is not None
        x0, y0, x1, y1 = mask.box
        row = {
            'size': list(mask.size),
            'rle': compressed(mask),
            'bbox': [x0, y0, x1 - x0, y1 - y0],
            'area': mask.area,
        }
        tracks[thing].frames.append(number)
        tracks[thing].places.append(self._masks.tell())
        self._masks.write(json.dumps(row).encode() + b'\n')

    def _finish(self) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        ids = {file: place for place, file in enumerate(self.records, 1)}
        videos = [self._video(ids[file], file, record) for file, record in self.records.items()]
        used = {track.class_id for tracks in self._tracks.values() for track in tracks.values()}
        categories: list[dict[str, Any]] = [
            {'id': number, 'name': self.class_names.get(number, f'class {number}')}
            for number in sorted(used - {-1})
        ] or [{'id': 0, 'name': 'object'}]
        with (
            self._masks,
            (self.target / INSTANCES).open('w', encoding='utf-8') as truth,
            (self.target / RESULTS).open('w', encoding='utf-8') as results,
        ):
            head = {'info': {'description': 'detsam2_ros'}, 'videos': videos}
            head |= {'categories': categories}
            truth.write(json.dumps(head, ensure_ascii=False)[:-1] + ', "annotations": [')
            results.write('[')
            self._annotate(ids, categories[0]['id'], truth, results)
            truth.write('\n]}\n')
            results.write('\n]\n')

    def _video(self, id_: int, file: str, record: VideoRecord) -> dict[str, Any]:
        length = record.frames[-1][1] + 1 if record.frames else 0
        there = set(record.numbers())
        return {
            'id': id_,
            'name': record.name,
            'height': record.size[0],
            'width': record.size[1],
            'length': length,
            # A frame that is missing has a name all the same: tools take places for frames.
            'file_names': [f'{file}/{number:05d}.jpg' for number in range(length)],
            'missing_frames': [number for number in range(length) if number not in there],
        }

    def _annotate(
        self, ids: dict[str, int], other_class: int, truth: IO[str], results: IO[str]
    ) -> None:
        """Write each object in the form of a truth, and in that of a result."""
        comma, other_comma = '', ''
        for file, tracks in self._tracks.items():
            record = self.records[file]
            length = record.frames[-1][1] + 1
            for track in tracks.values():
                is_ignored = track.thing < 0
                kind = other_class if is_ignored else track.class_id
                common = {'video_id': ids[file], 'category_id': kind}
                known = common | {
                    'id': track.id, 'instance': track.thing, 'iscrowd': int(is_ignored),
                    'height': record.size[0], 'width': record.size[1], 'length': length,
                }  # fmt: skip
                truth.write(comma)
                self._write_object(truth, known, track, _TRUTH, length)
                comma = ','
                if not is_ignored:
                    results.write(other_comma)
                    scored = common | {'score': 1.0}
                    self._write_object(results, scored, track, _RESULT, length)
                    other_comma = ','

    def _write_object(
        self,
        out: IO[str],
        head: dict[str, Any],
        track: _Track,
        lists: dict[str, Pick],
        length: int,
    ) -> None:
        """Write an object with lists of what is picked from each mask, null where none is.

        Mask by mask, since all masks of an object can be more than fits into memory.
        """
        places = dict(zip(track.frames, track.places, strict=True))
        out.write('\n' + json.dumps(head)[:-1])
        for name, pick in lists.items():
            out.write(f', "{name}": [')
            for number in range(length):
                found = None
                if number in places:
                    self._masks.seek(places[number])
                    found = pick(json.loads(self._masks.readline()))
                out.write((', ' if number else '') + json.dumps(found))
            out.write(']')
        out.write('}')


def _compressed(row: dict[str, Any]) -> dict[str, Any]:
    return {'size': row['size'], 'counts': row['rle']}


def _uncompressed(row: dict[str, Any]) -> dict[str, Any]:
    return {'size': row['size'], 'counts': decompressed(row['rle']).tolist()}


_TRUTH: dict[str, Pick] = {
    'segmentations': _uncompressed, 'bboxes': itemgetter('bbox'), 'areas': itemgetter('area')}
_RESULT: dict[str, Pick] = {'segmentations': _compressed}
