# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image messages to RGB arrays, and label images to messages.

cv_bridge converts what every cv_bridge in use converts right, from messages without row padding
and byte order to mind. The rest is done here, because the cv_bridge of PyPI (1.13), of ROS 2
(up to 4.1) or both
- shear an image whose `step` is no multiple of the pixel size, or ignore `step`;
- fail on `is_bigendian` with NumPy 2, also where samples are bytes;
- do not know yuyv, uyvy, nv12, 8UC3, upper case, and on PyPI also 16 bits and bayer_grbg8;
- crash the process (a segmentation fault, which no `except` catches) when compiled for NumPy 1
  and used with NumPy 2, although importing it succeeds: hence `check_cv_bridge`.
"""

from __future__ import annotations

import array
import functools
import subprocess
import sys
from typing import Any, NamedTuple

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

UNSUPPORTED = 'unsupported_encoding'
MALFORMED = 'malformed_image'
# More than any camera has; guards against a corrupt header that happens to be consistent.
MAX_SIDE = 16384


class ImageRefused(ValueError):  # noqa: N818 - it says what happens to the image
    """An image message that cannot be used: one sentence that names the problem and a way out.

    `reason` is a short stable key to count by: 'unsupported_encoding' or 'malformed_image'.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class CvBridgeUnusable(RuntimeError):  # noqa: N818
    """cv_bridge is not installed, or does not work with the installed NumPy; names the way out."""


class _Layout(NamedTuple):
    """How the pixels of an encoding lie in memory, and which 8-bit encoding has its colours."""

    sample_bytes: int
    channels: int
    colours: str


_BAYER = ('bayer_rggb', 'bayer_bggr', 'bayer_gbrg', 'bayer_grbg')
_LAYOUTS = {
    'rgb8': _Layout(1, 3, 'rgb8'),
    'bgr8': _Layout(1, 3, 'bgr8'),
    'rgba8': _Layout(1, 4, 'rgba8'),
    'bgra8': _Layout(1, 4, 'bgra8'),
    'mono8': _Layout(1, 1, 'mono8'),
    'rgb16': _Layout(2, 3, 'rgb8'),
    'bgr16': _Layout(2, 3, 'bgr8'),
    'rgba16': _Layout(2, 4, 'rgba8'),
    'bgra16': _Layout(2, 4, 'bgra8'),
    'mono16': _Layout(2, 1, 'mono8'),
    # An OpenCV type says nothing of colours; OpenCV's own order is meant wherever one is sent.
    '8uc1': _Layout(1, 1, 'mono8'),
    '8uc3': _Layout(1, 3, 'bgr8'),
    '8uc4': _Layout(1, 4, 'bgra8'),
    'yuv422': _Layout(1, 2, 'uyvy'),
    'uyvy': _Layout(1, 2, 'uyvy'),
    'yuv422_yuy2': _Layout(1, 2, 'yuyv'),
    'yuyv': _Layout(1, 2, 'yuyv'),
    **{name + '8': _Layout(1, 1, name + '8') for name in _BAYER},
    **{name + '16': _Layout(2, 1, name + '8') for name in _BAYER},
}
# Bytes of all planes per byte of the first one.
_PLANAR = {'nv12': 1.5, 'nv21': 1.5, 'nv24': 3.0}
_DEPTH = ('16uc1', '16sc1', '32fc1', '64fc1')
_BY_CV_BRIDGE = {
    'bgr8', 'rgba8', 'bgra8', 'mono8', 'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8',
}  # fmt: skip
# OpenCV names a Bayer pattern by its second row from the second column on, ROS by its corner.
_BY_OPENCV = {
    'bayer_grbg8': cv2.COLOR_BayerGB2RGB,
    'uyvy': cv2.COLOR_YUV2RGB_UYVY,
    'yuyv': cv2.COLOR_YUV2RGB_YUYV,
    'nv12': cv2.COLOR_YUV2RGB_NV12,
    'nv21': cv2.COLOR_YUV2RGB_NV21,
}
ENCODINGS = (*_LAYOUTS, *_PLANAR)
_MASKS = {name: _Layout(1, 1, '') for name in ('mono8', '8uc1')} | {
    name: _Layout(2, 1, '') for name in ('mono16', '16uc1')}


