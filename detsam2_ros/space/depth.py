# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth images to metres, by the names of their fields: sensor_msgs/Image and CompressedImage."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from detsam2_ros.messages.pixels import (
    MALFORMED,
    MAX_SIDE,
    UNSUPPORTED,
    ImageRefused,
    Layout,
    view_pixels,
)
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.results.masks import Box

_MILLIMETRES, _METRES = ('16uc1', 'mono16'), '32fc1'
_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_MAX_METRES = 1e5  # beyond is no depth, but an infinity of its driver
_ASPECT = 0.01  # by which two aspects may differ and still be one
_HEADER_BYTES = 12  # of compressedDepth, before the PNG: an enum and two float parameters
_REMEDY = 'remap depth to the depth image that is registered to the segmented image'


@dataclass(frozen=True)
class DepthImage:
    """A depth image as it came; depth is along z, not along the ray."""

    stamp: int  # nanoseconds
    frame_id: str
    values: np.ndarray  # uint16 [H, W] of millimetres, or float32 [H, W] of metres

    @property
    def held_bytes(self) -> int:
        """How much memory the image keeps: of a padded one, that of the whole message."""
        owner = self.values
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        return owner.nbytes if owner.base is None else memoryview(owner.base).nbytes

    def crop(self, box: Box, size: tuple[int, int]) -> np.ndarray:
        """Return the depth at the pixels of a box, float32 [h, w] of metres; NaN where none is.

        box: in an image of `size`, (height, width). A depth image of another size is sampled at
        the nearest pixel. 0, NaN, negative values and those over 100 km are none.
        """
        x0, y0, x1, y1 = box
        if size == self.values.shape:
            part = self.values[y0:y1, x0:x1]
        else:
            rows = _nearest(np.arange(y0, y1), size[0], self.values.shape[0])
            columns = _nearest(np.arange(x0, x1), size[1], self.values.shape[1])
            part = self.values[rows[:, None], columns]
        metres = part.astype(np.float32)
        if self.values.dtype == np.uint16:
            metres *= np.float32(0.001)
            np.copyto(metres, np.nan, where=part == 0)
        else:
            np.copyto(metres, np.nan, where=~((metres > 0) & (metres < _MAX_METRES)))
        return metres

    def misfit(self, size: tuple[int, int], frame_id: str | None) -> str | None:
        """Return why the image is not registered to one of a size and frame, None if it may be.

        size: (height, width). frame_id: None where it is not to be compared.
        """
        height, width = self.values.shape
        if frame_id is not None and self.frame_id != frame_id:
            return (
                f"a depth image has the frame '{self.frame_id[:60]}', the masks have "
                f"'{frame_id[:60]}': {_REMEDY}; or set check_frame_id to false if both are one"
            )
        # Of rounding comes a row or column more or less. Sides in eights, as of 424 x 240 and
        # 848 x 480 for 16 to 9, are less than a hundredth off.
        off = abs(width * size[0] - height * size[1])
        if off > max(size[0], size[1], _ASPECT * width * size[0]):
            return (
                f'a depth image of {width}x{height} has another aspect than masks of '
                f'{size[1]}x{size[0]}: {_REMEDY}'
            )
        return None


def _nearest(pixels: np.ndarray, size: int, own: int) -> np.ndarray:
    return np.minimum(((pixels + 0.5) * (own / size)).astype(np.intp), own - 1)


def read_depth(message: Any) -> DepthImage:
    """Read a depth image: 16UC1 (mm) or 32FC1 (m), raw, or PNG of image_transport.

    Of PNGs, 16UC1 of the plugin compressed and either of compressedDepth. Raises ImageRefused.
    """
    read = _decoded if hasattr(message, 'format') else _raw
    return DepthImage(nanoseconds(message.header.stamp), message.header.frame_id, read(message))


def _raw(message: Any) -> np.ndarray:
    encoding = message.encoding.strip().lower()
    if encoding in _MILLIMETRES:
        return view_pixels(message, Layout(2, 1, ''))[..., 0]
    if encoding == _METRES:
        return view_pixels(message, Layout(4, 1, ''))[..., 0].view(np.float32)
    raise ImageRefused(
        UNSUPPORTED,
        f"the encoding '{message.encoding[:40]}' is no depth: 16UC1 (mm) or 32FC1 (m) is; "
        + _REMEDY,
    )


def _decoded(message: Any) -> np.ndarray:
    original, _, codec = message.format.lower().partition(';')
    original, codec, data = original.strip(), codec.strip(), bytes(message.data)
    in_header = codec.startswith('compresseddepth')
    known = original in _MILLIMETRES or (original == _METRES and in_header)
    if not known or codec not in ('png compressed', 'compresseddepth', 'compresseddepth png'):
        raise ImageRefused(
            UNSUPPORTED,
            f"a compressed depth image has the format '{message.format[:60]}': PNG of 16UC1 can "
            'be read, and of 32FC1 by compressedDepth; set the format of its publisher to png',
        )
    values = _png(data[_HEADER_BYTES:] if in_header else data, message.format)
    if original != _METRES:
        return values
    kind, scale, shift = struct.unpack('<iff', data[:_HEADER_BYTES])
    with np.errstate(divide='ignore', invalid='ignore'):
        metres = np.float32(scale) / (values.astype(np.float32) - np.float32(shift))
    metres[values == 0] = np.nan
    if kind != 0 or not np.isfinite([scale, shift]).all():
        raise ImageRefused(
            MALFORMED,
            f'a compressedDepth image has the header {kind}, {scale:g}, {shift:g}, which is not '
            'that of inverse depth; check its publisher',
        )
    return metres


def _png(data: bytes, name: str) -> np.ndarray:
    """Decode a PNG of one channel with 16 bits, uint16 [H, W]; its size is looked at before."""
    width, height = (int.from_bytes(data[at : at + 4], 'big') for at in (16, 20))
    whole = data.startswith(_SIGNATURE) and data[24:26] == b'\x10\x00' and data[-8:-4] == b'IEND'
    pixels = None
    if whole and 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape != (height, width):
        raise ImageRefused(
            MALFORMED,
            f"a compressed depth image (format '{name[:60]}') holds {len(data)} bytes that are no "
            'whole PNG of one channel with 16 bits; check its publisher',
        )
    return np.asarray(pixels)
