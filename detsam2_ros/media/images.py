# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image files: which are read, and which cannot be used."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import cv2
import numpy as np

from detsam2_ros.media.folders import list_files
from detsam2_ros.words import counted

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
_NOT_READ = (
    '.gif', '.heic', '.heif', '.avif', '.jp2', '.jxl', '.tga', '.exr', '.hdr', '.svg', '.psd',
    '.dng', '.cr2', '.cr3', '.nef', '.arw', '.raw',
)  # fmt: skip

_log = logging.getLogger(__name__)
# A marker of JPEG with a length behind it, or the end; 0, restarts and padding are of the picture.
_MARKER = re.compile(rb'\xff([\x02-\xcf\xd9-\xfe])')
_END = b'\xd9'


class ImageFileError(Exception):
    """An image file that cannot be used; the message is the reason, in a few words."""


def list_images(folder: Path, pattern: str = '*') -> list[Path]:
    """Return the images of a folder in natural order; logs how many are of types not read."""
    others = list_files(folder, _NOT_READ, pattern)
    if others:
        types = ', '.join(sorted({file.suffix.lower() for file in others}))
        _log.warning(
            '%s of %s left out: files of type %s are not read (first: %s)',
            counted(len(others), 'image'), folder, types, others[0].relative_to(folder),
        )  # fmt: skip
    return list_files(folder, IMAGE_SUFFIXES, pattern)


def read_image(file: Path) -> np.ndarray:
    """Read an image, uint8 [H, W, 3] RGB; raises ImageFileError."""
    try:
        data = file.read_bytes()
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # cv2: no data, or more pixels than OpenCV accepts
        image, data = None, b''
    if is_cut_short(data):
        raise ImageFileError('cut short, the rest of the file is missing')
    if image is None:
        raise ImageFileError('unreadable')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def is_cut_short(data: bytes) -> bool:
    """Tell whether a JPEG ends before its picture does; other formats never do.

    Decoders fill such a picture with grey, and some versions of OpenCV do not say so.
    """
    if not data.startswith(b'\xff\xd8'):
        return False
    place = 2
    while found := _MARKER.search(data, place):
        if found[1] == _END:
            return False
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], 'big')
    return True