def to_rgb(message: Image) -> np.ndarray:
    """Convert an image message to uint8 [H, W, 3] RGB, C-contiguous and independent of it.

    Row padding, byte order and the case of the encoding's name are minded. 16-bit samples are
    scaled from 0..65535 to 0..255 and rounded, as cv_bridge does: a camera that fills only the
    low 10 or 12 bits looks dark. Alpha is dropped; YUV is taken as BT.601 video range.
    Raises ImageRefused, and CvBridgeUnusable for an encoding that needs cv_bridge.
    """
    encoding = message.encoding.strip().lower()
    if encoding in _PLANAR:
        return _planar_to_rgb(message, encoding)
    layout = _layout(encoding, message.encoding)
    return _interleaved_to_rgb(_pixels(message, layout), layout)


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """Decode a JPEG, PNG or TIFF message to uint8 [H, W, 3] RGB, C-contiguous.

    `format` is read as image_transport writes it ('rgb8; jpeg compressed bgr8', 'jpeg', '');
    a picture that was stored as it came ('bayer_rggb8; png compressed ') is converted like
    `to_rgb`. The orientation in EXIF is ignored: masks must lie on the camera's own pixels.
    Raises ImageRefused, and CvBridgeUnusable for an encoding that needs cv_bridge.
    """
    original, separator, codec = message.format.lower().partition(';')
    if 'compresseddepth' in message.format.lower() or original.strip() in _DEPTH:
        raise _depth_refused(message.format)
    stored = codec.partition('compressed')[2].strip()
    as_it_came = bool(separator) and not stored and original.strip() in _LAYOUTS

    data = bytes(message.data)
    # Some versions of OpenCV return what there is of a JPEG that was cut short.
    cut_short = data.startswith(b'\xff\xd8') and data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
    mode = cv2.IMREAD_UNCHANGED if as_it_came else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    except cv2.error:  # no data at all, or a size in its header that is beyond OpenCV's limit
        pixels = None
    if pixels is None or cut_short:
        raise ImageRefused(
            MALFORMED,
            f'a compressed image (format {message.format!r}, {len(data)} bytes) is no complete '
            'JPEG, PNG or TIFF picture; check that the topic is of the transport "compressed"',
        )
    _check_size(pixels.shape[1], pixels.shape[0])
    if as_it_came:
        layout = _LAYOUTS[original.strip()]
        pixels = np.atleast_3d(pixels)
        expected = np.dtype(f'u{layout.sample_bytes}'), layout.channels
        if (pixels.dtype, pixels.shape[2]) != expected:
            raise ImageRefused(
                MALFORMED,
                f'a compressed image holds {pixels.shape[2]} channels of {8 * pixels.itemsize} '
                f'bits, which its format {message.format!r} denies; correct the format',
            )
        return _interleaved_to_rgb(pixels, layout)
    if stored.startswith('rgb'):  # the channels went into the encoder in this order
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def label_image(header: Header, labels: np.ndarray) -> Image:
    """Wrap labels, uint16 [H, W] with any strides, as a `mono16` message in native byte order."""
    if labels.dtype != np.uint16 or labels.ndim != 2:
        raise TypeError(f'labels are uint16 [H, W], not {labels.dtype} {list(labels.shape)}')
    return _image(header, 'mono16', labels)


def class_image(header: Header, classes: np.ndarray) -> Image:
    """Wrap classes, uint8 [H, W] with any strides, as a `mono8` message."""
    if classes.dtype != np.uint8 or classes.ndim != 2:
        raise TypeError(f'classes are uint8 [H, W], not {classes.dtype} {list(classes.shape)}')
    return _image(header, 'mono8', classes)


