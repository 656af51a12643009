# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: pictures side by side, and the choice of frames worth showing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import cv2
import numpy as np

from detsam2_ros.media.overlay import Box, Drawable, Pen, draw_overlay, enlarged
from detsam2_ros.media.timeline import Settled

_PAPER = (250, 250, 248)
_INK = (32, 36, 42)
_GAP = 8
TILE_WIDTH = 360

Item = TypeVar('Item')


class Best(Generic[Item]):
    """Keeps the best items of a video: a bounded number, spread over time.

    count: items to choose; apart: least distance of two of them in frames.
    """

    def __init__(self, count: int, apart: int) -> None:
        self._count = count
        self._apart = max(1, apart)
        self._stretches: dict[int, tuple[float, int, Item]] = {}

    def offer(self, score: float, index: int, make: Callable[[], Item]) -> None:
        """Consider a frame; make is called for the frame's item if the item is kept for now.

        An item should be small: a picture at the size that is shown, not a whole frame.
        """
        stretch = index // self._apart
        if stretch not in self._stretches or score > self._stretches[stretch][0]:
            self._stretches[stretch] = (score, index, make())
        # A chosen item may rule out both neighbouring stretches: keep enough to choose from.
        if len(self._stretches) > 3 * self._count:
            del self._stretches[min(self._stretches, key=lambda key: self._stretches[key][0])]

    def items(self) -> list[Item]:
        """Return the best items in order of time."""
        chosen: list[tuple[int, Item]] = []
        for _, index, item in sorted(self._stretches.values(), key=lambda pair: -pair[0]):
            near = any(abs(index - other) < self._apart for other, _ in chosen)
            if not near and len(chosen) < self._count:
                chosen.append((index, item))
        return [item for _, item in sorted(chosen, key=lambda pair: pair[0])]


def changed_pixels(settled: Settled) -> int:
    """Return how many pixels the corrections of notably corrected objects changed."""
    before, after = settled.first.labels, settled.last.labels
    notable = np.isin(before, settled.corrected) | np.isin(after, settled.corrected)
    return int(np.count_nonzero(notable & (before != after)))


def correction_row(settled: Settled) -> list[np.ndarray]:
    """Return image, first masks and last masks around what changed, each uint8 [h, w, 3] RGB."""
    x0, y0, x1, y1 = changed_region(settled)
    image = settled.image[y0:y1, x0:x1]
    tiles = [enlarged(image, settled.first.labels[y0:y1, x0:x1])[0]]
    for result, corrected in ((settled.first, ()), (settled.last, settled.corrected)):
        tiles.append(tile(image, result.labels[y0:y1, x0:x1], result.objects, corrected))
    return tiles


def tile(
    image: np.ndarray,
    labels: np.ndarray,
    objects: Sequence[Drawable],
    corrected: Sequence[int] = (),
) -> np.ndarray:
    """Draw objects with lines and tags that can be read in a tile of a sheet."""
    image, labels = enlarged(image, labels)
    boldness = max(1.0, image.shape[1] / TILE_WIDTH / 3 / max(Pen.of(image.shape).scale, 1e-6))
    return draw_overlay(image, labels, objects, corrected_ids=corrected, boldness=boldness)


def changed_region(settled: Settled) -> Box:
    """Return a box with the frame's aspect around the notable changes, xyxy exclusive."""
    before, after = settled.first.labels, settled.last.labels
    marked = (np.isin(before, settled.corrected) | np.isin(after, settled.corrected)).astype(
        np.uint8
    )
    height, width = before.shape
    x, y, w, h = cv2.boundingRect(marked)
    if not w:
        return 0, 0, width, height
    # With context around the change, which shows where in the image it is.
    share = float(np.clip(max(1.8 * w / width, 1.8 * h / height), 0.45, 1.0))
    view_w, view_h = round(share * width), round(share * height)
    x0 = int(np.clip(x + w / 2 - view_w / 2, 0, width - view_w))
    y0 = int(np.clip(y + h / 2 - view_h / 2, 0, height - view_h))
    return x0, y0, x0 + view_w, y0 + view_h


def side_by_side(tiles: Sequence[np.ndarray], tile_width: int = 480) -> np.ndarray:
    """Return pictures uint8 [h, w, 3] RGB of one shape in a row, with white gaps."""
    scaled = [fitted(picture, tile_width) for picture in tiles]
    gap = np.full((scaled[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([part for picture in scaled for part in (picture, gap)][:-1])


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    names: Sequence[str],
    tile_width: int = TILE_WIDTH,
) -> np.ndarray:
    """Lay pictures out as a table and return it, uint8 [H, W, 3] RGB.

    rows: pictures uint8 [h, w, 3] RGB, one a column, all of a row of one shape. columns: their
    titles. names: a line of text over each row.
    """
    scaled = [[fitted(picture, tile_width) for picture in row] for row in rows]
    head, line = 34, 28
    width = _GAP + len(columns) * (tile_width + _GAP)
    height = head + sum(line + row[0].shape[0] + _GAP for row in scaled)
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    for i, title in enumerate(columns):
        _write(sheet, title, _GAP + i * (tile_width + _GAP) + 2, 23, 0.6)
    y = head
    for row, name in zip(scaled, names, strict=False):
        _write(sheet, name, _GAP + 2, y + 19, 0.48)
        y += line
        for i, picture in enumerate(row):
            x = _GAP + i * (tile_width + _GAP)
            sheet[y : y + picture.shape[0], x : x + tile_width] = picture
        y += row[0].shape[0] + _GAP
    return sheet


def fitted(picture: np.ndarray, width: int) -> np.ndarray:
    """Return a picture, uint8 [h, w, 3], scaled to a width."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    shrink = picture.shape[1] > width
    return cv2.resize(
        picture, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    )


def _write(sheet: np.ndarray, text: str, x: int, y: int, scale: float) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, scale, _INK, 1, cv2.LINE_AA)
