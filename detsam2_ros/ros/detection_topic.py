# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera's subscription to the detections of another node, with `detector: topic`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from detsam2_ros.ros.detection_inbox import TOLD, DetectionInbox, Unused
from detsam2_ros.ros.detection_message import REFUSALS, Detection2DArray, boxes_of

DEPTH = 10


class DetectionTopic:
    """Takes messages, and asks inference to look at them; made where vision_msgs is installed.

    look: called from an executor thread; asks once for many messages.
    """

    def __init__(self, node: LifecycleNode, prefix: str, look: Callable[[], object]):
        self.inbox = DetectionInbox(self._tell)
        self._node = node
        self._log = node.get_logger()
        self.topic = node.resolve_topic_name(prefix + 'detections')
        self._look = look
        self._told: set[str] = set()
        self._subscription: Subscription[Any] | None = None
        # Of its own: many detections must not hold the images up.
        self._group = MutuallyExclusiveCallbackGroup()

    def subscribe(self) -> None:
        """Listen to the detector."""
        self._subscription = self._node.create_subscription(
            Detection2DArray, self.topic, self._on_message,
            QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT),
            callback_group=self._group,
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def unsubscribe(self) -> None:
        """Listen no more; what waits for its frame is dropped."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
            self.inbox.clear(Unused.INACTIVE)

    @property
    def publisher_count(self) -> int:
        """How many publishers the topic has."""
        return self._node.count_publishers(self.topic) if self._subscription else 0

    def _on_message(self, message: Any) -> None:
        try:
            boxes, refused = boxes_of(message)
        except Exception as error:  # no message may end the executor's thread
            self.inbox.lose()
            self._tell_once(f'{type(error).__name__} while reading detections: {error}')
            return
        for reason in refused:
            self._tell_once(f'{REFUSALS[reason]}; such detections are left out')
        if self.inbox.receive(boxes, refused):
            self._look()

    def _tell(self, why: Unused) -> None:
        self._tell_once(f'detections are not used: {TOLD[why]}')

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < 32:
            self._told.add(text)
            self._log.warning(
                f'{self.topic}: {text}. Further ones are counted in /diagnostics, not reported '
                f'again.')
