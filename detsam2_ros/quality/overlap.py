# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far masks overlap: tables of one list of masks against another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detsam2_ros.results.masks import Box, Mask


def overlap_table(rows: Sequence[Mask], columns: Sequence[Mask]) -> np.ndarray:
    """Return the pixels that each mask shares with each of another list, int64 [n, m]."""
    shared = np.zeros((len(rows), len(columns)), np.int64)
    opened = [mask.crop() for mask in columns]
    for row, mask in enumerate(rows):
        own = mask.crop()
        for column, other in enumerate(columns):
            both = _common(mask.box, other.box)
            if mask.box and other.box and both:
                part = _part(own, mask.box, both) & _part(opened[column], other.box, both)
                shared[row, column] = np.count_nonzero(part)
    return shared


def iou_table(rows: Sequence[Mask], columns: Sequence[Mask]) -> np.ndarray:
    """Return the IoU of each mask with each of another list, float64 [n, m]; 0 of empty ones."""
    return _ious(overlap_table(rows, columns), _areas(rows), _areas(columns))


def label_iou_table(
    truth: np.ndarray, true_ids: Sequence[int], shown: np.ndarray, shown_ids: Sequence[int]
) -> np.ndarray:
    """Return the IoU of true labels with shown ones, float64 [n, m].

    truth, shown: label images, integer [H, W]. A label that is not in its image has IoU 0.
    """
    rows, columns = _places(truth, true_ids), _places(shown, shown_ids)
    width = len(shown_ids) + 1
    counts = np.bincount((rows * width + columns).ravel(), minlength=(len(true_ids) + 1) * width)
    counts = counts.reshape(-1, width)
    return _ious(counts[:-1, :-1], counts.sum(1)[:-1], counts.sum(0)[:-1])


def share_within(masks: Sequence[Mask], region: Mask) -> np.ndarray:
    """Return the share of each mask's pixels that lie in a region, float64 [n]; 0 if empty."""
    return overlap_table(masks, [region])[:, 0] / np.maximum(_areas(masks), 1)


def without(mask: Mask, region: Mask | None) -> Mask:
    """Return a mask less the pixels of a region."""
    if mask.box is None or region is None or not region:
        return mask
    left, top = mask.box[:2]
    return Mask.of_crop(mask.size, top, left, mask.crop() & ~within(region, mask.box))


def within(mask: Mask, box: Box) -> np.ndarray:
    """Return the pixels of a mask inside a box of the image, bool [h, w]."""
    x0, y0, x1, y1 = box
    pixels = np.zeros((y1 - y0, x1 - x0), bool)
    both = _common(mask.box, box)
    if mask.box and both:
        _part(pixels, box, both)[:] = _part(mask.crop(), mask.box, both)
    return pixels


def _places(labels: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """Return the place of each pixel's label in a list of ids, and the length for no such id."""
    place = np.full(1 + max(int(labels.max(initial=0)), *ids, 0), len(ids))
    place[list(ids)] = np.arange(len(ids))
    return place[labels]


def _areas(masks: Sequence[Mask]) -> np.ndarray:
    return np.array([mask.area for mask in masks], np.int64)


def _ious(shared: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return shared / np.maximum(rows[:, None] + columns[None] - shared, 1)


def _common(a: Box | None, b: Box | None) -> Box | None:
    """Return the box that two boxes share, None without any."""
    if a is None or b is None:
        return None
    box = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return box if box[0] < box[2] and box[1] < box[3] else None


def _part(pixels: np.ndarray, box: Box, part: Box) -> np.ndarray:
    """Return the part of the pixels of a box that lies in a smaller box."""
    x0, y0 = box[:2]
    return pixels[part[1] - y0 : part[3] - y0, part[0] - x0 : part[2] - x0]
