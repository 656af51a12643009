# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Timelines fed by the topics of running nodes. ROS is imported on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from detsam2_ros.client.decode import require_opencv
from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.client.space_timeline import SpaceTimeline
from detsam2_ros.client.timeline import MaskTimeline
from detsam2_ros.results.space import SpaceFrame

Frame = TypeVar('Frame', TimelineFrame, SpaceFrame)


@dataclass(frozen=True)
class MaskSubscription:
    """A timeline, and the three subscriptions of `node` that feed it until `destroy`."""

    node: Any
    timeline: MaskTimeline
    subscriptions: list[Any] = field(default_factory=list, repr=False)

    def destroy(self) -> None:
        """End the subscriptions; the timeline stays as it is."""
        while self.subscriptions:
            self.node.destroy_subscription(self.subscriptions.pop())


@dataclass(frozen=True)
class SpaceSubscription:
    """A timeline in space, and the two subscriptions of `node` that feed it until `destroy`."""

    node: Any
    timeline: SpaceTimeline
    subscriptions: list[Any] = field(default_factory=list, repr=False)

    def destroy(self) -> None:
        """End the subscriptions; the timeline stays as it is."""
        while self.subscriptions:
            self.node.destroy_subscription(self.subscriptions.pop())


def subscribe(
    node: Any,
    on_change: Callable[[TimelineFrame], None] | None = None,
    *,
    namespace: str = 'detsam2',
    camera: str = '',
    timeline: MaskTimeline | None = None,
    depth: int = 100,
    compressed: bool = False,
) -> MaskSubscription:
    """Feed a timeline from the topics masks, objects and corrections of one camera.

    node: an rclpy node. on_change: called with each frame that is newly known or changed, one
    call at a time also under a MultiThreadedExecutor. namespace: full name of the detsam2 node;
    a relative name is resolved as topics are. camera: '' for a node with one camera. depth: of
    the queues; at least 2 K and 2 M of the node. compressed: take the topics of that name, for a
    network; raises ImportError without OpenCV. `node` logs a message that the timeline refuses as
    an error.
    """
    from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CompressedImage, Image

    from detsam2_msgs.msg import CompressedMaskCorrection, MaskCorrection, ObjectArray

    if compressed:
        require_opencv()
    feed = timeline if timeline is not None else MaskTimeline()
    found = MaskSubscription(node, feed)
    reliable, volatile = ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE
    qos = QoSProfile(depth=depth, reliability=reliable, durability=volatile)
    # The messages of each topic must stay in order; a reentrant group would not keep it.
    group = MutuallyExclusiveCallbackGroup()

    def listen(kind: type, topic: str, add: Callable[[Any], TimelineFrame | None]) -> None:
        name = _topic(namespace, camera, topic)
        receive = _receiver(node, name, add, on_change)
        made = node.create_subscription(kind, name, receive, qos, callback_group=group)
        found.subscriptions.append(made)

    listen(ObjectArray, 'objects', feed.add_objects)
    if compressed:
        listen(CompressedImage, 'masks/compressed', feed.add_masks)
        listen(CompressedMaskCorrection, 'corrections/compressed', feed.add_correction)
    else:
        listen(Image, 'masks', feed.add_masks)
        listen(MaskCorrection, 'corrections', feed.add_correction)
    return found


def subscribe_space(
    node: Any,
    on_change: Callable[[SpaceFrame], None] | None = None,
    *,
    namespace: str = 'detsam2_space',
    camera: str = '',
    timeline: SpaceTimeline | None = None,
    depth: int = 200,
) -> SpaceSubscription:
    """Feed a timeline from the topics objects_3d and corrections_3d of one camera.

    namespace: full name of the node detsam2_space. The rest is as in `subscribe`.
    """
    from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
    from rclpy.qos import QoSProfile

    from detsam2_msgs.msg import Object3DArray

    feed = timeline if timeline is not None else SpaceTimeline()
    found, group = SpaceSubscription(node, feed), MutuallyExclusiveCallbackGroup()
    for topic in ('objects_3d', 'corrections_3d'):
        name = _topic(namespace, camera, topic)
        receive = _receiver(node, name, feed.add, on_change)
        qos = QoSProfile(depth=depth)
        made = node.create_subscription(Object3DArray, name, receive, qos, callback_group=group)
        found.subscriptions.append(made)
    return found


def _topic(namespace: str, camera: str, topic: str) -> str:
    return '/'.join(part for part in (namespace.rstrip('/'), camera, topic) if part)


def _receiver(
    node: Any,
    name: str,
    add: Callable[[Any], Frame | None],
    on_change: Callable[[Frame], None] | None,
) -> Callable[[Any], None]:
    """Return a callback that feeds a timeline, and logs the messages that it refuses."""

    def receive(msg: Any) -> None:
        try:
            frame = add(msg)
        except ValueError as error:
            text = f'{name}: message refused: {error}'
            node.get_logger().error(text, throttle_duration_sec=5.0)
            return
        if frame is not None and on_change is not None:
            on_change(frame)

    return receive
