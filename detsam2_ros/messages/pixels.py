# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pixels of image messages to RGB arrays, by the names of their fields: no ROS in here.

sensor_msgs/Image and CompressedImage of rclpy and of rosbags have the same fields. So the node and
segment_bag take the same encodings and refuse the same messages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np

from detsam2_ros.media.images import is_cut_short

UNSUPPORTED = 'unsupported_encoding'
MALFORMED = 'malformed_image'
# More than any camera has; guards against a corrupt header that happens to be consistent.
MAX_SIDE = 16384


class ImageRefused(ValueError):  # noqa: N818 - it says what happens to the image
    """An image message that cannot be used; the message names the problem and what to do.

    `reason` is a short stable key to count by: 'unsupported_encoding' or 'malformed_image'.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Layout(NamedTuple):
    """How the pixels of an encoding lie in memory."""

    sample_bytes: int
    channels: int
    colours: str  # the 8-bit encoding with the same colours


_BAYER = ('bayer_rggb', 'bayer_bggr', 'bayer_gbrg', 'bayer_grbg')
LAYOUTS = {
    'rgb8': Layout(1, 3, 'rgb8'),
    'bgr8': Layout(1, 3, 'bgr8'),
    'rgba8': Layout(1, 4, 'rgba8'),
    'bgra8': Layout(1, 4, 'bgra8'),
    'mono8': Layout(1, 1, 'mono8'),
    'rgb16': Layout(2, 3, 'rgb8'),
    'bgr16': Layout(2, 3, 'bgr8'),
    'rgba16': Layout(2, 4, 'rgba8'),
    'bgra16': Layout(2, 4, 'bgra8'),
    'mono16': Layout(2, 1, 'mono8'),
    # An OpenCV type does not state colours; publishers of one mean OpenCV's own order.
    '8uc1': Layout(1, 1, 'mono8'),
    '8uc3': Layout(1, 3, 'bgr8'),
    '8uc4': Layout(1, 4, 'bgra8'),
    'yuv422': Layout(1, 2, 'uyvy'),
    'uyvy': Layout(1, 2, 'uyvy'),
    'yuv422_yuy2': Layout(1, 2, 'yuyv'),
    'yuyv': Layout(1, 2, 'yuyv'),
    **{name + '8': Layout(1, 1, name + '8') for name in _BAYER},
    **{name + '16': Layout(2, 1, name + '8') for name in _BAYER},
}
# Bytes of all planes per byte of the first one.
PLANAR = {'nv12': 1.5, 'nv21': 1.5, 'nv24': 3.0}
_DEPTH = ('16uc1', '16sc1', '32fc1', '64fc1')
# OpenCV names a Bayer pattern by its second row from the second column on, ROS by its corner.
_BY_OPENCV = {
    'bgr8': cv2.COLOR_BGR2RGB,
    'rgba8': cv2.COLOR_RGBA2RGB,
    'bgra8': cv2.COLOR_BGRA2RGB,
    'mono8': cv2.COLOR_GRAY2RGB,
    'bayer_rggb8': cv2.COLOR_BayerBG2RGB,
    'bayer_bggr8': cv2.COLOR_BayerRG2RGB,
    'bayer_gbrg8': cv2.COLOR_BayerGR2RGB,
    'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuyv': cv2.COLOR_YUV2RGB_YUYV,
    'nv12': cv2.COLOR_YUV2RGB_NV12,
    'nv21': cv2.COLOR_YUV2RGB_NV21,
}
ENCODINGS = (*LAYOUTS, *PLANAR)

# Converts uint8 [H, W, C] of an encoding, by its 8-bit name, to uint8 [H, W, 3] RGB.
Convert = Callable[[str, np.ndarray], np.ndarray]


def by_opencv(colours: str, pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 [H, W, C] of an 8-bit encoding to uint8 [H, W, 3] RGB, with OpenCV alone."""
    return cv2.cvtColor(np.ascontiguousarray(pixels), _BY_OPENCV[colours])


