# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Masks on their way out: packing, boxes, overlaps, label images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PackedMasks:
    """Masks of one frame, cropped to their boxes and bit-packed.

    A ball in a 1080p image takes some hundred bytes instead of 2 MB; the masks of the last M
    frames are kept in this form. boxes: int32 [n, 4] xyxy exclusive, all zero where a mask is
    empty. bits: per mask the rows of its box, packed by numpy.packbits.
    """

    height: int
    width: int
    boxes: np.ndarray
    bits: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.bits)

    @classmethod
    def pack(cls, masks: np.ndarray) -> PackedMasks:
        """Pack masks, bool [n, H, W]."""
        _, height, width = masks.shape
        return cls.from_crops(height, width, [(0, 0, mask) for mask in masks])

    @classmethod
    def from_bits(cls, width: int, bits: np.ndarray) -> PackedMasks:
        """Pack masks of which the rows are packed already, uint8 [n, H, ceil(width / 8)]."""
        crops: list[tuple[int, int, np.ndarray] | None] = []
        for mask in bits:
            box = mask_box(mask)
            if box is None:
                crops.append(None)
                continue
            x0, y0, x1, y1 = box
            part = np.unpackbits(mask[y0:y1, x0:x1], axis=1)[:, : width - 8 * x0]
            crops.append((y0, 8 * x0, part.astype(bool)))
        return cls.from_crops(bits.shape[1], width, crops)

    @classmethod
    def from_crops(
        cls, height: int, width: int, crops: Sequence[tuple[int, int, np.ndarray] | None]
    ) -> PackedMasks:
        """Pack masks given as (top, left, bool [h, w]), None for an empty one."""
        boxes = np.zeros((len(crops), 4), np.int32)
        bits = []
        for i, crop in enumerate(crops):
            box = None if crop is None else mask_box(crop[2])
            if crop is None or box is None:
                bits.append(b'')
                continue
            top, left, mask = crop
            x0, y0, x1, y1 = box
            boxes[i] = (left + x0, top + y0, left + x1, top + y1)
            bits.append(np.packbits(mask[y0:y1, x0:x1]).tobytes())
        return cls(height, width, boxes, tuple(bits))

    def rows(self, keep: Sequence[int]) -> PackedMasks:
        """Return the masks of some rows."""
        boxes = self.boxes[list(keep)].reshape(-1, 4)
        return PackedMasks(self.height, self.width, boxes, tuple(self.bits[i] for i in keep))

    def joined(self, other: PackedMasks) -> PackedMasks:
        """Return these masks followed by another's, of the same image size."""
        boxes = np.concatenate([self.boxes, other.boxes])
        return PackedMasks(self.height, self.width, boxes, self.bits + other.bits)

    def crop(self, i: int) -> np.ndarray:
        """Return mask i inside its box, bool [h, w] ([0, 0] where it is empty)."""
        x0, y0, x1, y1 = (int(v) for v in self.boxes[i])
        shape = (y1 - y0, x1 - x0)
        flat = np.unpackbits(np.frombuffer(self.bits[i], np.uint8), count=shape[0] * shape[1])
        return flat.reshape(shape).astype(bool)

    def unpack(self) -> np.ndarray:
        """Return the masks, bool [n, H, W]."""
        masks = np.zeros((len(self), self.height, self.width), bool)
        for i, (x0, y0, x1, y1) in enumerate(self.boxes):
            masks[i, y0:y1, x0:x1] = self.crop(i)
        return masks

    def area(self, i: int) -> int:
        """Return the number of pixels of mask i."""
        return int(np.count_nonzero(self.crop(i)))

    def iou(self, i: int, other: PackedMasks, j: int) -> float:
        """Return the IoU of mask i with mask j of other; two empty masks agree: 1."""
        if self.bits[i] == other.bits[j] and np.array_equal(self.boxes[i], other.boxes[j]):
            return 1.0
        if not self.bits[i] or not other.bits[j]:
            return 0.0
        a, b = self.crop(i), other.crop(j)
        ax, ay = self.boxes[i][:2]
        bx, by = other.boxes[j][:2]
        x0, y0 = max(ax, bx), max(ay, by)
        x1 = min(self.boxes[i][2], other.boxes[j][2])
        y1 = min(self.boxes[i][3], other.boxes[j][3])
        both = 0
        if x1 > x0 and y1 > y0:
            both = int(
                np.count_nonzero(
                    a[y0 - ay : y1 - ay, x0 - ax : x1 - ax]
                    & b[y0 - by : y1 - by, x0 - bx : x1 - bx]
                )
            )
        return both / (int(np.count_nonzero(a)) + int(np.count_nonzero(b)) - both)


def mask_box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return the box around what is not 0 in [H, W], as xyxy exclusive; None when all is."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    return int(columns[0]), y0, int(columns[-1]) + 1, y1


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes float [n, 4] with boxes float [m, 4], xyxy, as float64 [n, m]."""
    a = np.asarray(a, np.float64).reshape(-1, 1, 4)
    b = np.asarray(b, np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clip(0).prod(axis=-1)
    either = (a[..., 2:] - a[..., :2]).clip(0).prod(-1)
    either = either + (b[..., 2:] - b[..., :2]).clip(0).prod(-1) - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)
