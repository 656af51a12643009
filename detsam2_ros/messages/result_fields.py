# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine's results as fields of messages; the caller has the message classes.

Values are numbers, strings, arrays (uint8, uint16, int32, float32, bool), lists of strings, and
dictionaries for nested messages. The caller adds the headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detsam2_ros.messages.pictures import label_fields
from detsam2_ros.results.frames import FrameResult
from detsam2_ros.results.masks import mask_box

Region = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 exclusive

_NOWHERE = (0.0, 0.0, 0.0, 0.0)


def object_fields(result: FrameResult) -> dict[str, Any]:
    """Return the fields of the detsam2_msgs/ObjectArray that lists a result's objects."""
    objects = result.objects
    boxes = [side for o in objects for side in (o.box or _NOWHERE)]
    return {
        'frame_index': result.index,
        'revision': result.revision,
        'final': result.final,
        'ids': np.array([o.id for o in objects], np.uint16),
        'class_ids': np.array([o.class_id for o in objects], np.int32),
        'class_names': [o.class_name for o in objects],
        'scores': np.array([o.score for o in objects], np.float32),
        'boxes': np.array(boxes, np.float32),
        'visible': np.array([o.visible for o in objects], bool),
        'conditioned': np.array([o.conditioned for o in objects], bool),
        'states': np.array([o.state for o in objects], np.uint8),
    }


@dataclass(frozen=True)
class FirstLabels:
    """The labels of revision 0."""

    region: Region  # holds all objects; labels outside are 0
    crop: np.ndarray  # labels inside the region, uint16 [h, w]

    @classmethod
    def of(cls, result: FrameResult) -> FirstLabels:
        """Copy the region of a result that has objects; the label image itself is not held."""
        region = occupied(result)
        x0, y0, x1, y1 = region
        return cls(region, result.labels[y0:y1, x0:x1].copy())

    def difference(self, result: FrameResult) -> tuple[Region, np.ndarray]:
        """Return the smallest region in which a later result differs, and its labels there.

        The region is (0, 0, 0, 0) where nothing differs.
        """
        x0, y0, x1, y1 = _union(self.region, occupied(result))
        now = result.labels[y0:y1, x0:x1]
        first = np.zeros_like(now)
        left, top, right, bottom = self.region
        first[top - y0 : bottom - y0, left - x0 : right - x0] = self.crop
        box = mask_box(first != now)
        if box is None:
            return (0, 0, 0, 0), now[:0, :0]
        patch = now[box[1] : box[3], box[0] : box[2]]
        return (x0 + box[0], y0 + box[1], x0 + box[2], y0 + box[3]), patch


def correction_fields(result: FrameResult, first: FirstLabels) -> dict[str, Any]:
    """Return the fields of the detsam2_msgs/MaskCorrection from revision 0 to a later result.

    The nested messages roi, patch and objects are dictionaries.
    """
    (x0, y0, x1, y1), labels = first.difference(result)
    return {
        'frame_index': result.index,
        'revision': result.revision,
        'final': result.final,
        'roi': {'x_offset': x0, 'y_offset': y0, 'width': x1 - x0, 'height': y1 - y0},
        'patch': label_fields(labels),
        'objects': object_fields(result),
        'changed_ids': np.array(result.changed_ids, np.uint16),
        'withdrawn_ids': np.array(result.withdrawn_ids, np.uint16),
    }


def occupied(result: FrameResult) -> Region:
    """Return the region that holds all masks of a result, (0, 0, 0, 0) without any."""
    boxes = [o.box for o in result.objects if o.box is not None]
    if not boxes:
        return 0, 0, 0, 0
    x0, y0 = (int(min(box[i] for box in boxes)) for i in (0, 1))
    x1, y1 = (int(max(box[i] for box in boxes)) for i in (2, 3))
    return x0, y0, x1, y1


def _union(a: Region, b: Region) -> Region:
    if a[2] <= a[0]:
        return b
    if b[2] <= b[0]:
        return a
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
