# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: pictures side by side, and the choice of frames worth showing."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from detsam2_ros.cli.overlay import Box, draw_overlay, enlarged
from detsam2_ros.cli.timeline import Settled

_PAPER = (250, 250, 248)
_INK = (32, 36, 42)
_GAP = 8


class Highlights:
    """Keeps the frames whose correction changed most: a bounded number, spread over the video.

    count: frames kept; apart: of so many consecutive frames at most one is kept.
    """

    def __init__(self, count: int, apart: int) -> None:
        self._count = count
        self._apart = apart
        self._best: dict[int, tuple[int, Settled]] = {}

    def offer(self, settled: Settled) -> None:
        """Consider one frame."""
        if not settled.corrected:
            return
        before, after = settled.first.labels, settled.last.labels
        notable = np.isin(before, settled.corrected) | np.isin(after, settled.corrected)
        score = int(np.count_nonzero(notable & (before != after)))
        stretch = settled.index // self._apart
        if stretch not in self._best or score > self._best[stretch][0]:
            self._best[stretch] = (score, settled)
        if len(self._best) > self._count:
            del self._best[min(self._best, key=lambda key: self._best[key][0])]

    def frames(self) -> list[Settled]:
        """Return the kept frames in order of time."""
        return [self._best[stretch][1] for stretch in sorted(self._best)]


def correction_row(settled: Settled) -> list[np.ndarray]:
    """Return image, first masks and last masks around what changed, each uint8 [h, w, 3] RGB."""
    x0, y0, x1, y1 = changed_region(settled)
    image = settled.image[y0:y1, x0:x1]
    tiles = [enlarged(image, settled.first.labels[y0:y1, x0:x1])[0]]
    for result, corrected in ((settled.first, ()), (settled.last, settled.corrected)):
        big, labels = enlarged(image, result.labels[y0:y1, x0:x1])
        tiles.append(draw_overlay(big, labels, result.objects, corrected_ids=corrected))
    return tiles


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
    # Context around it: an object alone does not tell where it is.
    share = float(np.clip(max(1.8 * w / width, 1.8 * h / height), 0.45, 1.0))
    view_w, view_h = round(share * width), round(share * height)
    x0 = int(np.clip(x + w / 2 - view_w / 2, 0, width - view_w))
    y0 = int(np.clip(y + h / 2 - view_h / 2, 0, height - view_h))
    return x0, y0, x0 + view_w, y0 + view_h


def side_by_side(tiles: Sequence[np.ndarray], tile_width: int = 480) -> np.ndarray:
    """Return pictures uint8 [h, w, 3] RGB of one shape in a row, with white gaps."""
    scaled = [_fitted(tile, tile_width) for tile in tiles]
    gap = np.full((scaled[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.hstack([part for tile in scaled for part in (tile, gap)][:-1])


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    columns: Sequence[str],
    names: Sequence[str],
    tile_width: int = 360,
) -> np.ndarray:
    """Lay pictures out as a table and return it, uint8 [H, W, 3] RGB.

    rows: pictures uint8 [h, w, 3] RGB, one a column, all of a row of one shape. columns: their
    titles. names: a line of text over each row.
    """
    scaled = [[_fitted(tile, tile_width) for tile in row] for row in rows]
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
        for i, tile in enumerate(row):
            x = _GAP + i * (tile_width + _GAP)
            sheet[y : y + tile.shape[0], x : x + tile_width] = tile
        y += row[0].shape[0] + _GAP
    return sheet


def _fitted(tile: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(tile.shape[0] * width / tile.shape[1]))
    shrink = tile.shape[1] > width
    return cv2.resize(
        tile, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    )


def _write(sheet: np.ndarray, text: str, x: int, y: int, scale: float) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, scale, _INK, 1, cv2.LINE_AA)
