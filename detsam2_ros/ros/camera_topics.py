# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the cameras of any node of ours share: names of topics, publishers, and what is refused."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from detsam2_ros.ros.logs import RosLogger

_MAX_REFUSALS = 32  # different ones in the log; further ones are only counted


class CameraTopics:
    """The publishers of one camera; name '' is the only camera of a node."""

    def __init__(self, node: LifecycleNode, name: str):
        self.prefix = f'~/{name}/' if name else '~/'
        self._node = node
        self._publishers: list[Any] = []

    def publisher(self, kind: type[Any], topic: str, qos: QoSProfile) -> Any:
        """Make a lifecycle publisher, whose QoS parameters may override."""
        publisher = self._node.create_lifecycle_publisher(
            kind, self.prefix + topic, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies())
        self._publishers.append(publisher)
        return publisher

    def destroy(self) -> None:
        """Destroy the publishers."""
        while self._publishers:
            self._node.destroy_lifecycle_publisher(self._publishers.pop())


class RefusalLog:
    """Logs why messages are refused, once for each reason."""

    def __init__(self, log: RosLogger):
        self._log = log
        self._reported: set[str] = set()

    def report(self, topic: str, text: str, others: str) -> bool:
        """Log a sentence about a topic; returns whether the log holds it.

        others: the sentence on what else is refused for this.
        """
        if text not in self._reported and len(self._reported) < _MAX_REFUSALS:
            self._reported.add(text)
            self._log.error(f'{topic}: {text.rstrip(".")}. {others}')
        return text in self._reported
