# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A timeline fed by the topics of a running node. ROS is imported on first use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from detsam2_ros.client.decode import require_opencv
from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.client.timeline import MaskTimeline


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
        name = '/'.join(part for part in (namespace.rstrip('/'), camera, topic) if part)

        def receive(msg: Any) -> None:
            try:
                frame = add(msg)
            except ValueError as error:
                text = f'{name}: message refused: {error}'
                node.get_logger().error(text, throttle_duration_sec=5.0)
                return
            if frame is not None and on_change is not None:
                on_change(frame)

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
