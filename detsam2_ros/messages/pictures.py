# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pictures and label images as fields of messages; without the engine, which loads torch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def picture_fields(encoding: str, pixels: np.ndarray) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/Image, without row padding and in native byte order.

    pixels: uint8 or uint16 [H, W] or [H, W, C] with any strides.
    """
    height, width = pixels.shape[:2]
    return {
        'height': height,
        'width': width,
        'encoding': encoding,
        'is_bigendian': int(sys.byteorder == 'big'),
        'step': pixels.dtype.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1) * width,
        'data': np.ascontiguousarray(pixels).reshape(-1).view(np.uint8),
    }


def label_fields(labels: np.ndarray) -> dict[str, Any]:
    """Return the fields of a `mono16` label image; labels: uint16 [H, W] with any strides."""
    if labels.dtype != np.uint16 or labels.ndim != 2:
        raise TypeError(f'labels are uint16 [H, W], not {labels.dtype} {list(labels.shape)}')
    return picture_fields('mono16', labels)