def rgb_image(header: Header, rgb: np.ndarray) -> Image:
    """Wrap a picture, uint8 [H, W, 3] with any strides, as an `rgb8` message."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise TypeError(f'a picture is uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}')
    return _image(header, 'rgb8', rgb)


def labels_of(message: Image) -> np.ndarray:
    """Return the labels, uint16 [H, W], of a `mono16` message; raises ImageRefused for others.

    Read-only. A view of the message's data in native byte order, otherwise a copy; with row
    padding the view is not contiguous.
    """
    if message.encoding.strip().lower() != 'mono16':
        raise ImageRefused(
            UNSUPPORTED,
            f'a label image is mono16, not {message.encoding!r}; '
            'subscribe to the masks of a detsam2 node',
        )
    labels = _pixels(message, _LAYOUTS['mono16'])[..., 0]
    labels.flags.writeable = False
    return labels


def mask_of(message: Image) -> np.ndarray:
    """Return a mask, bool [H, W]: the pixels of a one-channel message that are not 0.

    Raises ImageRefused for other encodings than those of 8 or 16 bits, and malformed messages.
    """
    encoding = message.encoding.strip().lower()
    layout = _MASKS.get(encoding)
    if layout is None:
        raise ImageRefused(
            UNSUPPORTED, f'a mask is {", ".join(_MASKS)}, not {message.encoding[:40]!r}')
    mask: np.ndarray = _pixels(message, layout)[..., 0] != 0
    return mask


def check_cv_bridge() -> None:
    """Raise CvBridgeUnusable, a sentence with the way out, if cv_bridge cannot be used here.

    The first call tries a conversion in a process of its own, about a second: see the top.
    """
    problem = _cv_bridge_problem()
    if problem:
        raise CvBridgeUnusable(problem)


@functools.cache
def _cv_bridge_problem() -> str:
    program = (
        f'import sys; sys.path[:] = {sys.path!r}\n'
        'import array; from cv_bridge import CvBridge; from sensor_msgs.msg import Image\n'
        'message = Image(height=1, width=1, step=3, encoding="bgr8")\n'
        'message.data = array.array("B", [3, 2, 1])\n'
        'assert CvBridge().imgmsg_to_cv2(message, "rgb8").tolist() == [[[1, 2, 3]]]\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 0:
        return ''
    if "No module named 'cv_bridge'" in done.stderr:
        return (
            'cv_bridge is not installed; install it with your ROS distribution '
            '(ros-$ROS_DISTRO-cv-bridge) or, where ROS comes from wheels, pip install cv-bridge'
        )
    if '_ARRAY_API' in done.stderr or 'compiled using NumPy 1' in done.stderr:
        return (
            f'cv_bridge was compiled for NumPy 1 and crashes with the installed NumPy '
            f'{np.__version__}; pip install "numpy<2", or build cv_bridge against this NumPy'
        )
    last = (done.stderr.strip().splitlines() or [f'exit status {done.returncode}'])[-1]
    return f'cv_bridge does not work with this Python and NumPy ({last}); reinstall it'


@functools.cache
def _cv_bridge() -> Any:
    check_cv_bridge()
    from cv_bridge import CvBridge

    return CvBridge()


def _layout(encoding: str, as_sent: str) -> _Layout:
    """Look an encoding up; raises ImageRefused with the way out."""
    if encoding in _LAYOUTS:
        return _LAYOUTS[encoding]
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


def _check_memory(message: Image, row_bytes: int, planes: float = 1.0) -> None:
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
            f'a {message.encoding} image of {height} rows with a step of {message.step} bytes '
            f'needs {expected} bytes of data, not {len(message.data)}; correct the camera driver',
        )


def _pixels(message: Image, layout: _Layout) -> np.ndarray:
    """View the data as [H, W, C] without row padding; a copy where bytes must be swapped."""
    size, channels = layout.sample_bytes, layout.channels
    _check_memory(message, message.width * channels * size)
    pixels = np.ndarray(
        (message.height, message.width, channels),
        f'{">" if message.is_bigendian else "<"}u{size}',
        message.data,
        strides=(message.step, channels * size, size),
    )
    return pixels.astype(f'=u{size}', copy=False)


def _interleaved_to_rgb(pixels: np.ndarray, layout: _Layout) -> np.ndarray:
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
    if colours in _BY_OPENCV:
        return cv2.cvtColor(pixels, _BY_OPENCV[colours])
    assert colours in _BY_CV_BRIDGE
    rgb = _cv_bridge().imgmsg_to_cv2(_image(Header(), colours, pixels), 'rgb8')
    return np.ascontiguousarray(rgb)


def _planar_to_rgb(message: Image, encoding: str) -> np.ndarray:
    """Convert nv12, nv21 or nv24: a plane of Y, then one of interleaved Cb and Cr."""
    height, width, step = message.height, message.width, message.step
    planes = _PLANAR[encoding]
    if encoding != 'nv24' and (width % 2 or height % 2):
        raise ImageRefused(
            MALFORMED,
            f'a {encoding} image has four pixels to a colour, so it cannot be {width} x {height}; '
            'set the camera driver to an even width and height',
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


def _image(header: Header, encoding: str, pixels: np.ndarray) -> Image:
    """Copy pixels, [H, W] or [H, W, C], into a message without row padding."""
    data = array.array('B')
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.is_bigendian = int(sys.byteorder == 'big')
    message.step = pixels.dtype.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1) * width
    message.data = data  # an array.array is taken as it is; anything else byte by byte
    return message
