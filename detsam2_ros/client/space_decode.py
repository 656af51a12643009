# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Object3DArray messages to checked values, by the names of their fields: no ROS in here."""

from __future__ import annotations

import math
from typing import Any

from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.results.space import Object3D, Point, Position, Reason, SpaceFrame


def decode_space(msg: Any) -> SpaceFrame:
    """Read a detsam2_msgs/Object3DArray; raises ValueError naming the field that is wrong."""
    what = f'objects in space of frame {msg.frame_index}'
    objects = tuple(_object(thing, what) for thing in msg.objects)
    ids = [thing.id for thing in objects]
    withdrawn = tuple(int(id_) for id_ in msg.withdrawn_ids)
    if len(set(ids)) < len(ids):
        raise ValueError(f'{what}: an id is there twice: {sorted(ids)}')
    if both := sorted(set(ids) & set(withdrawn)):
        raise ValueError(f'{what}: withdrawn_ids has {both[0]}, which is among its objects')
    return SpaceFrame(
        stamp=nanoseconds(msg.header.stamp),
        frame_id=str(msg.header.frame_id),
        stream=int(msg.stream),
        index=int(msg.frame_index),
        revision=int(msg.revision),
        mask_revision=int(msg.mask_revision),
        final=bool(msg.final),
        depth_stamp=nanoseconds(msg.depth_stamp) or None,
        objects=objects,
        withdrawn_ids=withdrawn,
    )


def _object(msg: Any, what: str) -> Object3D:
    try:
        state, reason = ObjectState(int(msg.state)), Reason(int(msg.reason))
    except ValueError as error:
        raise ValueError(f'{what}: object {msg.id} has a {error}') from error
    position = Position(
        reason=reason,
        centroid=_point(msg.centroid),
        box_min=_point(msg.box_min),
        box_max=_point(msg.box_max),
        spread=_point(msg.spread),
        points=int(msg.points),
        depth_share=float(msg.depth_share),
    )
    if bool(msg.valid) != position.valid:
        raise ValueError(
            f'{what}: object {msg.id} has valid {msg.valid}, but reason {reason.name}'
        )
    sides = (*position.centroid, *position.box_min, *position.box_max, *position.spread)
    if not all(map(math.isfinite, sides)):
        raise ValueError(f'{what}: object {msg.id} has a position that is no number')
    return Object3D(
        id=int(msg.id),
        class_id=int(msg.class_id),
        class_name=str(msg.class_name),
        score=float(msg.score),
        state=state,
        position=position,
    )


def _point(msg: Any) -> Point:
    return float(msg.x), float(msg.y), float(msg.z)
