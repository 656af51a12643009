# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""COCO JSON: boxes, polygons and run lengths of objects in images."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from detsam2_ros.banks.annotations import (
    check_distinct,
    check_name,
    filled,
    inside,
    object_key,
)
from detsam2_ros.banks.image_names import match_frames, match_names
from detsam2_ros.banks.pictures import Picture, Pictures, lookup_key
from detsam2_ros.banks.views import Mark
from detsam2_ros.media.coco_masks import to_mask
from detsam2_ros.media.notes import BOXED, Notes
from detsam2_ros.media.tables import identifier, numbers, read_table
from detsam2_ros.media.video import InputError
from detsam2_ros.results.detections import MAX_CLASS_ID

_NUMBER = re.compile('0|[1-9][0-9]{0,11}')


class CocoFile:
    """The objects of a COCO JSON file ('images', 'annotations', 'categories').

    An annotation with a segmentation becomes a mask; without one that can be used, its bbox
    becomes a box. `match_names` says which file name is which picture, `match_frames` which is
    which frame of a video. Grouped by instance, annotations of one track_id (or
    attributes.track_id, as CVAT writes it) are one object, and an annotation without track_id is
    an object of its own. Crowds are left out unless crowds says otherwise. Ids are numbers or
    text. Raises InputError naming the reason when the whole file cannot be used.
    """

    def __init__(
        self, path: Path, pictures: Pictures, group: str = 'class', crowds: bool = False
    ) -> None:
        table = read_table(path, 'COCO file')
        self.what = f'COCO file {path.name}'
        self._where = f'COCO file {path}'
        self._group = group
        self._crowds = crowds
        self._is_video = pictures.is_video
        self._classes = self._number(self._by_id(table, 'categories', 'name'))
        self._images = self._by_id(table, 'images', 'file_name')
        ids, names = list(self._images), [row['file_name'] for row in self._images.values()]
        if pictures.is_video:
            places = match_frames(pictures.path, names)
        else:
            places = match_names(pictures.path, pictures.names, names)
        self._found = {key: ids[place] for key, place in places.items()}
        self._used: set[str | None] = set()
        self._annotations: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._homeless, self._broken = [], []
        for place, annotation in enumerate(self._list(table, 'annotations')):
            if not isinstance(annotation, dict):
                self._broken.append(f'annotations[{place}], {annotation!r:.40}')
                continue
            image = identifier(annotation.get('image_id'))
            if image in self._images:
                self._annotations[image].append(annotation)
            else:
                self._homeless.append(f'annotation {annotation.get("id")!r:.40}')

    def _list(self, table: Any, name: str) -> list[Any]:
        rows = table.get(name) if isinstance(table, dict) else None
        if not isinstance(rows, list):
            raise InputError(f'{self._where}: it has no list {name!r}')
        return rows

    def _by_id(self, table: Any, what: str, name: str) -> dict[str, dict[str, Any]]:
        """Return the rows of a list, all with id and name, by id."""
        found: dict[str, dict[str, Any]] = {}
        for place, row in enumerate(self._list(table, what)):
            is_row = isinstance(row, dict) and row.get('id') is not None
            if not is_row or not isinstance(row.get(name), str) or not row[name].strip():
                raise InputError(
                    f'{self._where}: {what}[{place}], {row!r:.80}, needs an id, and a {name} that '
                    f'is text'
                )
            known = found.setdefault(identifier(row['id']), row)
            if known[name] != row[name]:
                raise InputError(
                    f'{self._where}, {what}: {known[name]!r} and {row[name]!r} both have the id '
                    f'{row["id"]!r:.40}; give each its own'
                )
        return found

    def _number(self, categories: dict[str, dict[str, Any]]) -> dict[str, tuple[int, str]]:
        """Return number and name of each class by id: the number is the id, or else its place."""
        where = f'{self._where}, categories'
        is_number = all(_NUMBER.fullmatch(key) and int(key) <= MAX_CLASS_ID for key in categories)
        classes = {
            key: (int(key) if is_number else place, check_name(row['name'], where))
            for place, (key, row) in enumerate(categories.items())
        }
        check_distinct(dict(classes.values()), self._where)
        return classes

    def _key(self, picture: Picture) -> str:
        return lookup_key(picture.stem, True) if self._is_video else picture.name

    def has(self, picture: Picture) -> bool:
        """Return whether the file has the picture."""
        key = self._found.get(self._key(picture))
        self._used.add(key)
        return key is not None

    def marks(self, picture: Picture, image: np.ndarray, notes: Notes) -> list[Mark]:
        """Return a mark for each usable annotation of the picture."""
        key = self._found[self._key(picture)]
        record = self._images[key]
        size = (image.shape[1], image.shape[0])
        stated = (record.get('width') or size[0], record.get('height') or size[1])
        if tuple(map(identifier, stated)) != tuple(map(str, size)):
            notes.add('image', 'its size is not the one in the COCO file', picture.name)
            return []
        while self._broken:
            notes.add('annotation', 'it is no JSON object', self._broken.pop(0))
        marks = []
        for annotation in self._annotations[key]:
            example = f'annotation {annotation.get("id")!r:.40} of {picture.name}'
            mark = self._mark(annotation, size, example, notes)
            if mark is not None:
                marks.append(mark)
        return marks

    def _mark(
        self, annotation: dict[str, Any], size: tuple[int, int], example: str, notes: Notes
    ) -> Mark | None:
        if not self._crowds and identifier(annotation.get('iscrowd')) in ('1', 'True'):
            notes.add('annotation', 'a crowd (iscrowd 1): --crowds reads it as an object', example)
            return None
        known = self._classes.get(identifier(annotation.get('category_id')))
        if known is None:
            notes.add('annotation', 'its category is not in the file', example)
            return None
        class_id, name = known
        key = object_key(self._group, name, _instance(annotation))
        segmentation = annotation.get('segmentation')
        mask = to_mask(segmentation, size, example, notes) if segmentation else None
        if mask is not None:
            return Mark(key, class_id, name, mask=mask) if filled(mask, example, notes) else None
        box = numbers(annotation.get('bbox'))
        if box is None or len(box) != 4:
            notes.add('annotation', 'no segmentation or bbox [x, y, w, h] to use', example)
            return None
        if segmentation:
            notes.add('annotation', 'no part of its segmentation is left', example, BOXED)
        x, y, w, h = box.tolist()
        kept = inside((x, y, x + w, y + h), size, example, notes)
        return None if kept is None else Mark(key, class_id, name, box=kept)

    def unused(self, notes: Notes) -> None:
        """Count images of the file without a picture, and annotations without an image."""
        for key, image in self._images.items():
            if key not in self._used:
                why = 'no image of its name, or more than one'
                notes.add('COCO image', why, image['file_name'])
        for example in self._homeless:
            notes.add('annotation', 'its image is not in the file', example)


def _instance(annotation: dict[str, Any]) -> object:
    """Return what distinguishes an object from others of its class."""
    attributes = annotation.get('attributes')
    tracks = [annotation.get('track_id')]
    tracks += [attributes.get('track_id')] if isinstance(attributes, dict) else []
    for track in tracks:
        name = identifier(track)
        if isinstance(track, (int, float, str)) and name and name.isprintable():
            return name[:80]
    return f'annotation-{identifier(annotation.get("id")):.40}'
