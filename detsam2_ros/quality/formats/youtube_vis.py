# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YouTube-VIS JSON: objects of videos, each with a segmentation or null for each frame.

COCO for videos is read too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detsam2_ros.media.coco_masks import to_mask
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.tables import identifier, read_table
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.coco_video import ByFrame, as_youtube_vis, is_coco_video
from detsam2_ros.quality.formats.reading import (
    MAX_FRAMES,
    MAX_ID,
    GrowingVideo,
    is_size,
    report,
)
from detsam2_ros.quality.segments import Segment, SegmentedVideo
from detsam2_ros.results.detections import MAX_CLASS_ID
from detsam2_ros.results.masks import Mask

_LISTS = ('videos', 'annotations', 'categories')


def read_json(path: Path) -> list[SegmentedVideo]:
    """Read a JSON file with 'videos', 'annotations' and 'categories'.

    The number of a frame is its place in file_names. All frames are known, those without a
    segmentation as empty, except the places in missing_frames if a video has such a list.
    Segmentations are polygons or run lengths, compressed or not. With iscrowd 1 they are ignored
    pixels. The id of an object is that of the annotation, or its 'instance'. A file with images
    is COCO for videos, see as_youtube_vis. What cannot be used is left out and counted. Raises
    InputError where no video is left.
    """
    table = read_table(path, 'YouTube-VIS file')
    for name in _LISTS:
        if not isinstance(table, dict) or not isinstance(table.get(name), list):
            raise InputError(_lacks(path, table, name))
    notes = Notes()
    if is_coco_video(table):
        table = as_youtube_vis(table, notes)
    reader = _Reader(table, notes)
    for place, annotation in enumerate(table['annotations']):
        reader.take(annotation, place)
    report(path, notes)
    if not reader.videos:
        raise InputError(f'{path}: none of its {len(table["videos"])} videos can be used')
    return [video.done(reader.class_names) for video in reader.videos.values()]


def _lacks(path: Path, table: Any, name: str) -> str:
    wanted = ', '.join(_LISTS[:2]) + f' and {_LISTS[2]}'
    if isinstance(table, list):
        return (
            f'{path} is a list, as YouTube-VIS has for results: it names no videos and no sizes; '
            f'give a file with {wanted}'
        )
    has = ', '.join(map(str, list(table)[:8])) if isinstance(table, dict) else type(table).__name__
    if isinstance(table, dict) and 'images' in table:
        has += '; a list of images is COCO for single images'
    return f'{path} has no list {name!r}; YouTube-VIS has {wanted}, this has {has or "nothing"}'


class _Reader:
    def __init__(self, table: dict[str, Any], notes: Notes) -> None:
        self._notes = notes
        self.videos: dict[str, GrowingVideo] = {}  # by id
        self.class_names: dict[int, str] = {}
        self._classes: dict[str, int] = {}
        self._missing: dict[str, frozenset[int]] = {}
        self._length: dict[str, int] = {}
        self._total = 0  # frames of all videos
        self._ids: set[str] = set()  # of annotations
        for place, row in enumerate(table['categories']):
            self._category(row, place)
        for place, row in enumerate(table['videos']):
            self._video(row, place)
        numbers = (row.get('id') for row in table['annotations'] if isinstance(row, dict))
        self._next = max([0, *(n for n in numbers if type(n) is int and n <= MAX_ID)])

    def _category(self, row: Any, place: int) -> None:
        id_ = row.get('id') if isinstance(row, dict) else None
        if type(id_) is not int or not 0 <= id_ <= MAX_CLASS_ID or id_ in self.class_names:
            self._notes.add(
                'category', 'its id is no whole number from 0, or is there twice',
                f'categories[{place}]')  # fmt: skip
        else:
            self._classes[str(id_)] = id_
            self.class_names[id_] = str(row.get('name', f'class {id_}'))

    def _video(self, row: Any, place: int) -> None:
        example = f'videos[{place}]'
        if not isinstance(row, dict) or not is_size(row.get('height'), row.get('width')):
            self._notes.add('video', 'it has no height and width that an image can have', example)
            return
        files = row.get('file_names')
        length = len(files) if isinstance(files, list) else row.get('length')
        if type(length) is not int or length < 0:
            self._notes.add('video', 'it has no file_names and no length', example)
            return
        if self._total + length > MAX_FRAMES:
            self._notes.add('video', f'with it there are more than {MAX_FRAMES} frames', example)
            return
        self._total += length
        id_ = identifier(row.get('id'))
        if row.get('id') is None or id_ in self.videos:
            self._notes.add('video', 'it has no id, or that of another one', example)
            return
        missing = row.get('missing_frames')
        listed = missing if isinstance(missing, list) else []
        self._missing[id_] = frozenset(n for n in listed if type(n) is int)
        name = str(row.get('name') or _folder(files) or id_)
        video = self.videos[id_] = GrowingVideo(name, (row['height'], row['width']), self._notes)
        self._length[id_] = length
        for number in range(length):
            if number not in self._missing[id_]:
                video.add_frames(range(number, number + 1))

    def take(self, row: Any, place: int) -> None:
        """Take an annotation."""
        example = f'annotations[{place}]'
        segmentations = row.get('segmentations') if isinstance(row, dict) else None
        if not isinstance(segmentations, (list, ByFrame)):
            self._notes.add('annotation', "it has no list 'segmentations'", example)
            return
        video_id = identifier(row.get('video_id'))
        class_id = self._classes.get(identifier(row.get('category_id')))
        is_crowd = identifier(row.get('iscrowd')) in ('1', 'True')
        id_ = self._id(row)
        if video_id not in self.videos:
            self._notes.add('annotation', 'its video is not in the file', example)
        elif class_id is None and not is_crowd:
            self._notes.add('annotation', 'its category is not in the file', example)
        elif id_ is None:
            self._notes.add('annotation', 'its id is no whole number from 0, or is twice', example)
        else:
            thing = None if is_crowd or class_id is None else (id_, class_id)
            self._masks(video_id, thing, segmentations, example)

    def _id(self, row: dict[str, Any]) -> int | None:
        own, given = row.get('id'), row.get('instance')
        if type(own) is not int or not 0 <= own <= MAX_ID or str(own) in self._ids:
            return None
        self._ids.add(str(own))
        if type(given) is int and 1 <= given <= MAX_ID:
            return given
        if own == 0:  # ids of things begin with 1
            self._next += 1
            return self._next
        return own

    def _masks(
        self,
        video_id: str,
        thing: tuple[int, int] | None,
        parts: list[Any] | ByFrame,
        example: str,
    ) -> None:
        video, missing = self.videos[video_id], self._missing[video_id]
        height, width = video.size
        for number, part in parts.items() if isinstance(parts, ByFrame) else enumerate(parts):
            if not part:
                continue
            where = f'frame {number} of {example}'
            if number >= self._length[video_id] or number in missing:
                self._notes.add('mask', 'its video has no such frame', where)
                continue
            pixels = to_mask(part, (width, height), where, self._notes)
            if pixels is None:
                continue
            if thing is None:
                video.ignore(number, Mask.of(pixels))
            else:
                video.add(number, Segment(*thing, Mask.of(pixels)), where)


def _folder(files: Any) -> str:
    """Return the folder that the first file lies in, '' without one."""
    first = files[0] if isinstance(files, list) and files else ''
    return str(first).rpartition('/')[0].rpartition('/')[2] if isinstance(first, str) else ''
