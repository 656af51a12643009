# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while rclpy spins: one error for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node


@contextmanager
def one_shutdown_error() -> Iterator[None]:
    """Raise ExternalShutdownException where rclpy was shut down amid its spinning.

    rclpy's handler of SIGINT may end the context between two steps of rclpy, of which the second
    then fails with an RCLError.
    """
    try:
        yield
    except rclpy_implementation.RCLError as error:
        if rclpy.ok():
            raise
        raise ExternalShutdownException from error


def run_node(make: Callable[[], Node]) -> None:
    """Make a node and spin it until it is interrupted; its context is of this call alone."""
    rclpy.init()
    node: Node | None = None
    try:
        node = make()
        with one_shutdown_error():
            rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
