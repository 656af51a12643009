# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""demo_camera: the billiards scene as a camera, with its ground truth beside it."""

from __future__ import annotations

if __name__ == '__main__':  # before the imports, so that Ctrl-C during them is quiet
    from detsam2_ros.programs import demo_camera

    demo_camera()

import queue
import sys
import threading
from array import array
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import cv2
import numpy as np
import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from detsam2_msgs.msg import ObjectArray
from detsam2_ros.demo.processes import stop_on_signals
from detsam2_ros.ros.arguments import start
from detsam2_ros.ros.images import label_image, rgb_image
from detsam2_ros.scene.options import DEMO
from detsam2_ros.scene.scene import CLASS_NAMES, Scene, SceneFrame, SceneOptions
from detsam2_ros.words import counted

ABOUT = """\
The billiards scene as a camera, with its ground truth beside it.

  --ros-args -p rate:=5.0          set a parameter; `ros2 param describe` explains them
  --ros-args -r image:=/cam/image  publish elsewhere
"""
# The shipped models were trained on seeds below 1,000,000.
SEED = 1_000_012
# Waited after enough subscribers are there: discovery of their other topics may take longer.
SETTLE_SECONDS = 0.5


class DemoCamera(Node):
    """Publishes `image`, and with the same header `truth` (mono16) and `truth_objects`.

    In truth_objects the score of a ball is its visible share. Stamps are the time of publication
    by the node's clock. Raises ValueError or ParameterException for unusable parameters.
    """

    def __init__(self, **kwargs: Any):
        super().__init__('demo_camera', **kwargs)
        self.done = False
        self.published = self.late = 0
        self._encoding = self._declared('encoding', 'rgb8', 'of the image: rgb8 or bgr8')
        if self._encoding not in ('rgb8', 'bgr8'):
            raise ValueError(f'encoding must be rgb8 or bgr8, not {self._encoding!r}')
        self._frame_id = self._declared('frame_id', 'camera', 'of all headers')
        self._rate = float(self._declared('rate', 10.0, 'frames a second'))
        if not 0 < self._rate <= 1000:
            raise ValueError(f'rate must be above 0 and at most 1000, not {self._rate}')
        self._length = self._declared('length', 0, 'frames, then the node ends; 0: endless')
        self._wait_for = self._declared(
            'wait_for_subscribers', 1, 'subscribers of image before the first frame; 0: none')
        ahead = self._declared('look_ahead', 60, 'frames that are drawn before they are due')
        descriptor = ParameterDescriptor(
            description='frames after which the camera pauses until this is raised; 0: never, -1: '
            'before the first')
        self._until: int = self.declare_parameter('pause_after', 0, descriptor).value
        self.add_post_set_parameters_callback(self._set)
        scene = Scene(
            self._declared('seed', SEED, 'of the scene: the same seed, the same film'),
            self._declared('width', 256, 'pixels'),
            self._declared('height', 256, 'pixels'),
            self._length or None,
            self._scene_options(),
        )
        # The depth covers a reliable subscriber that gets no processor time for seconds.
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        self._image = self.create_publisher(Image, 'image', qos)
        self._truth = self.create_publisher(Image, 'truth', qos)
        self._objects = self.create_publisher(ObjectArray, 'truth_objects', qos)
        self._frames = LookAhead(scene, max(1, ahead))
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._start: int | None = None if self._wait_for else self._steady.now().nanoseconds
        self.create_timer(1 / self._rate, self._tick, clock=self._steady)
        if self._start is None:
            self.get_logger().info(
                f'{scene.width}x{scene.height} pixels at {self._rate:g} Hz, seed {scene.seed}; '
                f'waiting for {self._wait_for} subscribers of {self._image.topic_name}')

    def _set(self, changes: list[Parameter]) -> None:
        for change in changes:
            if change.name == 'pause_after':
                self._until = change.value

    def _tick(self) -> None:
        if self.done:
            return
        now = self._steady.now().nanoseconds
        if self._start is None:
            if self._image.get_subscription_count() < self._wait_for:
                return
            self._start = now + round(SETTLE_SECONDS * 1e9)
        if now < self._start or (self._until and self._until <= self.published):
            return
        try:
            frame = self._frames.next()
        except queue.Empty:
            self.late += 1
            return
        if frame is None:
            self.done = True
            return
        self.publish(frame)

    def publish(self, frame: SceneFrame) -> None:
        """Publish a frame and its truth, stamped now."""
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._frame_id)
        bgr = self._encoding == 'bgr8'
        image = rgb_image(header, frame.image[:, :, ::-1] if bgr else frame.image)
        image.encoding = self._encoding
        # The truth first, so that a subscriber that has the image can have the truth.
        self._objects.publish(truth_objects(header, frame))
        self._truth.publish(label_image(header, frame.labels))
        self._image.publish(image)
        self.published += 1

    def close(self) -> None:
        """Wait until reliable subscribers have all messages, and log what was published."""
        self._frames.close()
        for publisher in (self._image, self._truth, self._objects):
            publisher.wait_for_all_acked(Duration(seconds=2))
        self.get_logger().info(
            f'published {counted(self.published, "frame")}'
            + (f'; {self.late} times the next one was not drawn in time' if self.late else ''))

    def _declared(self, name: str, default: Any, description: str) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return self.declare_parameter(name, default, descriptor).value

    def _scene_options(self) -> SceneOptions:
        """Declare the options of the scene as scene.NAME; 0 or '' means that the seed decides."""
        given: dict[str, Any] = {}
        none = {'balls': 0, 'radius': 0.0, 'cloth': ''}
        for knob in fields(SceneOptions):
            default = getattr(DEMO, knob.name) or none.get(knob.name, 0.0)
            if isinstance(default, tuple):
                default = list(default)
            text = f'{knob.name} of the scene, see detsam2_ros/scene/options.py'
            value = self._declared(f'scene.{knob.name}', default, text)
            if knob.name in none:
                value = value or None
            elif knob.name == 'late_ball_frames':
                value = tuple(value)
            given[knob.name] = value
        return SceneOptions(**given)


