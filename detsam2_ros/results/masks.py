# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One mask as a value, and boxes around masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 exclusive


@dataclass(frozen=True)
class Mask:
    """The mask of one object on one frame, cropped to its box and bit-packed.

    A ball in a 1080p image takes some hundred bytes instead of 2 MB; the masks of the last M
    frames are kept in this form. Equal masks compare equal. A mask without pixels is false.
    """

    size: tuple[int, int]  # (height, width) of the image
    box: Box | None = None  # around the pixels; None without any
    bits: bytes = b''  # the rows inside the box, packed by numpy.packbits

    @classmethod
    def of(cls, pixels: np.ndarray) -> Mask:
        """Make a mask of pixels, bool [H, W]."""
        height, width = pixels.shape
        return cls.of_crop((height, width), 0, 0, pixels)

    @classmethod
    def of_crop(cls, size: tuple[int, int], top: int, left: int, crop: np.ndarray) -> Mask:
        """Make a mask of a part of an image, bool [h, w] from (top, left) on; the rest is empty.

        size: (height, width) of the image.
        """
        box = mask_box(crop)
        if box is None:
            return cls(size)
        x0, y0, x1, y1 = box
        bits = np.packbits(crop[y0:y1, x0:x1]).tobytes()
        return cls(size, (left + x0, top + y0, left + x1, top + y1), bits)

    @classmethod
    def of_packed_rows(cls, width: int, rows: np.ndarray) -> Mask:
        """Make a mask whose rows are packed already, uint8 [H, ceil(width / 8)]."""
        size = len(rows), width
        box = mask_box(rows)
        if box is None:
            return cls(size)
        x0, y0, x1, y1 = box
        part = np.unpackbits(rows[y0:y1, x0:x1], axis=1)[:, : width - 8 * x0]
        return cls.of_crop(size, y0, 8 * x0, part.astype(bool))

    def __bool__(self) -> bool:
        return self.box is not None

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int(np.count_nonzero(self.crop()))

    def crop(self) -> np.ndarray:
        """Return the pixels inside the box, bool [h, w] ([0, 0] where the mask is empty)."""
        if self.box is None:
            return np.zeros((0, 0), bool)
        x0, y0, x1, y1 = self.box
        count = (y1 - y0) * (x1 - x0)
        flat = np.unpackbits(np.frombuffer(self.bits, np.uint8), count=count)
        return flat.reshape(y1 - y0, x1 - x0).astype(bool)

    def pixels(self) -> np.ndarray:
        """Return the mask at image size, bool [H, W]; unpacked on each call."""
        pixels = np.zeros(self.size, bool)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            pixels[y0:y1, x0:x1] = self.crop()
        return pixels

    def overlap(self, other: Mask) -> int:
        """Return the number of pixels shared with a mask of the same image size."""
        if self.box is None or other.box is None:
            return 0
        a, b = self.crop(), other.crop()
        ax, ay, bx, by = *self.box[:2], *other.box[:2]
        x0, y0 = max(ax, bx), max(ay, by)
        x1, y1 = min(self.box[2], other.box[2]), min(self.box[3], other.box[3])
        if x1 <= x0 or y1 <= y0:
            return 0
        shared = a[y0 - ay : y1 - ay, x0 - ax : x1 - ax] & b[y0 - by : y1 - by, x0 - bx : x1 - bx]
        return int(np.count_nonzero(shared))

    def iou(self, other: Mask) -> float:
        """Return the IoU with a mask of the same image size; two empty masks agree: 1."""
        if self == other:
            return 1.0
        if self.box is None or other.box is None:
            return 0.0
        both = self.overlap(other)
        return both / (self.area + other.area - both)


def mask_box(mask: np.ndarray) -> Box | None:
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
