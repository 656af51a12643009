# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera driver as a process of its own, with the transports that its environment asks for."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def camera(
    topic: str, width: int, height: int, reliable: bool,
    environment: Mapping[str, str] | None = None, rate: float = 10.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Publish rgb8 images until the context ends."""
    process = subprocess.Popen(
        [sys.executable, __file__, topic, str(width), str(height), str(rate),
         *(['--reliable'] if reliable else [])],
        env=environment, stdin=subprocess.DEVNULL)  # fmt: skip
    try:
        yield process
        assert process.poll() is None, f'the camera ended by itself: {process.returncode}'
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Publish until the process is killed."""
    import array

    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    parser = argparse.ArgumentParser()
    parser.add_argument('topic')
    parser.add_argument('width', type=int)
    parser.add_argument('height', type=int)
    parser.add_argument('rate', type=float)
    parser.add_argument('--reliable', action='store_true')
    given = parser.parse_args()
    rclpy.init()
    node = rclpy.create_node('driver', namespace='cam')
    policy = ReliabilityPolicy.RELIABLE if given.reliable else ReliabilityPolicy.BEST_EFFORT
    publisher = node.create_publisher(Image, given.topic, QoSProfile(depth=5, reliability=policy))
    message = Image(
        width=given.width, height=given.height, encoding='rgb8', step=3 * given.width,
        data=array.array('B', bytes(3 * given.width * given.height)))

    def send() -> None:
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)

    node.create_timer(1.0 / given.rate, send)
    rclpy.spin(node)


if __name__ == '__main__':
    main()
