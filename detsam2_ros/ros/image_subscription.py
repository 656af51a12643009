# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera's subscription to images, whose reliability follows the publishers of the topic.

A best effort subscription matches every publisher, but loses each image of which one fragment is
lost. A reliable one gets them all, but does not match a best effort publisher. The right choice is
known once the publishers are, and changes with them: `follow` then makes the subscription anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import (
    QoSMessageLostInfo,
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
)
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from detsam2_ros.ros.parameters.checks import ParameterError

# No callback waits for inference: an image is converted in 0.5 to 10 ms and waits in the frame
# queue. But a callback waits for the processor while a pass uses every core. Measured with 720p at
# 30 Hz on two cores that other work shares: 37 ms, 1 in 100 waits 150 ms, at most 166 ms, in which
# 5 images come. Twice that; a deeper queue only holds memory, 2.7 MB for each image of 720p.
DEPTH = 10
# The old subscription goes when the new one has delivered an image, at the latest after this.
OVERLAP_SECONDS = 2.0

AUTO: Final = 'auto'
RAW: Final = 'raw'
_POLICIES = {  # what qos_overrides may ask for besides
    policy.name.lower(): policy
    for policy in (
        ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT,
        ReliabilityPolicy.SYSTEM_DEFAULT, ReliabilityPolicy.BEST_AVAILABLE)
}
_Taken: TypeAlias = tuple[Any, Any]  # a message, and what the middleware says of it


