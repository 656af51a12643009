# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image messages for tests of the ROS side: good ones of any layout, and bad ones of all kinds."""

import array
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import Image


def image_of_bytes(
    encoding: str, width: int, height: int, step: int, data: bytes, big: int = 0
) -> Image:
    """Make a message that says exactly this, right or wrong."""
    message = Image(width=width, height=height, encoding=encoding, step=step, is_bigendian=big)
    message.data = array.array('B', data)
    return message


def image_of(encoding: str, pixels: np.ndarray, padding: int = 0, big: bool = False) -> Image:
    """Make a message of uint8 or uint16 [H, W] or [H, W, C], `padding` bytes after each row."""
    height, width = pixels.shape[:2]
    stored = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.frombuffer(stored.tobytes(), np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=171)
    return image_of_bytes(encoding, width, height, rows.shape[1], rows.tobytes(), int(big))


def _said(encoding: str, width: int, height: int, step: int, size: int) -> Callable[[], Image]:
    return lambda: image_of_bytes(encoding, width, height, step, bytes(size))


UNSUPPORTED_IMAGES: list[tuple[str, Callable[[], Image]]] = [
    ('no encoding', _said('', 8, 6, 24, 144)),
    ('unknown encoding', _said('plaid8', 8, 6, 24, 144)),
    ('encoding of spaces', _said('  ', 8, 6, 24, 144)),
    ('encoding without depth', _said('rgb', 8, 6, 24, 144)),
    ('encoding in another script', _said('цвет8', 8, 6, 24, 144)),
    ('video', _said('h264', 8, 6, 24, 144)),
    ('depth in millimetres', _said('16UC1', 8, 6, 16, 96)),
    ('depth in metres', _said('32FC1', 8, 6, 32, 192)),
    ('double depth', _said('64FC1', 8, 6, 64, 384)),
    ('two channels', _said('8UC2', 8, 6, 16, 96)),
    ('signed bytes', _said('8SC3', 8, 6, 24, 144)),
    ('float colours', _said('32FC3', 8, 6, 96, 576)),
    ('unknown bayer pattern', _said('bayer_rbgg8', 8, 6, 8, 48)),
    ('unknown planes', _said('nv61', 8, 6, 8, 96)),
]
MALFORMED_IMAGES: list[tuple[str, Callable[[], Image]]] = [
    ('nothing set but the encoding', _said('rgb8', 0, 0, 0, 0)),
    ('no width', _said('rgb8', 0, 6, 24, 144)),
    ('no height', _said('rgb8', 8, 0, 24, 0)),
    ('no data', _said('rgb8', 8, 6, 24, 0)),
    ('a byte short', _said('rgb8', 8, 6, 24, 143)),
    ('a byte long', _said('rgb8', 8, 6, 24, 145)),
    ('a row short', _said('rgb8', 8, 6, 24, 120)),
    ('last row not padded', _said('rgb8', 8, 6, 32, 184)),
    ('no step', _said('rgb8', 8, 6, 0, 144)),
    ('step a byte short', _said('rgb8', 8, 6, 23, 138)),
    ('step in pixels', _said('rgb8', 8, 6, 8, 48)),
    ('step beyond the data', _said('rgb8', 8, 6, 4294967295, 144)),
    ('rgb8 called rgba8', _said('rgba8', 8, 6, 24, 144)),
    ('mono8 called mono16', _said('mono16', 8, 6, 8, 48)),
    ('mono16 of odd step', _said('mono16', 8, 6, 15, 90)),
    ('wider than any camera', _said('mono8', 20000, 1, 20000, 20000)),
    ('higher than any camera', _said('mono8', 1, 20000, 1, 20000)),
    ('largest size that can be said', _said('rgb8', 4294967295, 4294967295, 4294967295, 144)),
    ('product of sizes that overflows', _said('mono8', 65536, 65536, 65536, 0)),
    ('yuv422 of odd width', _said('yuv422', 7, 6, 14, 84)),
    ('yuyv of odd width', _said('yuv422_yuy2', 7, 6, 14, 84)),
    ('nv12 of odd width', _said('nv12', 7, 6, 8, 72)),
    ('nv12 of odd height', _said('nv12', 8, 5, 8, 60)),
    ('nv12 without colours', _said('nv12', 8, 6, 8, 48)),
    ('nv12 with step of all planes', _said('nv12', 8, 6, 12, 72)),
    ('nv24 with colours of nv12', _said('nv24', 8, 6, 8, 72)),
    ('bayer pattern without neighbours', _said('bayer_rggb8', 2, 2, 2, 4)),
]
# A name and a maker of a message each; a node must refuse every one, count it and live on.
BAD_IMAGES = [*UNSUPPORTED_IMAGES, *MALFORMED_IMAGES]
