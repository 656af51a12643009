# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""demo_recorder: a subscriber that applies corrections and records what they improve."""

from __future__ import annotations

if __name__ == '__main__':  # before the imports, so that Ctrl-C during them is quiet
    from detsam2_ros.programs import demo_recorder

    demo_recorder()

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from detsam2_msgs.msg import MaskCorrection, ObjectArray
from detsam2_ros.client import MaskTimeline, TimelineFrame
from detsam2_ros.demo.processes import stop_on_signals
from detsam2_ros.demo.recorder.frames import FrameLog
from detsam2_ros.demo.recorder.output import OutputThread
from detsam2_ros.media.video import InputError
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.ros.arguments import start
from detsam2_ros.ros.images import ImageRefused, read_labels, to_rgb
from detsam2_ros.scene.score import MIN_VISIBLE

ABOUT = """\
Records a camera, the masks of a detsam2 node and, if published, the truth; scores them.

  --ros-args -p output:=out        set a parameter; `ros2 param describe` explains them
  --ros-args -r image:=/cam/image  subscribe elsewhere
"""
# At the end the recorder still takes messages that are on their way: until none has come for
# _QUIET_SECONDS, for _LAST_SECONDS at most.
_QUIET_SECONDS, _LAST_SECONDS = 1.0, 20.0


class DemoRecorder(Node):
    """Records a camera, the topics of a detsam2 node and, if published, the truth.

    Topics (remap them): image, masks, objects, corrections, truth, truth_objects. Parameter
    `phase`: the part of the story for images that arrive from now on. It can be set at any time;
    the report has numbers for each phase. Raises InputError when the output cannot be made.
    """

    def __init__(self, **kwargs: Any):
        super().__init__('demo_recorder', **kwargs)
        folder = Path(self._declared('output', 'demo_out', 'folder for what is written'))
        rate = float(self._declared('video_rate', 10.0, 'frames a second of the video'))
        hold = self._declared(
            'hold', 40, 'a frame is done when so many later ones have masks; more than M + K')
        if not 0 < rate <= 1000:
            raise ValueError(f'video_rate must be above 0 and at most 1000, not {rate}')
        self.output = OutputThread(folder, rate)
        self.log = FrameLog(hold, self.output.take)
        self._timeline = MaskTimeline(length=2 * hold, max_lag=max(50, hold))
        self._reported: set[str] = set()
        self._changed = time.monotonic()
        self._follow(Image, 'image', self._on_image)
        self._follow(Image, 'truth', self._on_truth)
        self._follow(ObjectArray, 'truth_objects', self._on_truth_objects)
        for kind, topic, add in (
            (Image, 'masks', self._timeline.add_masks),
            (ObjectArray, 'objects', self._timeline.add_objects),
            (MaskCorrection, 'corrections', self._timeline.add_correction),
        ):
            self._follow(kind, topic, self._adder(add))
        descriptor = ParameterDescriptor(description='part of the story that begins now')
        self.log.phase = self.declare_parameter('phase', '', descriptor).value
        self.add_on_set_parameters_callback(self._check)
        self.add_post_set_parameters_callback(self._set)

    def finish(self, executor: Executor) -> int:
        """Write all remaining frames; returns the total count of images."""
        now = time.monotonic()
        self._changed = max(self._changed, now - _QUIET_SECONDS / 2)
        while time.monotonic() < min(now + _LAST_SECONDS, self._changed + _QUIET_SECONDS):
            executor.spin_once(timeout_sec=0.05)
        self.log.drain()
        self.output.close()
        return self.log.images

    def _on_image(self, message: Image) -> None:
        now = self.get_clock().now().nanoseconds
        self.log.add_image(nanoseconds(message.header.stamp), to_rgb(message), now)

    def _on_truth(self, message: Image) -> None:
        self.log.add_truth(nanoseconds(message.header.stamp), read_labels(message))

    def _on_truth_objects(self, message: ObjectArray) -> None:
        counts = np.asarray(message.scores, np.float32) >= MIN_VISIBLE
        balls = np.asarray(message.ids, int)[counts]
        names = dict(zip(message.ids, message.class_names, strict=True))
        self.log.add_balls(nanoseconds(message.header.stamp), balls, names)

    def _adder(self, add: Callable[[Any], TimelineFrame | None]) -> Callable[[Any], None]:
        def receive(message: Any) -> None:
            frame = add(message)
            if frame is not None:
                self.log.add_masks(frame, self.get_clock().now().nanoseconds)

        return receive

    def _follow(self, kind: type[Any], topic: str, receive: Callable[[Any], None]) -> None:
        def guarded(message: Any) -> None:
            self._changed = time.monotonic()
            try:
                receive(message)
            except (ImageRefused, ValueError) as error:
                if str(error) not in self._reported and len(self._reported) < 20:
                    self._reported.add(str(error))
                    self.get_logger().error(f'{topic}: {error}')

        self.create_subscription(kind, topic, guarded, QoSProfile(depth=50))

    def _declared(self, name: str, default: Any, description: str) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return self.declare_parameter(name, default, descriptor).value

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if change.name == 'phase' and not isinstance(change.value, str):
                return SetParametersResult(successful=False, reason='phase must be a string')
        return SetParametersResult(successful=True)

    def _set(self, changes: list[Parameter]) -> None:
        for change in changes:
            if change.name == 'phase':
                self.log.phase = change.value
                self.get_logger().info(f'phase: {change.value or "changing over"}')


def main(args: Sequence[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM, then write the rest; returns the exit code."""
    cv2.setNumThreads(1)  # the pictures are small, and inference wants the cores
    # rclpy's own handlers would end the context before the last messages are in.
    stop = stop_on_signals()
    if (status := start('demo_recorder', ABOUT, args)) is not None:
        return status
    code = 0
    try:
        node = DemoRecorder()
    except (InputError, ValueError, ParameterException) as error:
        print(f'demo_recorder: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not stop.is_set() and node.output.failure is None:
            executor.spin_once(timeout_sec=0.1)
        if not node.finish(executor):
            topic = node.resolve_topic_name('image')
            print(f'demo_recorder: no image came on {topic}; remap image:=', file=sys.stderr)
            code = 1
    except InputError as error:
        print(f'demo_recorder: {error}', file=sys.stderr)
        code = 2
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return code
