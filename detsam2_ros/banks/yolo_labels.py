# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YOLO label files: a text file for each image, with a line for each object."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detsam2_ros.banks.annotations import (
    check_distinct,
    check_id,
    check_name,
    filled,
    inside,
    object_key,
    read_lines,
    read_table,
)
from detsam2_ros.banks.notes import Notes
from detsam2_ros.banks.pictures import Picture, Pictures, lookup_key
from detsam2_ros.banks.views import Mark
from detsam2_ros.media.video import InputError

NAMES_FILES = ('data.yaml', 'data.yml', 'dataset.yaml', 'classes.txt', 'obj.names')
_FAR = 2.0  # a coordinate beyond this is a mistake, not rounding
_SUBPIXEL = 4  # fractional bits of a polygon's coordinates


class YoloLabels:
    """Label files of the images' names: 'class cx cy w h' is a box, 'class x y x y ...' a mask.

    Coordinates are shares of the image's size. place: the folder of the label files, or a
    data.yaml; with a data.yaml the labels are in the folder 'labels' in place of 'images', where
    ultralytics looks for them. names: a file of class names; without it a data.yaml, classes.txt
    or obj.names is looked for in the folder and the two around it. A confidence after the numbers
    is ignored, and so are keypoints, which lines have where data.yaml has kpt_shape. Grouped by
    instance, each line is an object. Raises InputError naming what cannot be used.
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
        self._names, self._keypoints = _read_names(names)
        self._folder = folder
        self.what = f'YOLO labels in {folder.name}'
        found = (file for file in folder.rglob('*.txt') if file.name not in NAMES_FILES)
        self._files = {
            lookup_key(file.relative_to(folder).with_suffix('').as_posix(), self._is_video): file
            for file in sorted(found)
        }
        if not self._files:
            raise InputError(f'YOLO labels {folder}: it holds no label file (.txt)')
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
        for number, line in enumerate(read_lines(file, 'YOLO labels'), 1):
            if not line.strip():
                continue
            example = f'{file.relative_to(self._folder).as_posix()}, line {number}'
            parts = _numbers(line)
            if parts is None or len(parts) < 5:
                notes.add('line', 'it is not a class and four or more numbers', example)
            elif parts[0] not in self._names:
                notes.add('line', f'class {parts[0]:g} has no name', example)
            else:
                where = f'{picture.stem}-{number}'
                mark = self._mark(parts, where, (image.shape[1], image.shape[0]), example, notes)
                marks += [mark] if mark is not None else []
        return marks

    def _mark(
        self, parts: list[float], where: str, size: tuple[int, int], example: str, notes: Notes
    ) -> Mark | None:
        class_id, given = int(parts[0]), parts[1:]
        name = self._names[class_id]
        key = object_key(self._group, name, where)
        if self._keypoints:
            given = given[:4]
        elif len(given) % 2:
            given = given[:-1]  # the confidence of a prediction
        if max(map(abs, given)) > _FAR:
            notes.add('line', 'its numbers are no shares of the image, 0 to 1', example)
            return None
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


def _numbers(line: str) -> list[float] | None:
    try:
        parts = [float(part) for part in line.split()]
    except ValueError:
        return None
    return parts if all(map(math.isfinite, parts)) else None


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


def _read_names(path: Path) -> tuple[dict[int, str], bool]:
    """Return class names by id, and whether lines hold keypoints."""
    where = f'class names {path}'
    table: Any
    if path.suffix.lower() in ('.yaml', '.yml', '.json'):
        table = read_table(path, 'class names')
        keypoints = isinstance(table, dict) and bool(table.get('kpt_shape'))
        if isinstance(table, dict) and 'names' in table:
            table = table['names']
    else:
        table, keypoints = read_lines(path, 'class names'), False
    if isinstance(table, list):
        table = dict(enumerate(table))
    if not isinstance(table, dict) or not table:
        raise InputError(f"{where}: it has no 'names'")
    names = {check_id(key, where): check_name(name, where) for key, name in table.items()}
    check_distinct(names, where)
    return names, keypoints
