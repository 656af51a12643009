# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The bond with nav2's lifecycle manager, which brings its nodes down when a bond breaks.

As a node of nav2_util keeps it: topic bond, the node's name as the id, made on activate and broken
on deactivate. bondpy is optional: only bond: true needs it.
"""

from __future__ import annotations

import os
from typing import Any, Final

from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode

from detsam2_ros.ros.parameters.declare import ParameterError

try:
    from bondpy import bondpy
except ImportError:  # an optional dependency, see package.xml
    bondpy = None

# Declared by bondpy when the manager falls silent; a second time is an error.
_BY_BONDPY = '/bond_disable_heartbeat_timeout'
TOPIC: Final = 'bond'  # relative as in nav2: a robot's manager is in the robot's namespace
# Those of nav2_util::LifecycleNode. The manager takes a node for dead after its own bond_timeout.
HEARTBEAT_PERIOD, HEARTBEAT_TIMEOUT = 0.1, 4.0  # seconds
_BREAK_SECONDS = 0.5  # in which the manager hears that the bond is broken


def check_bondpy() -> None:
    """Raise ParameterError, which says what to do, where bondpy is not installed."""
    if bondpy is None:
        distribution = os.environ.get('ROS_DISTRO') or '$ROS_DISTRO'
        raise ParameterError(
            f'bond is true, which needs the package bondpy: sudo apt install '
            f'ros-{distribution}-bondpy; or set bond to false, and bond_timeout of the lifecycle '
            f'manager to 0.0')


class ManagerBond:
    """The bond of an active node; transitions call it, one at a time."""

    def __init__(self, node: LifecycleNode):
        self._node = node
        self._bond: Any = None

    def form(self) -> None:
        """Begin to send heartbeats; returns at once, whether or not there is a manager."""
        check_bondpy()
        # By name: the order of the arguments differs between releases.
        bond = bondpy.Bond(topic=TOPIC, id=self._node.get_name(), node=self._node)
        bond.set_heartbeat_period(HEARTBEAT_PERIOD)
        bond.set_heartbeat_timeout(HEARTBEAT_TIMEOUT)
        bond.start()
        self._bond = bond

    def end(self) -> None:
        """Break the bond, if there is one: the manager learns it at once, not by a timeout."""
        bond, self._bond = self._bond, None
        if bond is None:
            return
        # shutdown alone takes the publisher away before its last message has arrived.
        if not bond.is_broken():
            bond.break_bond()
            bond.wait_until_broken(Duration(seconds=_BREAK_SECONDS))
        bond.shutdown()
        # bondpy destroys both, but leaves them in the lists of the node.
        self._node.destroy_subscription(bond.sub)
        self._node.destroy_publisher(bond.pub)
        if self._node.has_parameter(_BY_BONDPY):
            self._node.undeclare_parameter(_BY_BONDPY)
