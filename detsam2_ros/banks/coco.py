# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""COCO JSON: boxes, polygons and run lengths of objects in images."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from detsam2_ros.banks.annotations import (
    check_distinct,
    check_id,
    check_name,
    filled,
    inside,
    numbers,
    object_key,
    read_table,
)
from detsam2_ros.banks.coco_masks import SegmentationError, to_mask
from detsam2_ros.banks.notes import Notes
from detsam2_ros.banks.pictures import Picture, lookup_key
from detsam2_ros.banks.views import Mark
from detsam2_ros.media.video import InputError


class CocoFile:
    """The objects of a COCO JSON file ('images', 'annotations', 'categories').

    An annotation with a segmentation becomes a mask, an annotation with a bbox alone a box.
    Images are found by the file name in the JSON, with or without folders. Grouped by instance,
    annotations of one track_id (or attributes.track_id, as CVAT writes it) are one object, and
    an annotation without track_id is an object of its own. Crowds are left out. Raises InputError
    naming the reason when the whole file cannot be used.
    """

    def __init__(self, path: Path, group: str = 'class', is_video: bool = False) -> None:
        table = read_table(path, 'COCO file')
        self.what = f'COCO file {path.name}'
        self._group = group
        self._is_video = is_video
        images, annotations, categories = (
            self._list(table, name, path) for name in ('images', 'annotations', 'categories')
        )
        self._names = {
            check_id(category.get('id'), f'COCO file {path}, categories'): check_name(
                category.get('name'), f'COCO file {path}, categories'
            )
            for category in categories
        }
        check_distinct(self._names, f'COCO file {path}')
        self._images: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, Any] = {}
        for image in images:
            name, number = image.get('file_name'), image.get('id')
            if not isinstance(name, str) or not name or not isinstance(number, (int, str)):
                raise InputError(f'COCO file {path}: an image without file_name or id')
            stem = str(PurePosixPath(name.replace('\\', '/')).with_suffix(''))
            key = lookup_key(stem, is_video)
            if key in self._images:
                raise InputError(f'COCO file {path}: two images are called {name!r}')
            self._images[key] = image
        known = {image['id'] for image in images}
        self._annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self._homeless = []
        for annotation in annotations:
            at = annotation.get('image_id')
            if isinstance(at, (int, str)) and at in known:
                self._annotations[at].append(annotation)
            else:
                self._homeless.append(f'annotation {annotation.get("id")!r:.40}')
        self._short = self._short_names()
        self._used: set[str] = set()

    @staticmethod
    def _list(table: Any, name: str, path: Path) -> list[dict[str, Any]]:
        rows = table.get(name) if isinstance(table, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f'COCO file {path}: it has no list {name!r}')
        return rows

    def _short_names(self) -> dict[str, str]:
        """Return the keys of images by unique names without folders."""
        short: dict[str, list[str]] = defaultdict(list)
        for key in self._images:
            short[PurePosixPath(key).name].append(key)
        return {name: keys[0] for name, keys in short.items() if len(keys) == 1}

    def _find(self, picture: Picture) -> str | None:
        key = lookup_key(picture.stem, self._is_video)
        if key in self._images:
            return key
        return self._short.get(PurePosixPath(key).name)

    def has(self, picture: Picture) -> bool:
        """Return whether the file has the picture."""
        key = self._find(picture)
        if key is not None:
            self._used.add(key)
        return key is not None

    def marks(self, picture: Picture, image: np.ndarray, notes: Notes) -> list[Mark]:
        """Return a mark for each usable annotation of the picture."""
        key = self._find(picture)
        assert key is not None
        record = self._images[key]
        size = (image.shape[1], image.shape[0])
        stated = (record.get('width'), record.get('height'))
        if None not in stated and stated != size:
            notes.add('image', 'its size is not the one in the COCO file', picture.name)
            return []
        marks = []
        for annotation in self._annotations[record['id']]:
            example = f'annotation {annotation.get("id")!r:.40} of {picture.name}'
            mark = self._mark(annotation, size, example, notes)
            if mark is not None:
                marks.append(mark)
        return marks

    def _mark(
        self, annotation: dict[str, Any], size: tuple[int, int], example: str, notes: Notes
    ) -> Mark | None:
        if annotation.get('iscrowd'):
            notes.add('annotation', 'a crowd, not one object', example)
            return None
        class_id = annotation.get('category_id')
        if not isinstance(class_id, int) or class_id not in self._names:
            notes.add('annotation', 'its category is not in the file', example)
            return None
        name = self._names[class_id]
        key = object_key(self._group, name, _instance(annotation))
        segmentation = annotation.get('segmentation')
        if segmentation:
            try:
                mask = to_mask(segmentation, size)
            except SegmentationError as error:
                notes.add('annotation', str(error), example)
                return None
            return Mark(key, class_id, name, mask=mask) if filled(mask, example, notes) else None
        box = numbers(annotation.get('bbox'))
        if box is None or len(box) != 4:
            notes.add('annotation', 'neither segmentation nor bbox [x, y, w, h]', example)
            return None
        x, y, w, h = box
        kept = inside((x, y, x + w, y + h), size, example, notes)
        return None if kept is None else Mark(key, class_id, name, box=kept)

    def unused(self, notes: Notes) -> None:
        """Count images of the file without a picture, and annotations without an image."""
        for key, image in self._images.items():
            if key not in self._used:
                notes.add('image of the COCO file', 'not there', str(image['file_name']))
        for example in self._homeless:
            notes.add('annotation', 'its image is not in the file', example)


def _instance(annotation: dict[str, Any]) -> object:
    """Return what distinguishes an object from others of its class."""
    attributes = annotation.get('attributes')
    tracks = [annotation.get('track_id')]
    tracks += [attributes.get('track_id')] if isinstance(attributes, dict) else []
    for track in tracks:
        if isinstance(track, (int, str)) and str(track).isprintable() and str(track):
            return str(track)[:80]
    return f'annotation-{annotation.get("id")!s:.40}'
