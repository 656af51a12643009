# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From AddObject's request to a prompt of the engine, and back to its answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from std_msgs.msg import Header

from detsam2_ros.engine import Prompt
from detsam2_ros.engine.masks import mask_box
from detsam2_ros.engine.prompts import Prompted
from detsam2_ros.ros.answering import RequestError
from detsam2_ros.ros.images import ImageRefused, label_image, mask_of


def prompt_of(request: Any) -> Prompt:
    """Return what an AddObject request shows; raises RequestError or PromptError in one sentence.

    What has to do with the image, such as a box outside, is for the engine to see.
    """
    box, points, labels = list(request.box), list(request.points), list(request.labels)
    if len(box) not in (0, 4):
        raise RequestError(
            f'box must be x_min, y_min, x_max, y_max, or empty; it has {len(box)} numbers')
    if len(points) % 2:
        raise RequestError(
            f'points must be x, y of each point; they are {len(points)} numbers, which is odd')
    count = len(points) // 2
    if labels and len(labels) != count:
        raise RequestError(
            f'there are {len(labels)} labels for {count} points; give one for each, or none')
    mask = _mask(request.mask)
    if not (box or count or mask is not None):
        raise RequestError('nothing shows the object: give a box, points or a mask')
    return Prompt(
        box=(box[0], box[1], box[2], box[3]) if box else None,
        points=np.array(points, np.float64).reshape(count, 2) if count else None,
        labels=np.array(labels or [1] * count) if count else None,
        mask=mask,
    )


def stamp_of(request: Any) -> int | None:
    """Return the stamp that is asked for in nanoseconds, None for the newest frame."""
    return int(request.stamp.sec * 10**9 + request.stamp.nanosec) or None


def answer_with(response: Any, prompted: Prompted, header: Header) -> None:
    """Fill AddObject's answer; header: that of the image."""
    found, mask = prompted.object, prompted.mask
    x0, y0, x1, y1 = mask_box(mask) or (0, 0, 0, 0)
    response.object_id = found.id
    response.class_id, response.class_name = found.class_id, found.class_name
    response.header, response.frame_index = header, prompted.index
    response.score = float(found.score)
    response.roi.x_offset, response.roi.y_offset = int(x0), int(y0)
    response.roi.width, response.roi.height = int(x1 - x0), int(y1 - y0)
    patch = np.where(mask[y0:y1, x0:x1], np.uint16(found.id), np.uint16(0))
    response.patch = label_image(header, patch)


def _mask(message: Any) -> np.ndarray | None:
    if not (message.width or message.height or len(message.data)):
        return None
    try:
        return mask_of(message)
    except ImageRefused as refusal:
        what = str(refusal).partition(';')[0]
        raise RequestError(f'the mask cannot be used: {what}') from refusal
