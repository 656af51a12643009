# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames, depth images and cameras for the tests of objects in space."""

import struct
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from detsam2_ros.client.frame import Labels, TimelineFrame
from detsam2_ros.results.frames import ObjectInfo, ObjectState
from detsam2_ros.results.masks import mask_box
from detsam2_ros.space.camera import CameraModel, CameraView
from detsam2_ros.space.depth import DepthImage

SIZE = (60, 80)  # height, width
FOCAL = 80.0
MODEL = CameraModel(SIZE, (FOCAL, FOCAL), (39.5, 29.5), frame_id='camera')
VIEW = CameraView(MODEL)


def labels_of(**boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Make labels with boxes x0, y0, x1, y1 by names such as _3, of the id 3."""
    labels = np.zeros(SIZE, np.uint16)
    for name, (x0, y0, x1, y1) in boxes.items():
        labels[y0:y1, x0:x1] = int(name[1:])
    return labels


def frame_of(
    labels: np.ndarray,
    stamp: int,
    index: int = 0,
    tentative: tuple[int, ...] = (),
    **changes: Any,
) -> TimelineFrame:
    """Make a frame as MaskTimeline does, of all ids in the labels."""
    objects = []
    for id_ in np.unique(labels[labels > 0]).tolist():
        box = mask_box(labels == id_)
        assert box is not None
        state = ObjectState.TENTATIVE if id_ in tentative else ObjectState.CONFIRMED
        x0, y0, x1, y1 = map(float, box)
        objects.append(ObjectInfo(id_, 1, 'cup', 0.9, (x0, y0, x1, y1), True, False, state))
    fields = {
        'frame_id': 'camera', 'stream': 0, 'revision': 0, 'final': False, 'withdrawn_ids': (),
        **changes,
    }  # fmt: skip
    return TimelineFrame(
        stamp=stamp, index=index, objects=tuple(objects), _labels=Labels(labels), **fields)


def flat_depth(stamp: int, metres: float = 1.5, size: tuple[int, int] = SIZE) -> DepthImage:
    """Make a depth image of a wall."""
    return DepthImage(stamp, 'camera', np.full(size, round(1000 * metres), np.uint16))


def stamped(stamp: int, frame_id: str = 'camera') -> SimpleNamespace:
    seconds, nanoseconds = divmod(stamp, 10**9)
    time = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
    return SimpleNamespace(stamp=time, frame_id=frame_id)


def raw_message(
    values: np.ndarray, encoding: str, padding: int = 0, bigendian: bool = False, **changes: Any
) -> SimpleNamespace:
    """Make the fields of a sensor_msgs/Image; values: uint16 or float32 [H, W]."""
    height, width = values.shape
    swapped = values.astype(values.dtype.newbyteorder('>' if bigendian else '<'))
    rows = np.full((height, width * values.itemsize + padding), 0xAB, np.uint8)
    rows[:, : width * values.itemsize] = swapped.view(np.uint8).reshape(height, -1)
    fields = {
        'header': stamped(7), 'height': height, 'width': width, 'encoding': encoding,
        'is_bigendian': int(bigendian), 'step': rows.shape[1], 'data': rows.reshape(-1),
    }  # fmt: skip
    return SimpleNamespace(**{**fields, **changes})


def png_message(values: np.ndarray, form: str, header: bytes = b'') -> SimpleNamespace:
    """Make the fields of a CompressedImage with a PNG; values: uint16 [H, W]."""
    data = header + cv2.imencode('.png', values)[1].tobytes()
    return SimpleNamespace(header=stamped(7), format=form, data=data)


def inverse_depth(metres: np.ndarray, scale: float = 100.0, far: float = 10.0) -> SimpleNamespace:
    """Encode float32 [H, W] as the plugin compressedDepth does: depth = A / (value - B)."""
    shift = 1.0 - scale / far
    with np.errstate(divide='ignore', invalid='ignore'):
        values = np.where(metres > 0, scale / metres + shift, 0)
    values = np.nan_to_num(np.round(values)).astype(np.uint16)
    return png_message(values, '32FC1; compressedDepth png', struct.pack('<iff', 0, scale, shift))


def positions(frame: Any) -> Mapping[int, Any]:
    """Return the positions of a SpaceFrame by id."""
    return {thing.id: thing.position for thing in frame.objects}