def truth_objects(header: Header, frame: SceneFrame) -> ObjectArray:
    """List the balls of a frame: scores are visible shares, boxes are around visible parts."""
    return ObjectArray(
        header=header,
        frame_index=frame.index,
        final=True,
        ids=array('H', frame.ids.tolist()),
        class_ids=array('i', frame.class_ids.tolist()),
        class_names=[CLASS_NAMES[int(key)] for key in frame.class_ids],
        scores=array('f', frame.visible_fraction.tolist()),
        boxes=array('f', frame.boxes.ravel().tolist()),
        visible=np.asarray(frame.visible, bool).tolist(),
        conditioned=[False] * len(frame.ids),
        states=[ObjectArray.CONFIRMED] * len(frame.ids),
    )


class LookAhead:
    """Draws the frames of a scene on a thread, at most `count` of them ahead."""

    def __init__(self, scene: Scene, count: int):
        self._queue: queue.Queue[SceneFrame | None] = queue.Queue(count)
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._draw, args=(scene,), daemon=True)
        self._thread.start()

    def next(self) -> SceneFrame | None:
        """Return the next frame, None after the last; raises queue.Empty when it is not ready."""
        frame = self._queue.get_nowait()
        if frame is None and self._failure is not None:
            raise RuntimeError('the scene could not be drawn') from self._failure
        return frame

    def close(self) -> None:
        """Stop drawing."""
        self._ended.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join(5.0)

    def _draw(self, scene: Scene) -> None:
        try:
            for frame in scene:
                if not self._put(frame):
                    return
        except BaseException as error:  # `next` raises it on the thread that can end the node
            self._failure = error
        self._put(None)

    def _put(self, frame: SceneFrame | None) -> bool:
        while not self._ended.is_set():
            try:
                self._queue.put(frame, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


def main(args: Sequence[str] | None = None) -> int:
    """Run the camera until its last frame, SIGINT or SIGTERM; returns the exit code."""
    cv2.setNumThreads(1)  # the frames are small, and inference wants the cores
    # rclpy's own handlers would end the context before the last images are delivered.
    stop = stop_on_signals()
    if (status := start('demo_camera', ABOUT, args)) is not None:
        return status
    try:
        node = DemoCamera()
    except (ValueError, ParameterException) as error:
        print(f'demo_camera: {error}', file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not (stop.is_set() or node.done):
            executor.spin_once(timeout_sec=0.2)
        node.close()
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