def to_rgb(message: Any, convert: Convert = by_opencv) -> np.ndarray:
    """Convert a sensor_msgs/Image to uint8 [H, W, 3] RGB, C-contiguous and independent of it.

    Handles row padding, byte order and the case of the encoding's name. 16-bit samples are
    scaled from 0..65535 to 0..255 and rounded, as cv_bridge does: a camera that fills only the
    low 10 or 12 bits looks dark. Alpha is dropped; YUV is taken as BT.601 video range.
    convert: for interleaved colours other than rgb8. Raises ImageRefused.
    """
    encoding = message.encoding.strip().lower()
    if encoding in PLANAR:
        return _planar_to_rgb(message, encoding)
    layout = _layout(encoding, message.encoding)
    return _interleaved_to_rgb(view_pixels(message, layout), layout, convert)


def compressed_to_rgb(message: Any, convert: Convert = by_opencv) -> np.ndarray:
    """Decode a JPEG, PNG or TIFF message to uint8 [H, W, 3] RGB, C-contiguous.

    `format` is read as image_transport writes it ('rgb8; jpeg compressed bgr8', 'jpeg', '');
    a picture that was stored unconverted ('bayer_rggb8; png compressed ') is converted like
    `to_rgb`. The orientation in EXIF is ignored: masks must lie on the camera's own pixels.
    convert: as in to_rgb. Raises ImageRefused.
    """
    original, separator, codec = message.format.lower().partition(';')
    if 'compresseddepth' in message.format.lower() or original.strip() in _DEPTH:
        raise _depth_refused(message.format)
    stored = codec.partition('compressed')[2].strip()
    is_raw = bool(separator) and not stored and original.strip() in LAYOUTS

    data = bytes(message.data)
    mode = cv2.IMREAD_UNCHANGED if is_raw else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error:  # no data at all, or a size in its header that is beyond OpenCV's limit
        pixels = None
    if pixels is None or is_cut_short(data):
        raise ImageRefused(
            MALFORMED,
            f'a compressed image (format {message.format!r}, {len(data)} bytes) is no complete '
            'JPEG, PNG or TIFF picture; check that the topic is of the transport "compressed"',
        )
    _check_size(pixels.shape[1], pixels.shape[0])
    if is_raw:
        layout = LAYOUTS[original.strip()]
        pixels = np.atleast_3d(pixels)
        expected = np.dtype(f'u{layout.sample_bytes}'), layout.channels
        if (pixels.dtype, pixels.shape[2]) != expected:
            raise ImageRefused(
                MALFORMED,
                f'a compressed image holds {pixels.shape[2]} channels of {8 * pixels.itemsize} '
                f'bits, which its format {message.format!r} denies; correct the format',
            )
        return _interleaved_to_rgb(pixels, layout, convert)
    if stored.startswith('rgb'):  # the channels went into the encoder in this order
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _layout(encoding: str, as_sent: str) -> Layout:
    """Return the layout of an encoding; raises ImageRefused."""
    if encoding in LAYOUTS:
        return LAYOUTS[encoding]
    if encoding in _DEPTH:
        raise _depth_refused(as_sent)
    if not encoding:
        raise ImageRefused(UNSUPPORTED, 'an image has no encoding; set it in the camera driver')
    raise ImageRefused(
        UNSUPPORTED,
        f'the encoding {as_sent!r} is not supported; set the camera driver to one of '
        + ', '.join(ENCODINGS),
    )


def _depth_refused(encoding: str) -> ImageRefused:
    return ImageRefused(
        UNSUPPORTED,
        f'{encoding!r} is a depth image, which has no colours; remap the image topic to the '
        "camera's colour stream",
    )


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1 or max(width, height) > MAX_SIDE:
        raise ImageRefused(
            MALFORMED,
            f'an image of {width} x {height} pixels is refused: a side has 1 to {MAX_SIDE}; '
            'check the camera driver',
        )


