# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: its subscription, its publishers, and the labels of past frames."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from detsam2_msgs.msg import CompressedMaskCorrection, MaskCorrection, ObjectArray
from detsam2_ros.media.overlay import draw_overlay
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.results.frames import FrameResult, ObjectState
from detsam2_ros.ros.camera_topics import CameraTopics, RefusalLog
from detsam2_ros.ros.detections import DetectionTopic
from detsam2_ros.ros.image_subscription import ImageSubscription
from detsam2_ros.ros.images import (
    CvBridgeUnusable,
    ImageRefused,
    compressed_labels,
    compressed_to_rgb,
    label_image,
    rgb_image,
    to_rgb,
)
from detsam2_ros.ros.parameters.declare import NodeParameters
from detsam2_ros.ros.result_messages import (
    FirstLabels,
    compressed_correction,
    correction,
    object_array,
)
from detsam2_ros.ros.silence_watch import SilenceWatch
from detsam2_ros.ros.standard import Detection2DArray, LabelInfo, class_mask, label_info, tracked
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.frame_queue import QueuedFrame
from detsam2_ros.runtime.worker import INTERNAL, Worker

NO_CV_BRIDGE = 'cv_bridge_unusable'  # a reason to drop an image
OBJECTS_DEPTH = 200
MIN_DEPTH = 10


