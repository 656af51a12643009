# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all kinds of annotation share: the interface, names, and boxes in an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from detsam2_ros.banks.pictures import Picture
from detsam2_ros.banks.views import Mark
from detsam2_ros.media.folders import unicode_form
from detsam2_ros.media.notes import CUT, Notes
from detsam2_ros.media.video import InputError
from detsam2_ros.results.detections import MAX_CLASS_ID

GROUPS = ('class', 'instance')
_MAX_NAME = 200  # characters; the key of an object adds more

Box = tuple[float, float, float, float]


class Annotations(Protocol):
    """An opened source of annotations."""

    what: str  # a few words for the bank's source text

    def has(self, picture: Picture) -> bool:
        """Return whether a picture has an annotation, which may be empty."""
        ...

    def marks(self, picture: Picture, image: np.ndarray, notes: Notes) -> list[Mark]:
        """Return the marks of a picture; annotations that cannot be used are counted in notes."""
        ...

    def unused(self, notes: Notes) -> None:
        """Count the annotations without a picture, after the last picture."""
        ...


def object_key(group: str, class_name: str, instance: object) -> str:
    """Return the key of the bank object that a mark shows: its class, or the instance."""
    return class_name if group == 'class' else f'{class_name}-{instance}'


def check_name(name: Any, where: str) -> str:
    """Return a class or object name that a bank can hold; raises InputError naming where."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise InputError(f'{where}: {name!r:.80} is no name; write printable text')
    if len(name) > _MAX_NAME:
        raise InputError(f'{where}: a name of {len(name)} characters; at most {_MAX_NAME}')
    return unicode_form(name.strip())


def check_id(value: Any, where: str) -> int:
    """Return a class id; raises InputError unless it is a whole number from 0."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 12:
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_CLASS_ID:
        raise InputError(f'{where}: {value!r:.80} is no id; ids are whole numbers from 0')
    return value


def check_distinct(names: Mapping[int, str], where: str) -> None:
    """Raise InputError when two ids have one class name: the bank would mix both classes."""
    ids: dict[str, int] = {}
    for number, name in names.items():
        if name in ids:
            raise InputError(
                f'{where}: classes {ids[name]} and {number} are both called {name!r}; rename one'
            )
        ids[name] = number


def inside(box: Box, size: tuple[int, int], example: str, notes: Notes) -> Box | None:
    """Return the part of a box, xyxy pixels, that lies in an image of (width, height).

    Returns None for a box with less than one pixel in the image. Notes count these boxes, and
    the boxes that were cut by more than half a pixel; a smaller cut is rounding.
    """
    width, height = size
    x0, y0, x1, y1 = box
    cut = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if x1 - x0 < 1 or y1 - y0 < 1:
        notes.add('box', 'smaller than a pixel', example)
        return None
    if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
        notes.add('box', 'outside the image', example)
        return None
    if max(abs(a - b) for a, b in zip(box, cut, strict=True)) > 0.5:
        notes.add('box', 'it sticks out of the image', example, CUT)
    return cut


def filled(mask: np.ndarray, example: str, notes: Notes) -> bool:
    """Return whether a mask, bool [H, W], has a pixel; an empty mask is counted in notes."""
    if mask.any():
        return True
    notes.add('mask', 'empty', example)
    return False
