# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages for tests of the client, as plain objects with the fields of the real ones."""

from types import SimpleNamespace as Message
from typing import Any

import numpy as np

from detsam2_ros.messages.png import png_fields

SECOND = 10**9
STEP = SECOND // 10


def header(stamp: int, frame_id: str = 'camera') -> Message:
    return Message(
        stamp=Message(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_id=frame_id)


def image(labels: np.ndarray, stamp: int = 0, padding: int = 0, bigendian: int = 0) -> Message:
    """Make a mono16 image, rows padded with 0xAB."""
    height, width = labels.shape
    rows = np.full((height, 2 * width + padding), 0xAB, np.uint8)
    rows[:, : 2 * width] = labels.astype('>u2' if bigendian else '<u2').view(np.uint8)
    return Message(
        header=header(stamp), height=height, width=width, encoding='mono16',
        is_bigendian=bigendian, step=2 * width + padding, data=rows.tobytes(),
    )  # fmt: skip


def masks(labels: np.ndarray, stamp: int) -> Message:
    return image(labels, stamp)


def objects(
    stamp: int, index: int, ids: tuple[int, ...] = (1,), revision: int = 0, final: bool = False,
    tentative: tuple[int, ...] = (),
) -> Message:
    """Make an object array; scores tell the revision, so that revisions can be told apart."""
    count = len(ids)
    return Message(
        header=header(stamp), frame_index=index, revision=revision, final=final, ids=list(ids),
        class_ids=[7] * count, class_names=['cup'] * count,
        scores=[revision / 16] * count, boxes=[1.0, 2.0, 3.0, 4.0] * count,
        visible=[True] * count, conditioned=[revision > 0] * count,
        states=[1 if id_ in tentative else 2 for id_ in ids],
    )  # fmt: skip


def correction(
    before: np.ndarray, after: np.ndarray, stamp: int, index: int, revision: int = 1,
    final: bool = False, ids: tuple[int, ...] = (1,), withdrawn: tuple[int, ...] = (),
    tentative: tuple[int, ...] = (),
) -> Message:
    """Make a correction whose patch is the smallest that turns before into after."""
    rows, columns = np.nonzero(before != after)
    roi = Message(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    patch = Message(
        header=header(0), height=0, width=0, encoding='', is_bigendian=0, step=0, data=b'')
    if len(rows):
        x, y = int(columns.min()), int(rows.min())
        cut = after[y : int(rows.max()) + 1, x : int(columns.max()) + 1]
        roi.x_offset, roi.y_offset, (roi.height, roi.width) = x, y, cut.shape
        patch = image(cut, stamp)
    return Message(
        header=header(stamp), frame_index=index, revision=revision, final=final, roi=roi,
        patch=patch, objects=objects(stamp, index, ids, revision, final, tentative),
        changed_ids=[*ids, *withdrawn], withdrawn_ids=list(withdrawn),
    )  # fmt: skip


def compressed(message: Message) -> Message:
    """Make masks or a correction as they are on the topics compressed."""
    if hasattr(message, 'patch'):
        bare = Message(**{**vars(message), 'patch': image(np.zeros((0, 0), np.uint16))})
        patch = message.patch
        png = compressed(patch) if patch.data else Message(
            header=header(0), format='', data=b'')
        return Message(header=message.header, correction=bare, patch=png)
    labels = np.frombuffer(message.data, np.uint16).reshape(message.height, message.width)
    fields = png_fields(labels)
    return Message(header=message.header, format=fields['format'], data=fields['data'].tobytes())


def labels_of(*pixels: int, width: int = 4) -> np.ndarray:
    """Make a label image of rows of `width` pixels."""
    return np.array(pixels, np.uint16).reshape(-1, width)


def fill(message: Any, source: Message) -> Any:
    """Copy a plain object into a real message, field by field."""
    for name, value in vars(source).items():
        if isinstance(value, Message):
            fill(getattr(message, name), value)
        else:
            setattr(message, name, value)
    return message