def _check_memory(message: Any, row_bytes: int, planes: float = 1.0) -> None:
    """Check that size, step and data of a message agree, so that nothing reads past its rows."""
    width, height = message.width, message.height
    _check_size(width, height)
    if message.step < row_bytes:
        raise ImageRefused(
            MALFORMED,
            f'an image of {width} {message.encoding} pixels a row needs a step of {row_bytes} '
            f'bytes or more, not {message.step}; correct the camera driver',
        )
    expected = int(message.step * height * planes)
    if len(message.data) != expected:
        raise ImageRefused(
            MALFORMED,
            f'{height} rows in {message.encoding} with a step of {message.step} bytes '
            f'need {expected} bytes of data, not {len(message.data)}; correct the camera driver',
        )


def view_pixels(message: Any, layout: Layout) -> np.ndarray:
    """View the data as [H, W, C] without row padding; a copy where bytes must be swapped.

    Raises ImageRefused when size, step and data do not agree.
    """
    size, channels = layout.sample_bytes, layout.channels
    _check_memory(message, message.width * channels * size)
    pixels = np.ndarray(
        (message.height, message.width, channels),
        f'{">" if message.is_bigendian else "<"}u{size}',
        message.data,
        strides=(message.step, channels * size, size),
    )
    return pixels.astype(f'=u{size}', copy=False)


def _interleaved_to_rgb(pixels: np.ndarray, layout: Layout, convert: Convert) -> np.ndarray:
    """Convert pixels, uint8 or uint16 [H, W, C], to new uint8 [H, W, 3] RGB."""
    height, width = pixels.shape[:2]
    colours = layout.colours
    if colours in ('uyvy', 'yuyv') and width % 2:
        raise ImageRefused(
            MALFORMED,
            f'a YUV 4:2:2 image has two pixels to a sample, so it cannot be {width} pixels wide; '
            'set the camera driver to an even width',
        )
    if colours.startswith('bayer') and min(width, height) < 3:  # OpenCV would make it black
        raise ImageRefused(
            MALFORMED,
            f'a Bayer image of {width} x {height} pixels is too small to find its colours; '
            'set the camera driver to 3 x 3 or more',
        )
    if pixels.itemsize == 2:
        tight = np.ascontiguousarray(pixels)  # OpenCV fails on rows at odd addresses
        pixels = cv2.convertScaleAbs(tight, alpha=255 / 65535).reshape(pixels.shape)
    if colours == 'rgb8':
        return np.array(pixels, order='C')
    return np.ascontiguousarray(convert(colours, pixels))


def _planar_to_rgb(message: Any, encoding: str) -> np.ndarray:
    """Convert nv12, nv21 or nv24: a plane of Y, then one of interleaved Cb and Cr."""
    height, width, step = message.height, message.width, message.step
    planes = PLANAR[encoding]
    if encoding != 'nv24' and (width % 2 or height % 2):
        raise ImageRefused(
            MALFORMED,
            f'an image in {encoding} has four pixels to a colour, so it cannot be {width} x '
            f'{height}; set the camera driver to an even width and height',
        )
    _check_memory(message, width, planes)
    data = np.frombuffer(message.data, np.uint8)
    if encoding != 'nv24':
        rows = data.reshape(-1, step)[:, :width]
        return cv2.cvtColor(np.ascontiguousarray(rows), _BY_OPENCV[encoding])
    # OpenCV has no 4:4:4 with two planes: give it every pixel twice, as 4:2:2.
    luma = np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :width])
    chroma = data[step * height :].reshape(height, 2 * step)[:, : 2 * width]
    blue, red = cv2.split(chroma.reshape(height, width, 2))
    twice = cv2.merge((luma, blue, luma, red))
    rgb = cv2.cvtColor(twice.reshape(height, 2 * width, 2), cv2.COLOR_YUV2RGB_YUYV)
    return np.ascontiguousarray(rgb[:, ::2])