class ImageSubscription:
    """Takes the images of one topic; any thread may call a method.

    name: of the node's own topic, such as ~/image. transport: raw, or that of image_transport
    whose topic lies below. reliability: the parameter image_reliability. on_image: called with
    each message, one at a time and in order, also over a change of the subscription. group: of
    this subscription alone, mutually exclusive.
    """

    def __init__(
        self, node: LifecycleNode, name: str, transport: str, reliability: str,
        on_image: Callable[[Any], None], group: CallbackGroup,
    ):  # fmt: skip
        self.message_type = Image if transport == RAW else CompressedImage
        self.type_name = 'sensor_msgs/msg/' + self.message_type.__name__
        self.wanted = self.decided_by = ''
        self.changed_at = 0.0  # seconds, monotonic; of the last change of the reliability
        self.lost = 0  # images that the middleware knows to be lost on their way
        self._node = node
        self._log = node.get_logger()
        self._name = name if transport == RAW else _name_below(node, name, transport)
        self.topic = node.resolve_topic_name(self._name)  # full, after remapping
        self._parameter = reliability
        self._on_image = on_image
        self._group = group
        self._lock = threading.RLock()
        self._now: Subscription | None = None
        self._before: Subscription | None = None  # until the new one delivers
        self._delivered: set[int] = set()  # source stamps from the one before, in the overlap

    @property
    def reliable(self) -> bool:
        """Whether the subscription asks for reliable images."""
        with self._lock:
            return self._now is not None and is_reliable(self._now.qos_profile)

    def publishers(self) -> list[Any]:
        """Return what the graph knows of each publisher of the topic, of whatever type."""
        return list(self._node.get_publishers_info_by_topic(self.topic))

    def open(self) -> None:
        """Subscribe; raises ParameterError for a reliability that qos_overrides misspells."""
        with self._lock:
            self.wanted, self.decided_by = self._asked_for()
            self._now = self._make(self._policy())

    def close(self) -> None:
        """End the subscription; what waits in its queue never reached the node."""
        with self._lock:
            for subscription in (self._before, self._now):
                if subscription is not None:
                    self._node.destroy_subscription(subscription)
            self._before = self._now = None
            self._delivered = set()

    def follow(self) -> None:
        """Make the subscription anew if its reliability no longer fits the publishers."""
        with self._lock:
            if self._now is None:
                return
            if self._before is not None:
                if time.monotonic() - self.changed_at > OVERLAP_SECONDS:
                    self._drain()
                return
            policy = self._policy()
            if policy == self._now.qos_profile.reliability:
                return
            # Both deliver for a while: an image may be on its way to the old one, and the new one
            # must be known to the publishers first.
            self._before, self._now = self._now, self._make(policy)
            self.changed_at, self._delivered = time.monotonic(), set()
            kind = policy.name.lower().replace('_', ' ')
            self._log.info(f'{self.topic}: subscribed {kind} from now on, as its publishers offer')

    def _policy(self) -> ReliabilityPolicy:
        if self.wanted != AUTO:
            return _POLICIES[self.wanted]
        offers = [p for p in self.publishers() if p.topic_type == self.type_name]
        if not offers and self._now is not None:  # the next publisher decides
            return ReliabilityPolicy(self._now.qos_profile.reliability)
        every = bool(offers) and all(is_reliable(p.qos_profile) for p in offers)
        return _POLICIES['reliable' if every else 'best_effort']

    def _asked_for(self) -> tuple[str, str]:
        """Return the reliability that is asked for, and the parameter that asks for it.

        Declared here, not by rclpy: rclpy keeps the first value for all later subscriptions.
        """
        name = f'qos_overrides.{self.topic}.subscription.reliability'
        if not self._node.has_parameter(name):
            description = ParameterDescriptor(
                description=f'reliability of the subscription to {self.topic}; auto: as published',
                read_only=True)
            self._node.declare_parameter(name, self._parameter, description)
        value = str(self._node.get_parameter(name).value).lower()
        if value not in (AUTO, *_POLICIES):
            raise ParameterError(
                f'{name} must be one of {", ".join((AUTO, *_POLICIES))}, got {value!r}')
        return value, 'image_reliability' if value == self._parameter else name

    def _make(self, policy: ReliabilityPolicy) -> Subscription:
        made: list[Subscription] = []

        def take(message: Any, about: Any) -> None:
            self._take(made, (message, about))

        # rclpy would log a mismatch in words of its own: ros/silence.py says it.
        events = SubscriptionEventCallbacks(
            use_default_callbacks=False, message_lost=self._count_lost)
        try:
            made.append(self._create(policy, take, events))
        except UnsupportedEventTypeError:  # by this middleware
            events = SubscriptionEventCallbacks(use_default_callbacks=False)
            made.append(self._create(policy, take, events))
        return made[0]

    def _create(
        self, policy: ReliabilityPolicy, take: Any, events: SubscriptionEventCallbacks
    ) -> Subscription:
        return self._node.create_subscription(
            self.message_type, self._name, take, QoSProfile(depth=DEPTH, reliability=policy),
            callback_group=self._group, event_callbacks=events,
            qos_overriding_options=QoSOverridingOptions(
                (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH)))

    def _count_lost(self, event: QoSMessageLostInfo) -> None:
        if self._before is None:  # in an overlap both subscriptions lose an image
            self.lost += event.total_count_change

    def _take(self, source: list[Subscription], taken: _Taken) -> None:
        """Hand an image on; runs on a thread of the executor."""
        with self._lock:  # `source` is filled from here on
            if source[0] is self._now:
                if self._before is not None:
                    self._drain()  # what the old one still holds is older
                stamp = _source_stamp(taken)
                if stamp and stamp in self._delivered:
                    return
            else:
                self._delivered.add(_source_stamp(taken))
            self._on_image(taken[0])

    def _drain(self) -> None:
        """Take what the subscription before still holds, and destroy it."""
        before, self._before = self._before, None
        assert before is not None
        handle: Any = before.handle
        with handle:  # as rclpy's executor takes messages
            while (taken := handle.take_message(before.msg_type, False)) is not None:
                self._delivered.add(_source_stamp(taken))
                self._on_image(taken[0])
        self._node.destroy_subscription(before)


def _name_below(node: LifecycleNode, name: str, transport: str) -> str:
    """Return the topic of compressed images, as image_transport forms it.

    The name of the images after remapping, and the transport behind it; a rule for the topic with
    both wins.
    """
    own = f'{name}/{transport}'
    resolved = node.resolve_topic_name(own)
    if resolved != node.resolve_topic_name(own, only_expand=True):
        return own
    return f'{node.resolve_topic_name(name)}/{transport}'


def is_reliable(qos: QoSProfile) -> bool:
    """Return whether a profile is known to be reliable."""
    return bool(qos.reliability == ReliabilityPolicy.RELIABLE)


def _source_stamp(taken: _Taken) -> int:
    """Return when the publisher sent a message: equal for the copies of two subscriptions.

    0 where the middleware does not know.
    """
    return int(taken[1]['source_timestamp'])
