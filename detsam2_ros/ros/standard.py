# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Standard messages of the results: vision_msgs, and a mask of classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from std_msgs.msg import Header

from detsam2_ros.results.frames import FrameResult, ObjectState
from detsam2_ros.ros.images import class_image

try:
    from vision_msgs.msg import (
        Detection2D,
        Detection2DArray,
        LabelInfo,
        ObjectHypothesisWithPose,
        VisionClass,
    )
except ImportError:  # an optional dependency, see package.xml
    LabelInfo = VisionClass = Detection2DArray = None

UNLABELED = 255  # in a class mask; vision_msgs/VisionClass calls 255 so where ids have 8 bits
# Class id of the second result of a tentative object. Its score is 0: readers that take the best
# result, as another detsam2 node does, must never take it for a class.
TENTATIVE = ObjectState.TENTATIVE.name.lower()
_MAX_ID = 65535  # of a VisionClass


def label_info(header: Any, class_names: Mapping[int, str]) -> Any:
    """Make a LabelInfo of the class names by class id, without ids that it cannot hold."""
    table = [
        VisionClass(class_id=i, class_name=name)
        for i, name in sorted(class_names.items()) if 0 <= i <= _MAX_ID
    ]
    return LabelInfo(header=header, class_map=table, threshold=0.0)


def tracked(result: FrameResult, header: Header) -> Any:
    """Make a Detection2DArray of the visible objects, with their ids."""
    return Detection2DArray(header=header, detections=[
        _detection(obj, header) for obj in result.objects if obj.box is not None])


def class_mask(result: FrameResult, header: Header) -> Any:
    """Make a mono8 image of class ids 0..254; UNLABELED: no object, or a larger id."""
    classes = np.full(_MAX_ID + 1, UNLABELED, np.uint8)
    for obj in result.objects:
        if 0 <= obj.class_id < UNLABELED:
            classes[obj.id] = obj.class_id
    return class_image(header, classes[result.labels])


def _detection(obj: Any, header: Header) -> Any:
    detection = Detection2D(header=header, id=str(obj.id))
    x0, y0, x1, y1 = (float(side) for side in obj.box)
    detection.bbox.center.position.x = (x0 + x1) / 2
    detection.bbox.center.position.y = (y0 + y1) / 2
    detection.bbox.size_x, detection.bbox.size_y = x1 - x0, y1 - y0
    detection.results.append(_result(str(obj.class_id), float(obj.score)))
    if obj.state is ObjectState.TENTATIVE:
        detection.results.append(_result(TENTATIVE, 0.0))
    return detection


def _result(class_id: str, score: float) -> Any:
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id, result.hypothesis.score = class_id, score
    return result
