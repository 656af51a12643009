# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages to checked values, by the names of their fields, so without importing ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.results.frames import ObjectInfo, ObjectState


@dataclass(frozen=True)
class Record:
    """The contents of messages on a frame, without its labels."""

    index: int
    revision: int
    final: bool
    objects: tuple[ObjectInfo, ...]


@dataclass(frozen=True)
class Correction:
    """A revision of a frame: its record, and the patch that changes the labels of revision 0."""

    record: Record
    x: int  # left column of the patch in the image
    y: int  # top row of the patch in the image
    patch: np.ndarray | None  # uint16 [h, w]; None where the labels are those of revision 0
    withdrawn_ids: tuple[int, ...] = ()  # ids that stood for nothing

    def misfit(self, shape: tuple[int, ...]) -> str | None:
        """Return why the patch does not fit labels of this shape, None if it does."""
        if self.patch is None:
            return None
        height, width = self.patch.shape
        if self.x + width <= shape[1] and self.y + height <= shape[0]:
            return None
        return (
            f'correction of frame {self.record.index}: roi of {width}x{height} pixels at '
            f'x={self.x}, y={self.y} leaves the image of {shape[1]}x{shape[0]}'
        )


def decode_image(msg: Any, what: str) -> np.ndarray:
    """Copy a mono16 sensor_msgs/Image to uint16 [H, W], read-only; raise ValueError naming it."""
    height, width, step = int(msg.height), int(msg.width), int(msg.step)
    if msg.encoding != 'mono16':
        raise ValueError(f"{what}: encoding is '{msg.encoding}', not 'mono16'")
    if height < 1 or width < 1:
        raise ValueError(f'{what}: an image of {width}x{height} has no pixels')
    if step < 2 * width:
        raise ValueError(f'{what}: step of {step} bytes for rows of {width} 16-bit pixels')
    data = np.frombuffer(msg.data, np.uint8)
    if len(data) != height * step:
        raise ValueError(
            f'{what}: {len(data)} bytes of data for {height} rows of {step} bytes each'
        )
    rows = np.ascontiguousarray(data.reshape(height, step)[:, : 2 * width])
    labels = rows.view('>u2' if msg.is_bigendian else '<u2').astype(np.uint16)
    labels.flags.writeable = False
    return labels


def decode_labels(msg: Any, what: str) -> np.ndarray:
    """Decode a mono16 Image, or a CompressedImage with a PNG of one; as decode_image."""
    return _decode_png(msg, what) if hasattr(msg, 'format') else decode_image(msg, what)


def _decode_png(msg: Any, what: str, size_wh: tuple[int, int] | None = None) -> np.ndarray:
    require_opencv()
    from detsam2_ros.messages.png import read_png

    return read_png(msg, what, size_wh)


def require_opencv() -> None:
    """Raise ImportError that says what to do without OpenCV; all but PNG needs numpy alone."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'compressed masks need OpenCV, which is not installed: install python3-opencv (pip: '
            'opencv-python-headless), or subscribe without compressed=True'
        ) from error


def decode_objects(msg: Any, what: str) -> Record:
    """Read a detsam2_msgs/ObjectArray; raise ValueError naming the array of a wrong length."""
    index = int(msg.frame_index)
    count = len(msg.ids)
    for name in (
        'class_ids', 'class_names', 'scores', 'boxes', 'visible', 'conditioned', 'states',
    ):  # fmt: skip
        expected = 4 * count if name == 'boxes' else count
        if len(getattr(msg, name)) != expected:
            raise ValueError(
                f'{what} of frame {index}: {name} has {len(getattr(msg, name))} elements for '
                f'{count} ids, not {expected}'
            )
    objects = []
    for i in range(count):
        x0, y0, x1, y1 = (float(value) for value in msg.boxes[4 * i : 4 * i + 4])
        visible = bool(msg.visible[i])
        objects.append(
            ObjectInfo(
                id=int(msg.ids[i]),
                class_id=int(msg.class_ids[i]),
                class_name=str(msg.class_names[i]),
                score=float(msg.scores[i]),
                box=(x0, y0, x1, y1) if visible else None,
                visible=visible,
                conditioned=bool(msg.conditioned[i]),
                state=_state(int(msg.states[i]), f'{what} of frame {index}'),
            )
        )
    return Record(index, int(msg.revision), bool(msg.final), tuple(objects))


def _state(value: int, what: str) -> ObjectState:
    try:
        return ObjectState(value)
    except ValueError as error:
        raise ValueError(
            f'{what}: states holds {value}, which is neither TENTATIVE (1) nor CONFIRMED (2)'
        ) from error


def _withdrawn(msg: Any, record: Record, what: str) -> tuple[int, ...]:
    """Read withdrawn_ids of a correction; raise ValueError where its other fields disagree."""
    ids = tuple(int(id_) for id_ in msg.withdrawn_ids)
    changed = {int(id_) for id_ in msg.changed_ids}
    there = {thing.id for thing in record.objects}
    for id_ in ids:
        if id_ not in changed:
            raise ValueError(f'{what}: withdrawn_ids has {id_}, which is not in changed_ids')
        if id_ in there:
            raise ValueError(f'{what}: withdrawn_ids has {id_}, which is among its objects')
    return ids


def decode_correction(msg: Any) -> Correction:
    """Read a MaskCorrection or a CompressedMaskCorrection of detsam2_msgs.

    Raises ValueError naming the fields that disagree.
    """
    patch = msg.patch
    msg = getattr(msg, 'correction', msg)
    what = f'correction of frame {msg.frame_index}'
    if msg.revision < 1:
        raise ValueError(f'{what}: revision is {msg.revision}; corrections count from 1')
    record = decode_objects(msg.objects, f'{what}: objects')
    withdrawn = _withdrawn(msg, record, what)
    for name in ('frame_index', 'revision', 'final'):
        mine, theirs = getattr(msg, name), getattr(msg.objects, name)
        if mine != theirs:
            raise ValueError(f'{what}: {name} is {mine}, but {theirs} in its objects')
    if nanoseconds(msg.header.stamp) != nanoseconds(msg.objects.header.stamp):
        raise ValueError(f'{what}: its objects have another stamp')
    roi = msg.roi
    size_wh = (int(roi.width), int(roi.height))
    if size_wh == (0, 0):
        if len(patch.data):
            raise ValueError(f'{what}: roi is empty, but the patch has {len(patch.data)} bytes')
        return Correction(record, 0, 0, None, withdrawn)
    if hasattr(patch, 'format'):
        labels = _decode_png(patch, f'{what}: patch', size_wh)
    elif (patch.width, patch.height) != size_wh:
        raise ValueError(
            f'{what}: patch is {patch.width}x{patch.height}, but roi {size_wh[0]}x{size_wh[1]}'
        )
    else:
        labels = decode_image(patch, f'{what}: patch')
    return Correction(record, int(roi.x_offset), int(roi.y_offset), labels, withdrawn)
