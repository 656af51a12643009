# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image messages to RGB arrays, and label images to messages.

cv_bridge converts those encodings that every cv_bridge in use converts right; the messages it gets
have no row padding and native byte order. This module does the rest, because the cv_bridge of PyPI
(1.13), of ROS 2 (up to 4.1) or both
- shear an image whose `step` is no multiple of the pixel size, or ignore `step`;
- fail on `is_bigendian` with NumPy 2, also where samples are bytes;
- do not know yuyv, uyvy, nv12, 8UC3, upper case, and on PyPI also 16 bits and bayer_grbg8;
- crash the process (a segmentation fault, which no `except` catches) when compiled for NumPy 1
  and used with NumPy 2, although the import succeeds: hence `check_cv_bridge`.
"""

from __future__ import annotations

import array
import functools
import subprocess
import sys
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from detsam2_ros.messages import pixels as shared
from detsam2_ros.messages.pictures import label_fields, picture_fields
from detsam2_ros.messages.pixels import (
    ENCODINGS,
    LAYOUTS,
    MALFORMED,
    MAX_SIDE,
    UNSUPPORTED,
    ImageRefused,
    Layout,
    view_pixels,
)
from detsam2_ros.messages.png import png_fields

__all__ = [
    'ENCODINGS', 'MALFORMED', 'MAX_SIDE', 'UNSUPPORTED', 'CvBridgeUnusable', 'ImageRefused',
    'check_cv_bridge', 'class_image', 'compressed_labels', 'compressed_to_rgb', 'copy_bytes',
    'label_image', 'read_labels', 'read_mask', 'rgb_image', 'to_rgb',
]  # fmt: skip

_BY_CV_BRIDGE = {
    'bgr8', 'rgba8', 'bgra8', 'mono8', 'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8',
}  # fmt: skip
_MASKS = {name: Layout(1, 1, '') for name in ('mono8', '8uc1')} | {
    name: Layout(2, 1, '') for name in ('mono16', '16uc1')}


class CvBridgeUnusable(RuntimeError):  # noqa: N818
    """cv_bridge is not installed, or does not work with the installed NumPy."""


def to_rgb(message: Image) -> np.ndarray:
    """Convert an image message to uint8 [H, W, 3] RGB, C-contiguous and independent of it.

    As messages.pixels.to_rgb; raises ImageRefused, and CvBridgeUnusable for an encoding that
    needs cv_bridge.
    """
    return shared.to_rgb(message, _convert)


def compressed_to_rgb(message: CompressedImage) -> np.ndarray:
    """Decode a JPEG, PNG or TIFF message to uint8 [H, W, 3] RGB, C-contiguous.

    As messages.pixels.compressed_to_rgb; raises ImageRefused, and CvBridgeUnusable for an
    encoding that needs cv_bridge.
    """
    return shared.compressed_to_rgb(message, _convert)


def label_image(header: Header, labels: np.ndarray) -> Image:
    """Wrap labels, uint16 [H, W] with any strides, as a `mono16` message in native byte order."""
    return _image(header, label_fields(labels))


def compressed_labels(header: Header, labels: np.ndarray) -> CompressedImage:
    """Wrap labels, uint16 [H, W] with any strides, as a PNG in a CompressedImage."""
    fields = png_fields(labels)
    return CompressedImage(header=header, **{**fields, 'data': copy_bytes(fields['data'])})


def class_image(header: Header, classes: np.ndarray) -> Image:
    """Wrap classes, uint8 [H, W] with any strides, as a `mono8` message."""
    if classes.dtype != np.uint8 or classes.ndim != 2:
        raise TypeError(f'classes are uint8 [H, W], not {classes.dtype} {list(classes.shape)}')
    return _image(header, picture_fields('mono8', classes))


def rgb_image(header: Header, rgb: np.ndarray) -> Image:
    """Wrap a picture, uint8 [H, W, 3] with any strides, as an `rgb8` message."""
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise TypeError(f'a picture is uint8 [H, W, 3], not {rgb.dtype} {list(rgb.shape)}')
    return _image(header, picture_fields('rgb8', rgb))


def read_labels(message: Image) -> np.ndarray:
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
    labels = view_pixels(message, LAYOUTS['mono16'])[..., 0]
    labels.flags.writeable = False
    return labels


def read_mask(message: Image) -> np.ndarray:
    """Return a mask, bool [H, W]: the pixels of a one-channel message that are not 0.

    Raises ImageRefused for other encodings than those of 8 or 16 bits, and malformed messages.
    """
    encoding = message.encoding.strip().lower()
    layout = _MASKS.get(encoding)
    if layout is None:
        raise ImageRefused(
            UNSUPPORTED, f'a mask is {", ".join(_MASKS)}, not {message.encoding[:40]!r}')
    mask: np.ndarray = view_pixels(message, layout)[..., 0] != 0
    return mask


def copy_bytes(data: np.ndarray) -> array.array[int]:
    """Copy uint8 [n] to an array.array, which a message takes without a check of each byte."""
    made = array.array('B')
    made.frombytes(data.data)
    return made


def check_cv_bridge() -> None:
    """Raise CvBridgeUnusable, which says what to do, if cv_bridge cannot be used here.

    The first call tries a conversion in another process, which takes about a second.
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


def _convert(colours: str, pixels: np.ndarray) -> np.ndarray:
    if colours not in _BY_CV_BRIDGE:
        return shared.by_opencv(colours, pixels)
    message = _image(Header(), picture_fields(colours, pixels))
    return _cv_bridge().imgmsg_to_cv2(message, 'rgb8')


def _image(header: Header, fields: dict[str, Any]) -> Image:
    return Image(header=header, **{**fields, 'data': copy_bytes(fields['data'])})
