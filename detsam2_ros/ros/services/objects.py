# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The services of objects: add or correct one by a prompt, remove it, rename it."""

from __future__ import annotations

from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from detsam2_msgs.srv import AddObject, RemoveObject, RenameObject
from detsam2_ros.engine import Stream
from detsam2_ros.engine.sam2.prompts import Prompt
from detsam2_ros.messages.pixels import ImageRefused
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.results.frames import Prompted
from detsam2_ros.ros.images import label_image, read_mask
from detsam2_ros.ros.services.base import RequestError, ServiceBase, one_camera, read_class_name
from detsam2_ros.ros.session import Session, SessionHolder

# Requests that may wait. The default of ROS is 10; requests beyond the depth get no answer.
MAX_REQUESTS = 200


class ObjectServices(ServiceBase):
    """Changes the objects of a camera between two steps of inference, then answers."""

    def __init__(self, node: Node, held: SessionHolder):
        super().__init__(node, held)
        # All wait for the running step. One of them runs at a time, so they occupy at most one
        # thread of the executor.
        waiting = MutuallyExclusiveCallbackGroup()
        for kind, name, answer in (
            (AddObject, 'add_object', self._add),
            (RemoveObject, 'remove_object', self._remove),
            (RenameObject, 'rename_object', self._rename),
        ):
            node.create_service(
                kind, f'~/{name}', self._guarded(name, answer), callback_group=waiting,
                qos_profile=QoSProfile(depth=MAX_REQUESTS))

    def _add(self, session: Session, request: Any, response: Any) -> None:
        camera = one_camera(session, request.camera)
        prompt, stamp = read_prompt(request), read_stamp(request)
        object_id, name = request.object_id or None, read_class_name(request.class_name)

        def add(stream: Stream) -> Prompted:
            new = name or ('' if object_id else 'object')
            return stream.prompt(stream.find_frame(stamp), prompt, new, object_id)

        prompted = session.on_stream(camera, add)
        fill_answer(response, prompted)
        response.message = (
            f'object {prompted.object.id} ({prompted.object.class_name}) is prompted on frame '
            f'{prompted.index}, where it has {prompted.object.mask.area} pixels')
        response.success = True

    def _remove(self, session: Session, request: Any, response: Any) -> None:
        camera, object_id = one_camera(session, request.camera), _id(request)
        gone = session.on_stream(camera, lambda stream: stream.remove_object(object_id))
        response.message = f'object {gone.id} ({gone.class_name}) is followed no more'
        response.success = True

    def _rename(self, session: Session, request: Any, response: Any) -> None:
        camera, object_id = one_camera(session, request.camera), _id(request)
        name = read_class_name(request.class_name)
        if not name:
            raise RequestError('class_name is empty; give the name of the class')
        renamed = session.on_stream(camera, lambda stream: stream.rename_object(object_id, name))
        response.class_id = renamed.class_id
        response.message = f'object {renamed.id} is {renamed.class_name} from now on'
        response.success = True


def _id(request: Any) -> int:
    if not request.object_id:
        raise RequestError('object_id is 0, which is the background; name an object, 1 to 65535')
    return int(request.object_id)


def read_prompt(request: Any) -> Prompt:
    """Return the prompt of an AddObject request; raises RequestError or PromptError.

    The engine checks the prompt against the image, such as a box that lies outside.
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


def read_stamp(request: Any) -> int | None:
    """Return the stamp of a request in nanoseconds, None for the newest frame."""
    return nanoseconds(request.stamp) or None


def fill_answer(response: Any, prompted: Prompted) -> None:
    """Fill AddObject's answer."""
    found, header = prompted.object, prompted.tag.header
    x0, y0, x1, y1 = found.mask.box or (0, 0, 0, 0)
    response.object_id = found.id
    response.class_id, response.class_name = found.class_id, found.class_name
    response.header, response.frame_index = header, prompted.index
    response.score = float(found.score)
    response.roi.x_offset, response.roi.y_offset = x0, y0
    response.roi.width, response.roi.height = x1 - x0, y1 - y0
    patch = np.where(found.mask.crop(), np.uint16(found.id), np.uint16(0))
    response.patch = label_image(header, patch)


def _mask(message: Any) -> np.ndarray | None:
    if not (message.width or message.height or len(message.data)):
        return None
    try:
        return read_mask(message)
    except ImageRefused as refusal:
        what = str(refusal).partition(';')[0]
        raise RequestError(f'the mask cannot be used: {what}') from refusal
