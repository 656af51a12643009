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

from detsam2_ros.ros.parameters.checks import ParameterError

try:
    from bondpy import bondpy
except ImportError:  # an optional dependency, see package.xml
    bondpy = None

TOPIC: Final = 'bond'  # relative as in nav2: a robot's manager is in the robot's namespace
# Seconds, as a node of nav2. The manager takes a node for dead after its own bond_timeout.
HEARTBEAT_PERIOD = 0.1
# The node never gives up a manager that is silent, as a node of nav2. The parameter by which that
# one says so would make bondpy raise: bondpy declares it once more when the time is over.
NEVER = 1e9  # seconds
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
        # Not by name: bondpy 4.1 calls the third one bond_id.
        bond = bondpy.Bond(self._node, TOPIC, self._node.get_name())
        bond.set_heartbeat_period(HEARTBEAT_PERIOD)
        bond.set_heartbeat_timeout(NEVER)
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
        # bondpy destroys both, but leaves them in the lists of the node: no executor could wait
        # for any of its topics then.
        self._node.destroy_subscription(bond.sub)
        self._node.destroy_publisher(bond.pub)
