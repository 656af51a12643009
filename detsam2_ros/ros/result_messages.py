# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine's results as messages of rclpy."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header

from detsam2_msgs.msg import CompressedMaskCorrection, MaskCorrection, ObjectArray
from detsam2_ros.messages.result_fields import (
    FirstLabels,
    Region,
    correction_fields,
    object_fields,
    occupied,
)
from detsam2_ros.results.frames import FrameResult
from detsam2_ros.ros.images import compressed_labels, copy_bytes, read_labels

__all__ = [
    'FirstLabels', 'Region', 'compressed_correction', 'correction', 'object_array', 'occupied',
]  # fmt: skip

_TYPE_CODES = {'uint8': 'B', 'uint16': 'H', 'int32': 'i', 'float32': 'f'}


def object_array(result: FrameResult, header: Header) -> ObjectArray:
    """Make the message that lists a result's objects."""
    return ObjectArray(header=header, **_native(object_fields(result)))


def correction(result: FrameResult, header: Header, first: FirstLabels) -> MaskCorrection:
    """Make the message that brings a frame from revision 0 to a later one."""
    fields = correction_fields(result, first)
    patch, objects, roi = fields.pop('patch'), fields.pop('objects'), fields.pop('roi')
    return MaskCorrection(
        header=header,
        roi=RegionOfInterest(**roi),
        patch=Image(header=header, **{**patch, 'data': copy_bytes(patch['data'])}),
        objects=ObjectArray(header=header, **_native(objects)),
        **_native(fields),
    )


def compressed_correction(message: MaskCorrection) -> CompressedMaskCorrection:
    """Make the message with a PNG as its patch of one with pixels."""
    others = set(message.get_fields_and_field_types()) - {'patch'}
    return CompressedMaskCorrection(
        header=message.header,
        correction=MaskCorrection(**{name: getattr(message, name) for name in others}),
        patch=compressed_labels(message.header, read_labels(message.patch))
        if message.patch.data else CompressedImage(header=message.header),
    )


def _native(fields: dict[str, Any]) -> dict[str, Any]:
    """Turn arrays into types that rclpy takes without a check of each element."""
    return {
        name: _sequence(value) if isinstance(value, np.ndarray) else value
        for name, value in fields.items()
    }


def _sequence(values: np.ndarray) -> Any:
    if values.dtype == bool:
        return values.tolist()
    return array(_TYPE_CODES[values.dtype.name], values.tobytes())
