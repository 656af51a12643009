# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while rclpy spins: one error for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation


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
