# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames in space as messages: our own, Detection3DArray of vision_msgs, and PointCloud2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from detsam2_msgs.msg import Object3D as Object3DMessage
from detsam2_msgs.msg import Object3DArray
from detsam2_ros.media.overlay import object_colour
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.results.space import Object3D, SpaceFrame
from detsam2_ros.ros.images import copy_bytes

try:
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose
except ImportError:  # an optional dependency, see package.xml
    Detection3D = Detection3DArray = ObjectHypothesisWithPose = None

# PCL and RViz read float32 x, y, z, and rgb as 0x00rrggbb in the bytes of a float32.
_POINT = np.dtype([(name, '<f4') for name in 'xyz'] + [('rgb', '<u4'), ('id', '<u4')])
_FIELDS = [
    PointField(name=name, offset=4 * place, datatype=kind, count=1)
    for place, (name, kind) in enumerate([
        *((name, PointField.FLOAT32) for name in ('x', 'y', 'z', 'rgb')),
        ('id', PointField.UINT32),
    ])
]  # fmt: skip


def header_of(frame: SpaceFrame) -> Header:
    """Return the header of the frame's image."""
    return Header(stamp=_time(frame.stamp), frame_id=frame.frame_id)


def _time(stamp: int | None) -> Time:
    seconds, nanoseconds = divmod(stamp or 0, 10**9)
    return Time(sec=seconds, nanosec=nanoseconds)


def object_array(frame: SpaceFrame) -> Object3DArray:
    """Make the message of our own."""
    return Object3DArray(
        header=header_of(frame),
        stream=frame.stream,
        frame_index=frame.index,
        revision=frame.revision,
        mask_revision=frame.mask_revision,
        final=frame.final,
        depth_stamp=_time(frame.depth_stamp),
        objects=[_object(thing) for thing in frame.objects],
        withdrawn_ids=list(frame.withdrawn_ids),
    )


def _object(thing: Object3D) -> Object3DMessage:
    where = thing.position
    return Object3DMessage(
        id=thing.id,
        class_id=thing.class_id,
        class_name=thing.class_name,
        score=thing.score,
        state=int(thing.state),
        valid=where.valid,
        reason=int(where.reason),
        centroid=Point(**_xyz(where.centroid)),
        box_min=Point(**_xyz(where.box_min)),
        box_max=Point(**_xyz(where.box_max)),
        spread=Vector3(**_xyz(where.spread)),
        points=where.points,
        depth_share=where.depth_share,
    )


def _xyz(values: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip('xyz', values, strict=True))


def detections(frame: SpaceFrame) -> Any:
    """Make a Detection3DArray of the objects with a position; states as in ros/standard.py."""
    header = header_of(frame)
    return Detection3DArray(
        header=header, detections=[_detection(t, header) for t in frame.objects if t.valid]
    )


def _detection(thing: Object3D, header: Header) -> Any:
    made, where = Detection3D(header=header, id=str(thing.id)), thing.position
    low, high = np.array(where.box_min), np.array(where.box_max)
    made.bbox.center.position = Point(**_xyz(tuple((low + high) / 2)))
    made.bbox.center.orientation.w = 1.0
    made.bbox.size = Vector3(**_xyz(tuple(high - low)))
    results = [(str(thing.class_id), thing.score)]
    if thing.state is ObjectState.TENTATIVE:
        results.append((ObjectState.TENTATIVE.name.lower(), 0.0))
    for class_id, score in results:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = class_id, score
        result.pose.pose.position = Point(**_xyz(where.centroid))
        result.pose.pose.orientation.w = 1.0
        made.results.append(result)
    return made


def point_cloud(frame: SpaceFrame, points: Mapping[int, np.ndarray]) -> PointCloud2:
    """Make a cloud of the points of all objects, in the colour of the overlay, with their ids.

    points: by id, float32 [n, 3].
    """
    cloud = np.empty(sum(map(len, points.values())), _POINT)
    start = 0
    for id_, own in points.items():
        red, green, blue = object_colour(id_)
        part = cloud[start : start + len(own)]
        part['x'], part['y'], part['z'] = own.T
        part['rgb'], part['id'] = red << 16 | green << 8 | blue, id_
        start += len(own)
    return PointCloud2(
        header=header_of(frame),
        height=1,
        width=len(cloud),
        fields=_FIELDS,
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=_POINT.itemsize * len(cloud),
        data=copy_bytes(cloud.view(np.uint8)),
        is_dense=True,
    )
