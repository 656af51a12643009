# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""COCO segmentations to masks: polygons and run lengths are checked before pycocotools.

The C code of pycocotools trusts its input: it reads past the end of truncated run lengths, and
points far outside the image make it allocate memory without limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from detsam2_ros.banks.annotations import numbers
from detsam2_ros.media.video import InputError


class SegmentationError(Exception):
    """A segmentation that gives no mask; the message is the reason in a few words."""


def to_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the mask of a COCO segmentation in an image of (width, height), bool [H, W].

    segmentation: a list of polygons, of which the mask is the union, or run lengths, compressed
    (text) or not (list). Raises SegmentationError, and InputError without pycocotools.
    """
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise InputError(
            'COCO polygons and run lengths need the package pycocotools: pip install pycocotools'
        ) from error
    width, height = size
    if isinstance(segmentation, dict):
        given = {'size': [height, width], 'counts': _counts(segmentation, size)}
        encoded = coco.frPyObjects(given, height, width)
    else:
        encoded = coco.merge(coco.frPyObjects(_polygons(segmentation, size), height, width))
    return np.ascontiguousarray(coco.decode(encoded)).astype(bool)


def _polygons(given: Any, size: tuple[int, int]) -> list[list[float]]:
    if not isinstance(given, list) or not given:
        raise SegmentationError('no list of polygons')
    max_coordinate = 2 * max(size)
    polygons = []
    for polygon in given:
        points = numbers(polygon)
        if points is None or len(points) % 2:
            raise SegmentationError('a polygon that is no list of x, y')
        if len(points) < 6:
            raise SegmentationError('a polygon of less than three points')
        if max(map(abs, points)) > max_coordinate:
            raise SegmentationError('a polygon with points far outside the image')
        polygons.append(points)
    return polygons


def _counts(given: dict[Any, Any], size: tuple[int, int]) -> list[int]:
    """Return run lengths that fill the image: background first, column by column."""
    if given.get('size') != [size[1], size[0]]:
        raise SegmentationError('run lengths of another image size')
    counts = given.get('counts')
    if isinstance(counts, str):
        counts = _decompressed(counts, max_count=size[0] * size[1] + 2)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise SegmentationError('run lengths that are no whole numbers from 0')
    if sum(counts) != size[0] * size[1]:
        raise SegmentationError('run lengths that do not fill the image')
    return counts


def _decompressed(text: str, max_count: int) -> list[int]:
    """Return the numbers of COCO's compressed run lengths.

    Each character from '0' on holds five bits, low bits first; bit 6 means that more follow.
    From the fourth number on, a number is stored as the difference to the number two before it.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 35 or len(counts) > max_count:
            raise SegmentationError('compressed run lengths that are no such text')
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise SegmentationError('compressed run lengths that are cut short')
    return counts
