# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Point at an object in the image of a running detsam2 node, and print what the node found there.

    python examples/click_prompt.py point 130 90 --class cup
    python examples/click_prompt.py box 100 60 160 120 --class cup
    python examples/click_prompt.py point 130 90 --object 3       # correct object 3 there
    python examples/click_prompt.py clicks /mouse_click           # geometry_msgs/PointStamped

`clicks` prompts an object for each message; x and y are pixels, as viewers publish clicks on an
image. The exit code is 0 when every prompt was taken.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import rclpy
from geometry_msgs.msg import PointStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.task import Future

from detsam2_msgs.srv import AddObject
from detsam2_ros.client.decode import decode_image
from detsam2_ros.shutdown_race import one_shutdown_error


class ClickPrompt(Node):
    """Prompts an object by a point or a box."""

    def __init__(self, detsam2: str, camera: str, class_name: str, object_id: int):
        super().__init__('click_prompt')
        self._usual = {'camera': camera, 'class_name': class_name, 'object_id': object_id}
        self.client = self.create_client(AddObject, f'{detsam2}/add_object')

    def ask(self, **what: list[float]) -> Future:
        """Prompt the newest frame; what: points (x, y, x, y, ...) or box (x0, y0, x1, y1)."""
        return self.client.call_async(AddObject.Request(**self._usual, **what))

    def on_click(self, message: PointStamped) -> None:
        """Prompt at a click in a viewer."""
        future = self.ask(points=[message.point.x, message.point.y])
        future.add_done_callback(lambda done: print(describe(done.result()), flush=True))


def describe(answer: AddObject.Response) -> str:
    """Return an answer as a line of text."""
    if not answer.success:
        return f'refused: {answer.message}'
    # The mask is a part of the image: roi says which, patch has its pixels.
    mask = decode_image(answer.patch, 'patch') == answer.object_id
    roi = answer.roi
    return (
        f'object {answer.object_id} ({answer.class_name}), score {answer.score:.2f}, on frame '
        f'{answer.frame_index}: {np.count_nonzero(mask)} pixels in {roi.width} x {roi.height} at '
        f'({roi.x_offset}, {roi.y_offset})'
    )


def arguments(given: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Prompt objects of a running detsam2 node.')
    parser.add_argument('what', choices=['point', 'box', 'clicks'])
    parser.add_argument('where', nargs='+', help='X Y, or X0 Y0 X1 Y1 in pixels, or a topic')
    parser.add_argument('--class', dest='class_name', default='', help='of a new object')
    parser.add_argument('--object', type=int, default=0, help='id of one to correct')
    parser.add_argument('--detsam2', default='/detsam2', help='full name of the node')
    parser.add_argument('--camera', default='', help='where the node has several')
    options = parser.parse_args(given)
    wanted = {'point': 2, 'box': 4, 'clicks': 1}[options.what]
    if len(options.where) != wanted:
        parser.error(f'{options.what} takes {wanted} values, got {len(options.where)}')
    if options.what != 'clicks':
        try:
            options.where = [float(value) for value in options.where]
        except ValueError:
            parser.error(f'{options.what} takes numbers, got {" ".join(options.where)}')
    return options


def main() -> int:
    """Prompt once, or at each click until interrupted."""
    rclpy.init()
    options = arguments(rclpy.utilities.remove_ros_args(sys.argv)[1:])
    node = ClickPrompt(options.detsam2, options.camera, options.class_name, options.object)
    try:
        if not node.client.wait_for_service(10.0):
            print(f'there is no {node.client.srv_name}; does the node run?', file=sys.stderr)
            return 1
        if options.what == 'clicks':
            node.create_subscription(PointStamped, options.where[0], node.on_click, 10)
            with one_shutdown_error():
                rclpy.spin(node)
            return 0
        future = node.ask(**{'points' if options.what == 'point' else 'box': options.where})
        rclpy.spin_until_future_complete(node, future)
        answer = future.result()
        print(describe(answer))
        return 0 if answer.success else 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
