# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""PNG files whose pixels are the numbers of objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from detsam2_ros.media.video import InputError

# Modes of PIL in which a pixel is one whole number; with 'P' it is an index into the palette.
_MODES = ('1', 'L', 'P', 'I', 'I;16', 'I;16B', 'I;16L')
_MAX_PIXELS = 1 << 28  # a larger picture is taken for an attack


def read_labels(file: Path) -> np.ndarray | None:
    """Read a label mask, whole numbers [H, W]; returns None when the file cannot be read.

    The picture may be grey with 1, 8 or 16 bits, or have a palette, of which the index counts.
    Raises InputError for a picture in colour, since a colour stands for no object.
    """
    try:
        # Not Image.open: ultralytics replaces it by a function that tries to install a HEIF
        # decoder for every file that cannot be read.
        with PngImageFile(file) as image:
            if image.width * image.height > _MAX_PIXELS:
                return None
            if image.mode not in _MODES:
                raise InputError(
                    f'label mask {file}: it is a picture in colour ({image.mode}); a pixel must '
                    f'be the number of its object: save it as grey (8 or 16 bit) or with a palette'
                )
            labels = np.array(image)
    except (OSError, ValueError, SyntaxError):
        return None
    return labels.astype(np.int32)


def png_mode(file: Path) -> str | None:
    """Return PIL's mode of a PNG, such as 'P' with a palette; None when it cannot be read."""
    try:
        with PngImageFile(file) as image:
            return str(image.mode)
    except (OSError, ValueError, SyntaxError):
        return None