class Camera:
    """The topics of one camera; name '' is the only camera of a node.

    worker: takes the frames, and is asked to look at detections with detector: topic.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        parameters: NodeParameters,
        accounts: FrameAccounts,
        worker: Worker,
    ):
        self.name = name
        self.accounts = accounts
        self._node = node
        self._worker = worker
        self._topics = CameraTopics(node, name)
        self._refusals = RefusalLog(node.get_logger())
        self._compressed = parameters.image_transport == 'compressed'
        self._overlay_enabled = parameters.overlay
        self._first: dict[int, FirstLabels] = {}
        self.states: Counter[ObjectState] = Counter()  # of the objects of the newest frame
        self.dormant = 0  # objects that are gone and may return
        self._reach = parameters.engine.max_propagation + parameters.engine.window_size
        self.images = ImageSubscription(
            node, self._topics.prefix + 'image', parameters.image_transport,
            parameters.image_reliability, self._on_image, MutuallyExclusiveCallbackGroup())
        self.silence = SilenceWatch(node, self._topics.prefix + 'image', self.images, accounts)
        self.detections: DetectionTopic | None = None  # with detector: topic
        if parameters.detector == 'topic':
            self.detections = DetectionTopic(node, name, self._topics.prefix, worker)
        try:
            self._advertise(parameters)
        except Exception:  # an invalid QoS override: the topics made so far must go
            self.destroy()
            raise

    def _advertise(self, parameters: NodeParameters) -> None:
        config, publisher = parameters.engine, self._topics.publisher
        # With a window of one frame a depth of 2 would lose masks on a subscriber that is busy.
        window = max(2 * config.window_size, MIN_DEPTH)
        reach = max(2 * config.max_propagation, MIN_DEPTH)
        self._masks = publisher(Image, 'masks', QoSProfile(depth=window))
        self._masks_png = publisher(
            CompressedImage, 'masks/compressed', QoSProfile(depth=window))
        # The messages are small, and a busy subscriber should lose none.
        self._objects = publisher(
            ObjectArray, 'objects', QoSProfile(depth=max(window, OBJECTS_DEPTH)))
        self._corrections = publisher(
            MaskCorrection, 'corrections', QoSProfile(depth=reach))
        self._corrections_png = publisher(
            CompressedMaskCorrection, 'corrections/compressed', QoSProfile(depth=reach))
        self._overlay = publisher(
            Image, 'overlay', QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
        self._class_mask = publisher(Image, 'class_mask', QoSProfile(depth=window))
        self._tracked = self._label_info = None
        if LabelInfo is not None:
            self._tracked = publisher(Detection2DArray, 'tracked', QoSProfile(depth=window))
            self._label_info = publisher(
                LabelInfo, 'label_info',
                QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))

    # ---- lifecycle -----------------------------------------------------------------------------

    def subscribe(self) -> None:
        """Subscribe to the images, and to the detections of another node."""
        self.images.open()
        self.silence.start()
        if self.detections is not None:
            self.detections.subscribe()

    def unsubscribe(self) -> None:
        """End the subscriptions."""
        if self.detections is not None:
            self.detections.unsubscribe()
        self.silence.stop()
        self.images.close()

    def destroy(self) -> None:
        """Destroy all topics."""
        self.unsubscribe()
        self._topics.destroy()

    # ---- in ------------------------------------------------------------------------------------

    def look(self, stale_after: float) -> None:
        """Follow the publishers of images, and log why none come; called twice a second."""
        self.images.follow()
        self.silence.look(stale_after)

    def enable_overlay(self, enabled: bool) -> None:
        """Turn the overlay on or off; it is drawn only while it has a subscriber."""
        self._overlay_enabled = enabled

    def _wants_overlay(self) -> bool:
        return self._overlay_enabled and self._overlay.get_subscription_count() > 0

    def _on_image(self, message: Image | CompressedImage) -> None:
        """Convert a message and hand it to the worker; runs on a thread of the executor."""
        received = time.monotonic()
        self.accounts.receive()
        try:
            image = compressed_to_rgb(message) if self._compressed else to_rgb(message)
        except ImageRefused as refusal:
            self.accounts.drop(refusal.reason)
            self._report_refusal(str(refusal))
            return
        except CvBridgeUnusable as error:
            self.accounts.drop(NO_CV_BRIDGE)
            self._report_refusal(f'{error}.')
            return
        except Exception as error:
            # A message can hold anything, and must not end the executor's thread.
            self.accounts.drop(INTERNAL)
            self._report_refusal(f'{type(error).__name__} while converting an image: {error}')
            return
        self.silence.use()
        header = message.header
        stamp = nanoseconds(header.stamp)
        self._worker.offer(
            self.name,
            QueuedFrame(image, stamp, received, header, self._wants_overlay()))

    def _report_refusal(self, text: str) -> None:
        others = 'Further images like this one are counted in /diagnostics, not reported again.'
        self.silence.refuse(text, self._refusals.report(self.images.topic, text, others))

    # ---- out, on the publishing thread ---------------------------------------------------------

    def publish(self, result: FrameResult, header: Any, image: np.ndarray | None) -> None:
        """Publish a result: masks and objects of a new frame, or the correction of a past one.

        image: uint8 [H, W, 3] RGB of a new frame, if it was kept for the overlay.
        """
        if result.revision == 0:
            self._publish_masks(result, header)
            if image is not None and self._wants_overlay():
                drawn = draw_overlay(image, result.labels, result.objects)
                self._overlay.publish(rgb_image(header, drawn))
        else:
            first = self._first[result.index]
            message = correction(result, header, first)
            self._corrections.publish(message)
            if self._corrections_png.get_subscription_count() > 0:
                self._corrections_png.publish(compressed_correction(message))
            self.accounts.correct()

    def _publish_masks(self, result: FrameResult, header: Any) -> None:
        self.states = Counter(thing.state for thing in result.objects)
        # Before anything is sent: corrections need the labels, also when sending fails.
        self._first[result.index] = FirstLabels.of(result)
        if len(self._first) > self._reach:
            del self._first[next(iter(self._first))]
        if self._masks.get_subscription_count() > 0:
            self._masks.publish(label_image(header, result.labels))
        if self._masks_png.get_subscription_count() > 0:
            self._masks_png.publish(compressed_labels(header, result.labels))
        self._objects.publish(object_array(result, header))
        if self._class_mask.get_subscription_count() > 0:
            self._class_mask.publish(class_mask(result, header))
        if self._tracked is not None and self._tracked.get_subscription_count() > 0:
            self._tracked.publish(tracked(result, header))
        now = self._node.get_clock().now().nanoseconds
        self.accounts.publish((now - result.stamp) / 1e9)

    def forget(self) -> None:
        """Drop what is known of past frames: the stream restarts."""
        self._first, self.states, self.dormant = {}, Counter(), 0

    def publish_classes(self, class_names: Mapping[int, str]) -> None:
        """Publish the class table; the topic is latched."""
        if self._label_info is not None:
            header = Image().header
            header.stamp = self._node.get_clock().now().to_msg()
            self._label_info.publish(label_info(header, class_names))
