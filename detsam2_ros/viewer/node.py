# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The ROS side of the viewer: finds the topics of a node and passes their messages on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

from detsam2_ros.client import subscribe
from detsam2_ros.messages.pixels import ImageRefused, compressed_to_rgb, to_rgb
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.shutdown_race import one_shutdown_error
from detsam2_ros.viewer.follow import Follower, Screen

_KINDS = {'sensor_msgs/msg/Image': Image, 'sensor_msgs/msg/CompressedImage': CompressedImage}
_OBJECTS = 'detsam2_msgs/msg/ObjectArray'
_REPORT_INTERVAL = 10.0  # seconds


class ViewerError(Exception):
    """An error that the user can correct; one sentence."""


def look(
    screen: Screen,
    node: str,
    camera: str = '',
    image: str | None = None,
    quality: int = 80,
    done: Callable[[], bool] = lambda: False,
) -> None:
    """Show a node's camera until an interrupt, or until done returns True.

    node: full name. image: topic of the images; None: the topic that the running node subscribes
    to. Waits for the node. Raises ViewerError, also if done came before the node was found.
    """
    rclpy.init()
    own = rclpy.create_node('detsam2_viewer')
    try:
        topic, kind = _image_topic(own, node, camera, image, done)
        follower = Follower(screen, quality=quality)
        looker = _Looker(own, follower, topic, kind)
        subscribe(own, follower.add_frame, namespace=node, camera=camera)
        own.get_logger().info(f'showing {topic} and the masks of {node}')
        report_at = time.monotonic() + _REPORT_INTERVAL
        while not done():
            with one_shutdown_error():
                rclpy.spin_once(own, timeout_sec=0.2)
            if not looker.images and time.monotonic() > report_at:
                count = own.count_publishers(topic)
                own.get_logger().warning(f'no image on {topic} yet; it has {count} publishers')
                report_at = time.monotonic() + _REPORT_INTERVAL
    except ExternalShutdownException:  # SIGINT or SIGTERM
        pass
    finally:
        own.destroy_node()
        rclpy.try_shutdown()


class _Looker:
    """Takes the images of a topic; reports each reason why one cannot be converted once."""

    def __init__(self, node: Node, follower: Follower, topic: str, kind: type[Any]):
        self._log = node.get_logger()
        self._follower = follower
        self._reported: set[str] = set()
        self.images = 0
        node.create_subscription(kind, topic, self._take, qos_profile_sensor_data)

    def _take(self, message: Any) -> None:
        self.images += 1
        try:
            compressed = isinstance(message, CompressedImage)
            image = compressed_to_rgb(message) if compressed else to_rgb(message)
        except ImageRefused as refusal:
            if str(refusal) not in self._reported and len(self._reported) < 8:
                self._reported.add(str(refusal))
                self._log.error(str(refusal))
            return
        self._follower.add_image(image, nanoseconds(message.header.stamp))


def _image_topic(
    own: Node, node: str, camera: str, image: str | None, done: Callable[[], bool]
) -> tuple[str, type[Any]]:
    """Wait until the topic of the images is known; returns its name and type."""
    reported = -_REPORT_INTERVAL
    while True:
        found, missing = _found(own, node, camera, image)
        if found is not None:
            return found
        if done():
            raise ViewerError(missing)
        now = time.monotonic()
        if now - reported >= _REPORT_INTERVAL:
            own.get_logger().info(f'{missing}; waiting')
            reported = now
        rclpy.spin_once(own, timeout_sec=0.2)


def _found(
    own: Node, node: str, camera: str, image: str | None
) -> tuple[tuple[str, type[Any]] | None, str]:
    """Return topic and type, or what is missing; raises ViewerError if waiting cannot help."""
    if image is not None:
        kinds = dict(own.get_topic_names_and_types()).get(image, [])
        for kind in kinds:
            if kind in _KINDS:
                return (image, _KINDS[kind]), ''
        if kinds:
            raise ViewerError(f'{image} holds {kinds[0]}, not images; name another --image')
        return None, f'there is no topic {image}'
    space, _, name = node.rstrip('/').rpartition('/')
    try:
        listens = own.get_subscriber_names_and_types_by_node(name, space or '/')
        speaks = own.get_publisher_names_and_types_by_node(name, space or '/')
    except rclpy.node.NodeNameNonExistentError:
        return None, f'there is no node {node}'
    cameras = sorted(
        topic.removeprefix(f'{node.rstrip("/")}/').removesuffix('/objects')
        for topic, kinds in speaks
        if _OBJECTS in kinds and topic.endswith('/objects')
    )
    several = [found for found in cameras if found != 'objects']
    if several and camera not in several:
        raise ViewerError(f'{node} has the cameras {", ".join(several)}; name one with --camera')
    images = [(topic, _KINDS[kinds[0]]) for topic, kinds in listens if kinds[0] in _KINDS]
    if len(images) > 1:
        raise ViewerError(
            f'{node} listens to {", ".join(topic for topic, _ in images)}; '
            f'name that of the camera with --image'
        )
    return (images[0], '') if images else (None, f'{node} is not active yet')
