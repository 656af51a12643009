# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""COCO segmentations to masks, and back, by pycocotools, which trusts its input.

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
from detsam2_ros.results.masks import Mask

_MAX_OUTLINE = 1e6  # pixels around a polygon, from the image's corner; takes 40 MB
# Five bits a character, low bits first; the sixth says that more follow. 2**35 is above any run.
_COMPRESSED = re.compile(r'(?:[P-o]{0,6}[0-O])+')


class _UnusableError(ValueError):
    """A part that gives no mask; the message is the reason in a few words."""


def to_mask(
    segmentation: Any, size: tuple[int, int], example: str, notes: Notes
) -> np.ndarray | None:
    """Return the mask of a COCO segmentation in an image of (width, height), bool [H, W].

    segmentation: run lengths, compressed (text) or not (list), or a polygon; or a list of these,
    of which the mask is the union. Parts that cannot be used are counted in notes; None when none
    is left. Raises InputError without pycocotools.
    """
    coco = _pycocotools()
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


def run_lengths(mask: Mask) -> list[int]:
    """Return the runs of a mask: background first, column by column, which fill the image."""
    height, width = mask.size
    if mask.box is None:
        return [height * width]
    x0, y0, _, _ = mask.box
    # One more row of background, so that no run goes on in the next column of the box.
    columns = np.pad(mask.crop().T.astype(np.int8), ((0, 0), (0, 1)))
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=0))
    column, row = np.divmod(edges, columns.shape[1])
    places = (x0 + column) * height + y0 + row
    # A run that reaches the last row, and goes on in the first row of the next column, is one.
    joint = np.flatnonzero(np.diff(places) == 0)
    places = np.delete(places, [*joint, *(joint + 1)])
    runs: list[int] = np.diff(places, prepend=0, append=height * width).tolist()
    return runs if runs[-1] else runs[:-1]


def compressed(mask: Mask) -> str:
    """Return the compressed run lengths of a mask; raises InputError without pycocotools."""
    coco, (height, width) = _pycocotools(), mask.size
    runs = {'size': [height, width], 'counts': run_lengths(mask)}
    return str(coco.frPyObjects(runs, height, width)['counts'], 'ascii')


def _pycocotools() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise InputError(
            'COCO polygons and run lengths need the package pycocotools: pip install pycocotools'
        ) from error
    return mask


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
    runs = numbers(decompressed(counts) if isinstance(counts, str) else counts)
    if runs is None or (runs % 1).any():
        raise _UnusableError('run lengths that are no whole numbers')
    if (runs < 0).any() or runs.sum() != size[0] * size[1]:
        raise _UnusableError('run lengths that do not fill the image')
    return {'size': [size[1], size[0]], 'counts': runs.astype(int).tolist()}


def decompressed(text: str) -> np.ndarray:
    """Return the run lengths that a text of COCO stands for, int64 [n]; ValueError for another."""
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
