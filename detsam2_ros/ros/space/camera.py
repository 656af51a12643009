# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: masks, depth and calibration in, objects in space out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, PointCloud2
from visualization_msgs.msg import MarkerArray

from detsam2_msgs.msg import Object3DArray
from detsam2_ros.client import MaskSubscription, MaskTimeline, TimelineFrame, subscribe
from detsam2_ros.messages.pixels import ImageRefused
from detsam2_ros.ros.camera_topics import CameraTopics, RefusalLog
from detsam2_ros.ros.image_subscription import ImageSubscription
from detsam2_ros.ros.space.markers import Markers
from detsam2_ros.ros.space.messages import (
    Detection3DArray,
    detections,
    object_array,
    point_cloud,
)
from detsam2_ros.ros.space.parameters import SpaceParameters
from detsam2_ros.space.books import Books, Unused
from detsam2_ros.space.camera import CameraRefused, read_camera
from detsam2_ros.space.depth import read_depth
from detsam2_ros.space.stream import Placed, SpaceStream

MIN_DEPTH, OBJECTS_DEPTH = 10, 200  # of queues, as in the node detsam2
_ACK_SECONDS = 0.5  # that the end of the markers may take to reach every RViz


class SpaceCamera:
    """The topics of one camera; name '' is the only camera of a node."""

    def __init__(self, node: LifecycleNode, name: str, parameters: SpaceParameters):
        self.name = name
        self.calibration_refusal = ''  # of the newest camera_info
        self._conflict = ''  # of the calibrations of several publishers, as logged
        self.calibrations = 0  # messages of camera_info that came
        self.failure = ''  # of the last callback that failed: a defect
        self._node, self._parameters = node, parameters
        self._topics = CameraTopics(node, name)
        self._refusals = RefusalLog(node.get_logger())
        self._lock = threading.Lock()
        # Wall time: greater than that of a process that has ended.
        self._stream = SpaceStream(
            parameters.options(), time.time_ns(), lambda stamp: self._timeline.at(stamp))
        self._markers = Markers()
        self._late_corrections = 0  # of timelines before this one
        self._timeline = self._new_timeline()
        self._masks: MaskSubscription | None = None
        self._info: Any = None
        self.depth = ImageSubscription(
            node, self._topics.prefix + 'depth', parameters.depth_transport,
            parameters.depth_reliability, self._on_depth, MutuallyExclusiveCallbackGroup())
        self.info_topic = node.resolve_topic_name(self._topics.prefix + 'camera_info')
        masks = '/'.join(p for p in (parameters.detsam2.rstrip('/'), name, 'masks') if p)
        self.masks_topic = node.resolve_topic_name(masks)
        try:
            self._advertise()
        except Exception:  # an invalid QoS override: the topics made so far must go
            self.destroy()
            raise

    def _advertise(self) -> None:
        given, publisher = self._parameters, self._topics.publisher
        window = max(2 * given.window_size, OBJECTS_DEPTH)
        reach = max(2 * given.max_propagation, MIN_DEPTH)
        self._objects = publisher(Object3DArray, 'objects_3d', QoSProfile(depth=window))
        self._corrections = publisher(
            Object3DArray, 'corrections_3d', QoSProfile(depth=reach))
        self._points = publisher(PointCloud2, 'points', QoSProfile(depth=5))
        self._boxes = publisher(MarkerArray, 'markers', QoSProfile(depth=OBJECTS_DEPTH))
        self._detections = None
        if Detection3DArray is not None:
            self._detections = publisher(
                Detection3DArray, 'detections_3d', QoSProfile(depth=MIN_DEPTH))

    # ---- lifecycle -----------------------------------------------------------------------------

    def subscribe(self) -> None:
        """Subscribe to masks, depth and calibration."""
        given = self._parameters
        self._info = self._node.create_subscription(
            CameraInfo, self._topics.prefix + 'camera_info', self._on_info,
            QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT),
            callback_group=MutuallyExclusiveCallbackGroup(),
            qos_overriding_options=QoSOverridingOptions.with_default_policies())
        self.depth.open()
        self._late_corrections += self._timeline.late_corrections
        self._timeline = self._new_timeline()
        self._masks = subscribe(
            self._node, self._on_frame, namespace=given.detsam2, camera=self.name,
            timeline=self._timeline, depth=max(100, 2 * given.reach),
            compressed=given.masks_transport == 'compressed')

    def _new_timeline(self) -> MaskTimeline:
        given = self._parameters
        return MaskTimeline(
            given.reach, given.max_propagation, max(50, given.reach), given.window_size)

    def unsubscribe(self) -> None:
        """End the subscriptions, publish the frames that wait for depth, and take markers away."""
        if self._masks is not None:
            self._masks.destroy()
            self._masks = None
        self.depth.close()
        if self._info is not None:
            self._node.destroy_subscription(self._info)
            self._info = None
        self._conflict = ''
        self._do(lambda now: self._stream.end())
        nothing = self._markers.clear()
        if nothing is not None and self._node.context.ok():
            self._boxes.publish(nothing)
            # Whoever destroys the publisher next must not take the message back.
            self._boxes.wait_for_all_acked(Duration(seconds=_ACK_SECONDS))

    def destroy(self) -> None:
        """Destroy all topics."""
        self.unsubscribe()
        self._topics.destroy()

    def look(self) -> None:
        """Follow the publishers of depth, and give up depth that is overdue; called often."""
        self.depth.follow()
        self._do(self._stream.look)

    def snapshot(self) -> tuple[Books, int, int]:
        """Return the counts, the frames in reach, and the bytes of their depth images."""
        with self._lock:
            stream, books = self._stream, self._stream.books.copy()
            books.out_of_reach += self._late_corrections + self._timeline.late_corrections
            return books, stream.held_frames, stream.held_bytes

    @property
    def refusal(self) -> str:
        """Why the newest calibration or depth image cannot be used, '' if it can."""
        stream = self._stream
        refusal = self.calibration_refusal or stream.camera_refusal or stream.refusal
        if not refusal and self._conflict and self._node.count_publishers(self.info_topic) > 1:
            refusal = self._conflict
        return refusal

    # ---- in ------------------------------------------------------------------------------------

    def _on_frame(self, frame: TimelineFrame) -> None:
        self._stream.want_points = self._points.get_subscription_count() > 0
        self._do(lambda now: self._stream.add_frame(frame, now))
        self._report(self.info_topic, self._stream.camera_refusal)

    def _on_depth(self, message: Any) -> None:
        try:
            image = read_depth(message)
        except ImageRefused as refusal:
            self._refuse(Unused(refusal.reason), str(refusal))
            return
        except Exception as error:
            # A message can hold anything, and must not end the executor's thread.
            self._refuse(Unused.INTERNAL, f'{type(error).__name__} reading a depth image: {error}')
            return
        self._do(lambda now: self._stream.add_depth(image, now))
        self._report(self.depth.topic, self._stream.refusal)

    def _refuse(self, reason: Unused, text: str) -> None:
        with self._lock:
            self._stream.refuse_depth(reason, text)
        self._report(self.depth.topic, text)

    def _on_info(self, message: CameraInfo) -> None:
        self.calibrations += 1
        try:
            model = read_camera(message, self._parameters.rectified)
        except CameraRefused as refusal:
            self.calibration_refusal = str(refusal)
            self._report(self.info_topic, str(refusal))
            return
        self.calibration_refusal = ''
        if self._stream.camera not in (None, model):
            self._warn_of_conflict()
        self._do(lambda now: self._stream.set_camera(model, now))

    def _warn_of_conflict(self) -> None:
        """Say, once, that the calibration changed and who may have sent the other one."""
        publishers = self._node.get_publishers_info_by_topic(self.info_topic)
        if len(publishers) < 2 or self._conflict:
            return
        names = (f'{p.node_namespace.rstrip("/")}/{p.node_name}' for p in publishers)
        self._conflict = (
            f'{self.info_topic} has calibrations that differ, of {len(publishers)} publishers '
            f'({", ".join(sorted(names))}); the newest counts, so positions may jump: remap '
            'camera_info to that of the segmented image alone')
        self._node.get_logger().warning(self._conflict)

    def _report(self, topic: str, text: str) -> None:
        """Log why something is refused, once for each reason."""
        if text:
            self._refusals.report(
                topic, text,
                'What else is like it is counted in /diagnostics, not reported again.')

    # ---- out -----------------------------------------------------------------------------------

    def _do(self, act: Callable[[float], Iterable[Placed]]) -> None:
        """Do something with the stream, and publish what comes of it, in order."""
        with self._lock:
            try:
                found = list(act(time.monotonic()))
            except Exception as error:
                found, self.failure = [], f'{type(error).__name__}: {error}'
            self.failure = self._stream.failure or self.failure
            for placed in found:
                try:
                    self._publish(placed)
                except Exception as error:  # the others must come nevertheless
                    self.failure = f'{type(error).__name__}: {error}'
            if self.failure:
                self._report(self.masks_topic, f'a frame could not be placed: {self.failure}')

    def _publish(self, placed: Placed) -> None:
        frame = placed.frame
        (self._corrections if frame.revision else self._objects).publish(object_array(frame))
        if self._boxes.get_subscription_count() > 0:
            markers = self._markers.of(frame)
            if markers is not None:
                self._boxes.publish(markers)
        if frame.revision:
            return
        if self._detections is not None and self._detections.get_subscription_count() > 0:
            self._detections.publish(detections(frame))
        if placed.points is not None and self._points.get_subscription_count() > 0:
            self._points.publish(point_cloud(frame, placed.points))
