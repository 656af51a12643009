# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YOLO label files: a text file for each image, with a line for each object."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from detsam2_ros.banks.annotations import (
    check_distinct,
    check_id,
    check_name,
    filled,
    inside,
    object_key,
)
from detsam2_ros.banks.pictures import Picture, Pictures, lookup_key
from detsam2_ros.banks.views import Mark
from detsam2_ros.media.folders import list_files, unicode_form
from detsam2_ros.media.notes import CUT, Notes
from detsam2_ros.media.tables import numbers, read_lines, read_table
from detsam2_ros.media.video import InputError

NAMES_FILES = ('data.yaml', 'data.yml', 'dataset.yaml', 'classes.txt', 'obj.names')
_FAR = 0.01  # a share farther outside 0 to 1 is a mistake, not rounding; as in ultralytics
_MAX_LOOKED_AT = 1000  # files in which to look for what ends their lines
_SUBPIXEL = 4  # fractional bits of a polygon's coordinates


class YoloLabels:
    """Label files of the images' names: 'class cx cy w h' is a box, 'class x y x y ...' a mask.

    Coordinates are shares of the image's size. place: the folder of the label files, or a
    data.yaml; with a data.yaml the labels are in the folder 'labels' in place of 'images', where
    ultralytics looks for them. names: a file of class names; without it a data.yaml, classes.txt
    or obj.names is looked for in the folder and the two around it. Confidences and track ids
    behind the numbers are no coordinates, nor are keypoints, which lines have where data.yaml has
    kpt_shape. Grouped by instance, a track id is an object, and so is each line without one.
    Raises InputError naming what cannot be used.
    """

    def __init__(
        self, place: Path, pictures: Pictures, group: str = 'class', names: Path | None = None
    ) -> None:
        self._group = group
        self._is_video = pictures.is_video
        if place.suffix.lower() in ('.yaml', '.yml'):
            names = place if names is None else names
            folder = _beside(pictures.path)
        else:
            folder = place
        if not folder.is_dir():
            raise InputError(f'YOLO labels {folder}: there is no such folder')
        names = names or _find_names(folder)
        self._names, self._keypoints = _read_names(names)  # keypoints: numbers of a line
        self._folder = folder
        self.what = f'YOLO labels in {folder.name}'
        found = list_files(folder, ('.txt',), '**/*')
        stems = {
            file.relative_to(folder).with_suffix('').as_posix(): file
            for file in found
            if file.name not in NAMES_FILES
        }
        if not stems:
            raise InputError(f'YOLO labels {folder}: it holds no label file (.txt)')
        # The frames of a video have the numbers 0, 1, ..., but for ultralytics clip_1, clip_2, ...
        own = re.compile(re.escape(unicode_form(pictures.path.stem)) + r'_[1-9]\d*')
        if self._is_video and all(own.fullmatch(unicode_form(stem)) for stem in stems):
            stems = {str(int(stem.rpartition('_')[2]) - 1): file for stem, file in stems.items()}
        self._files = {lookup_key(stem, self._is_video): file for stem, file in stems.items()}
        self._has_ids = self._look_at_ends()
        self._used: set[str] = set()

    def has(self, picture: Picture) -> bool:
        """Return whether there is a label file of the picture's name."""
        key = lookup_key(picture.stem, self._is_video)
        self._used.add(key)
        return key in self._files

    def marks(self, picture: Picture, image: np.ndarray, notes: Notes) -> list[Mark]:
        """Return a mark for each usable line."""
        key = lookup_key(picture.stem, self._is_video)
        file = self._files[key]
        marks = []
        try:
            lines = read_lines(file, 'YOLO labels')
        except InputError:
            name = file.relative_to(self._folder).as_posix()
            notes.add('label file', 'it cannot be read as text in UTF-8', name)
            return []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            example = f'{file.relative_to(self._folder).as_posix()}, line {number}'
            found = _read_line(line, self._keypoints)
            if found is None:
                notes.add('line', 'it is not a class and four or more numbers', example)
            elif found.class_id not in self._names:
                notes.add('line', f'class {found.class_id:g} has no name', example)
            else:
                where = f'{picture.stem}-{number}'
                mark = self._mark(found, where, (image.shape[1], image.shape[0]), example, notes)
                marks += [mark] if mark is not None else []
        return marks

    def _look_at_ends(self) -> dict[bool, bool]:
        """Return whether a 1 that ends a line is a track id, for odd and even counts of numbers.

        It may be a confidence (odd) or a coordinate (even), which %g writes without a point too.
        The first line of a count that ends otherwise tells; a count is missing when none does.
        """
        found: dict[bool, bool] = {}
        for file in islice(self._files.values(), _MAX_LOOKED_AT):
            try:
                lines = read_lines(file, 'YOLO labels')
            except InputError:
                continue  # counted if an image has its name
            for text in lines:
                line = _read_line(text, self._keypoints)
                if line is not None and line.end != 1:
                    found.setdefault(line.is_odd, line.end > 1)
            if len(found) == 2:
                break
        return found

    def _mark(
        self, line: _Line, where: str, size: tuple[int, int], example: str, notes: Notes
    ) -> Mark | None:
        class_id, given = int(line.class_id), line.numbers
        name = self._names[class_id]
        is_id = self._has_ids.get(line.is_odd)  # of a 1; None: no line tells
        if line.end > 1 or (line.end == 1 and is_id is not False):
            where, given = str(line.end), given[:-1]
            if line.end == 1 and is_id is None and not line.is_odd:
                why = 'its last 1 is taken for a track id; write 1.0 where it is a coordinate'
                notes.add('line', why, example, CUT)
        if not all(-_FAR <= share <= 1 + _FAR for share in given):
            notes.add('line', 'its numbers are no shares of the image, 0 to 1', example)
            return None
        given = given[:4] if self._keypoints else given[: len(given) // 2 * 2]  # no confidence
        key = object_key(self._group, name, where)
        if len(given) == 4:
            cx, cy, w, h = (v * size[i % 2] for i, v in enumerate(given))
            box = inside((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), size, example, notes)
            return None if box is None else Mark(key, class_id, name, box=box)
        mask = polygon_mask(np.array(given).reshape(-1, 2) * size, size)
        return Mark(key, class_id, name, mask=mask) if filled(mask, example, notes) else None

    def unused(self, notes: Notes) -> None:
        """Count label files without an image."""
        for key in self._files.keys() - self._used:
            notes.add('label file', 'no image of its name', self._files[key].name)


def polygon_mask(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fill a polygon, [n, 2] xy in pixels, in an image of (width, height); bool [H, W].

    A pixel is filled when its centre is inside, or when it lies on the outline.
    """
    canvas = np.zeros((size[1], size[0]), np.uint8)
    # The centre of pixel 0 is at 0 in OpenCV, and at 0.5 in the label files.
    fixed = np.rint((points - 0.5) * 2**_SUBPIXEL).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 1, shift=_SUBPIXEL)
    return canvas.astype(bool)


class _Line(NamedTuple):
    class_id: float
    numbers: list[float]  # without those of keypoints
    is_odd: bool  # their count
    end: int  # the last number if it may be a track id, whole and without a point; else 0


def _read_line(text: str, keypoints: int) -> _Line | None:
    parts = text.split()
    found = numbers(parts)
    if found is None or len(found) < 5:
        return None
    class_id, *given = np.delete(found, slice(5, 5 + keypoints)).tolist()
    may_end = len(given) > 4 and parts[-1].isdecimal()
    return _Line(class_id, given, len(given) % 2 == 1, int(found[-1]) if may_end else 0)


def _beside(images: Path) -> Path:
    """Return the folder in which ultralytics looks for the labels of a folder of images."""
    parts = list(images.absolute().parts)
    if 'images' not in parts:
        raise InputError(
            f'YOLO labels: no part of {images} is called images, so nothing says where the labels '
            f'are; give their folder instead of the .yaml'
        )
    at = len(parts) - 1 - parts[::-1].index('images')
    return Path(*parts[:at], 'labels', *parts[at + 1 :])


def _find_names(folder: Path) -> Path:
    at = folder.absolute()
    for place in (at, at.parent, at.parent.parent):
        for name in NAMES_FILES:
            if (place / name).is_file():
                return place / name
    raise InputError(
        f'YOLO labels {folder}: nothing says what the classes are called; give --names with a '
        f'data.yaml, or a text file with a name a line'
    )


def _read_names(path: Path) -> tuple[dict[int, str], int]:
    """Return class names by id, and how many numbers of a line are of keypoints."""
    where = f'class names {path}'
    table: Any
    if path.suffix.lower() in ('.yaml', '.yml', '.json'):
        table = read_table(path, 'class names')
        shape = numbers((isinstance(table, dict) and table.get('kpt_shape')) or [0, 0])
        if shape is None or len(shape) != 2:
            raise InputError(f'{where}: kpt_shape is not [number of keypoints, 2 or 3]')
        keypoints = int(shape.prod())
        if isinstance(table, dict) and 'names' in table:
            table = table['names']
    else:
        table, keypoints = read_lines(path, 'class names'), 0
    if isinstance(table, list):
        table = dict(enumerate(table))
    if not isinstance(table, dict) or not table:
        raise InputError(f"{where}: it has no 'names'")
    names = {check_id(key, where): check_name(name, where) for key, name in table.items()}
    check_distinct(names, where)
    return names, keypoints
