# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prompts by people and other nodes: objects added, corrected, removed and renamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from detsam2_msgs.srv import AddObject, RemoveObject, RenameObject
from detsam2_ros.engine import Stream
from detsam2_ros.engine.prompts import Prompted
from detsam2_ros.ros.answering import Answering, RequestError, class_name_of, one_camera
from detsam2_ros.ros.prompting import answer_with, prompt_of, stamp_of
from detsam2_ros.ros.session import Session

REQUESTS = 200  # that may wait; ROS keeps 10 unless told otherwise, and loses others unanswered


class ObjectServices(Answering):
    """Acts on the objects of a camera between two steps of inference, and answers then."""

    def __init__(self, node: Node, session: Callable[[], Session | None]):
        super().__init__(node, session)
        # They wait for the running step: one at a time, so that they occupy one of the
        # executor's threads at most.
        waiting = MutuallyExclusiveCallbackGroup()
        for kind, name, answer in (
            (AddObject, 'add_object', self._add),
            (RemoveObject, 'remove_object', self._remove),
            (RenameObject, 'rename_object', self._rename),
        ):
            node.create_service(
                kind, f'~/{name}', self._guarded(name, answer), callback_group=waiting,
                qos_profile=QoSProfile(depth=REQUESTS))

    def _add(self, session: Session, request: Any, response: Any) -> None:
        camera = one_camera(session, request.camera)
        prompt, stamp = prompt_of(request), stamp_of(request)
        object_id, name = request.object_id or None, class_name_of(request.class_name)

        def add(stream: Stream, header: Callable[[int], Header]) -> tuple[Prompted, Header]:
            index = stream.find_frame(stamp)
            new = name or ('' if object_id else 'object')
            return stream.prompt(index, prompt, new, object_id), header(index)

        prompted, header = session.on_stream(camera, add)
        answer_with(response, prompted, header)
        response.message = (
            f'object {prompted.object.id} ({prompted.object.class_name}) is prompted on frame '
            f'{prompted.index}, where it has {np.count_nonzero(prompted.mask)} pixels')
        response.success = True

    def _remove(self, session: Session, request: Any, response: Any) -> None:
        camera, object_id = one_camera(session, request.camera), _id(request)
        gone = session.on_stream(camera, lambda stream, _: stream.remove_object(object_id))
        response.message = f'object {gone.id} ({gone.class_name}) is followed no more'
        response.success = True

    def _rename(self, session: Session, request: Any, response: Any) -> None:
        camera, object_id = one_camera(session, request.camera), _id(request)
        name = class_name_of(request.class_name)
        if not name:
            raise RequestError('class_name is empty; give the name of the class')
        renamed = session.on_stream(
            camera, lambda stream, _: stream.rename_object(object_id, name))
        response.class_id = renamed.class_id
        response.message = f'object {renamed.id} is {renamed.class_name} from now on'
        response.success = True


def _id(request: Any) -> int:
    if not request.object_id:
        raise RequestError('object_id is 0, which is the background; name an object, 1 to 65535')
    return int(request.object_id)
