# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From the engine's results to messages."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from detsam2_msgs.msg import MaskCorrection, ObjectArray
from detsam2_ros.engine.masks import mask_box
from detsam2_ros.engine.results import FrameResult
from detsam2_ros.ros.images import label_image

Region = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 exclusive

_NOWHERE = (0.0, 0.0, 0.0, 0.0)


def object_array(result: FrameResult, header: Header) -> ObjectArray:
    """Make the message that lists a result's objects."""
    objects = result.objects
    boxes = [side for o in objects for side in (o.box or _NOWHERE)]
    return ObjectArray(
        header=header,
        frame_index=result.index,
        revision=result.revision,
        final=result.final,
        ids=array('H', [o.id for o in objects]),
        class_ids=array('i', [o.class_id for o in objects]),
        class_names=[o.class_name for o in objects],
        scores=array('f', [o.score for o in objects]),
        boxes=array('f', boxes),
        visible=[o.visible for o in objects],
        conditioned=[o.conditioned for o in objects],
    )


@dataclass(frozen=True)
class FirstLabels:
    """Labels of revision 0 inside the region that holds all of them; outside they are 0."""

    region: Region
    crop: np.ndarray

    @classmethod
    def of(cls, result: FrameResult) -> FirstLabels:
        """Keep what a patch needs of a result; the label image itself is not held."""
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


def correction(result: FrameResult, header: Header, first: FirstLabels) -> MaskCorrection:
    """Make the message that brings a frame from revision 0 to a later one."""
    (x0, y0, x1, y1), labels = first.difference(result)
    roi = RegionOfInterest(x_offset=x0, y_offset=y0, width=x1 - x0, height=y1 - y0)
    return MaskCorrection(
        header=header,
        frame_index=result.index,
        revision=result.revision,
        final=result.final,
        roi=roi,
        patch=label_image(header, labels),
        objects=object_array(result, header),
        changed_ids=array('H', result.changed_ids),
    )


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
