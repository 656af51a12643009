# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""COCO segmentations to masks by pycocotools, which trusts its input.

Its C code (2.0.8 and 2.0.11 were tried) crashes on points far away or not finite, reads and writes
behind compressed runs that are cut short, returns memory that nobody wrote for runs that do not
fill the image, and never frees the mask of runs that overfill it. So outlines have a limit here,
and runs, which pycocotools does not count, are counted before it gets them.
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Any

import numpy as np

from detsam2_ros.media.notes import Notes
from detsam2_ros.media.tables import numbers
from detsam2_ros.media.video import InputError

_MAX_OUTLINE = 1e6  # pixels around a polygon, from the image's corner; takes 40 MB
# Five bits a character, low bits first; the sixth says that more follow. 2**35 is above any run.
_COMPRESSED = re.compile(r'(?:[P-o]{0,6}[0-O])+')


class _UnusableError(Exception):
    """A part that gives no mask; the message is the reason in a few words."""


def to_mask(
    segmentation: Any, size: tuple[int, int], example: str, notes: Notes
) -> np.ndarray | None:
    """Return the mask of a COCO segmentation in an image of (width, height), bool [H, W].

    segmentation: run lengths, compressed (text) or not (list), or a polygon; or a list of these,
    of which the mask is the union. Parts that cannot be used are counted in notes; None when none
    is left. Raises InputError without pycocotools.
    """
    try:
        from pycocotools import mask as coco
    except ImportError as error:
        raise InputError(
            'COCO polygons and run lengths need the package pycocotools: pip install pycocotools'
        ) from error
    found = []
    is_list = isinstance(segmentation, list) and numbers(segmentation) is None
    for part in segmentation if is_list else [segmentation]:
        is_rle = isinstance(part, dict)
        try:
            given = _runs(part, size) if is_rle else _polygon(part)
            found += coco.frPyObjects([given], size[1], size[0])
        except _UnusableError as error:
            notes.add('mask' if is_rle else 'polygon', str(error), example)
    if not found:
        return None
    # Not merge, which writes behind its memory when most run lengths are 0.
    return np.ascontiguousarray(reduce(np.logical_or, map(coco.decode, found))).astype(bool)


def _polygon(given: Any) -> list[float]:
    points = numbers(given)
    if points is None:
        raise _UnusableError('no list of x, y')
    if len(points) < 6:
        raise _UnusableError('less than three points')
    corners = points[: len(points) // 2 * 2].reshape(-1, 2)
    steps = np.diff(corners, axis=0, prepend=0, append=0)
    if np.abs(steps).max(axis=1).sum() > _MAX_OUTLINE:
        raise _UnusableError('far outside the image')
    return corners.ravel().tolist()


def _runs(given: dict[Any, Any], size: tuple[int, int]) -> dict[str, list[int]]:
    """Return run lengths that fill the image: background first, column by column."""
    if given.get('size') != [size[1], size[0]]:
        raise _UnusableError('run lengths of another image size')
    counts = given.get('counts')
    runs = numbers(_decompressed(counts) if isinstance(counts, str) else counts)
    if runs is None or (runs % 1).any():
        raise _UnusableError('run lengths that are no whole numbers')
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise _UnusableError('run lengths that do not fill the image')
    return {'size': [size[1], size[0]], 'counts': runs.astype(int).tolist()}


def _decompressed(text: str) -> np.ndarray:
    if not _COMPRESSED.fullmatch(text):
        raise _UnusableError('compressed run lengths that are cut short or no such text')
    codes = np.frombuffer(text.encode('ascii'), np.uint8).astype(np.int64) - 48
    last = codes < 32  # characters that end a number
    starts = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    shift = 5 * (np.arange(len(codes)) - np.repeat(starts, np.diff([*starts, len(codes)])))
    bits = np.where(last & (codes > 15), codes - 32, codes & 31)  # bit 4 of the last is the sign
    values = np.add.reduceat(bits << shift, starts)
    for parity in (1, 2):  # from the fourth on, a number is the difference to that two before
        values[parity::2] = np.cumsum(values[parity::2])
    return values
