# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Time stamps of messages as numbers, by the names of their fields: no ROS in here."""

from __future__ import annotations

from typing import Any


def nanoseconds(stamp: Any) -> int:
    """Return a time in nanoseconds: an int, a builtin_interfaces/Time or an rclpy Time."""
    if hasattr(stamp, 'sec'):
        return int(stamp.sec) * 10**9 + int(stamp.nanosec)
    return int(getattr(stamp, 'nanoseconds', stamp))
