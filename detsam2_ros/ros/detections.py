# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera's subscription to the detections of another node, with `detector: topic`."""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.runtime.detection_inbox import EXPLANATIONS, DetectionInbox, Unused
from detsam2_ros.runtime.detections import MAX_CLASSES, NamedDetections
from detsam2_ros.runtime.worker import Worker

try:
    from vision_msgs.msg import Detection2DArray
except ImportError:  # an optional dependency, see package.xml
    Detection2DArray = None

DEPTH = 10
MAX_BOXES = 1000  # of a message; further ones are only counted
_MAX_NAME = 200
_FAR = 1e9  # pixels; coordinates are clipped to this, since float32 cannot hold all of float64

# Why a detection cannot be used.
REFUSALS = {
    'not_finite': 'the centre, size or angle of a box is not a finite number',
    'no_area': 'the size of a box is 0 or negative',
    'no_result': 'a detection has no result, so it has no class and no score',
    'bad_score': 'a score is not in 0..1',
    'bad_class': f'a class_id is empty, or not at most {_MAX_NAME} printable characters',
    'too_many_boxes': f'a message has more than {MAX_BOXES} detections',
    'too_many_classes': f'detections brought more than {MAX_CLASSES} names of classes',
}


class DetectionTopic:
    """Takes messages and asks the worker to look at them; made where vision_msgs is installed.

    prefix: of the camera's topics. The worker is asked once for many messages.
    """

    def __init__(self, node: LifecycleNode, camera: str, prefix: str, worker: Worker):
        self.inbox = DetectionInbox(self._report_unused)
        self._node = node
        self._log = node.get_logger()
        self.topic = node.resolve_topic_name(prefix + 'detections')
        self._camera = camera
        self._worker = worker
        self._reported: set[str] = set()
        self._subscription: Subscription | None = None
        # A group of its own: many detections must not delay the images.
        self._group = MutuallyExclusiveCallbackGroup()

    def subscribe(self) -> None:
        """Subscribe to the detections."""
        self._subscription = self._node.create_subscription(
            Detection2DArray, self.topic, self._on_message,
            QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT),
            callback_group=self._group,
            qos_overriding_options=QoSOverridingOptions.with_default_policies())

    def unsubscribe(self) -> None:
        """End the subscription; detections that wait for their frame are dropped."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None
            self.inbox.clear(Unused.INACTIVE)

    @property
    def publisher_count(self) -> int:
        """How many publishers the topic has."""
        return self._node.count_publishers(self.topic) if self._subscription else 0

    def _on_message(self, message: Any) -> None:
        try:
            boxes, refused = read_detections(message)
        except Exception as error:  # no message may end the executor's thread
            self.inbox.lose()
            self._report_once(f'{type(error).__name__} while reading detections: {error}')
            return
        for reason in refused:
            self._report_once(f'{REFUSALS[reason]}; such detections are left out')
        if self.inbox.receive(boxes, refused):
            self._worker.look_at_detections(self._camera)

    def _report_unused(self, why: Unused) -> None:
        self._report_once(f'detections are not used: {EXPLANATIONS[why]}')

    def _report_once(self, text: str) -> None:
        if text not in self._reported and len(self._reported) < 32:
            self._reported.add(text)
            self._log.warning(
                f'{self.topic}: {text}. Further ones are counted in /diagnostics, not reported '
                f'again.')


def missing_package() -> str:
    """Return '' where vision_msgs is installed, else a sentence that says what to do."""
    if Detection2DArray is not None:
        return ''
    distribution = os.environ.get('ROS_DISTRO') or '$ROS_DISTRO'
    return (
        f"detector is 'topic', which needs the package vision_msgs: sudo apt install "
        f'ros-{distribution}-vision-msgs')


def read_detections(message: Any) -> tuple[NamedDetections, Counter[str]]:
    """Return a message's boxes, and the count of unusable detections by a key of REFUSALS.

    A rotated box becomes the upright box around it. Of several results the best one counts.
    """
    stamp = nanoseconds(message.header.stamp)
    refused: Counter[str] = Counter()
    rows, classes, scores = [], [], []
    surplus = len(message.detections) - MAX_BOXES
    if surplus > 0:
        refused['too_many_boxes'] = surplus
    for detection in message.detections[:MAX_BOXES]:
        try:
            row = _corners(detection.bbox)
            name, score = _best(detection.results)
        except _Refused as reason:
            refused[str(reason)] += 1
            continue
        rows.append(row)
        classes.append(name)
        scores.append(score)
    boxes = np.array(rows, np.float64).reshape(-1, 4).clip(-_FAR, _FAR).astype(np.float32)
    found = NamedDetections(stamp, boxes, tuple(classes), np.array(scores, np.float32))
    return found, refused


class _Refused(Exception):  # noqa: N818 - it says what happens to the box
    """A detection that cannot be used; the text is a key of REFUSALS."""


def _corners(bbox: Any) -> tuple[float, float, float, float]:
    """Return the upright box around a BoundingBox2D: x0, y0, x1, y1."""
    x, y = bbox.center.position.x, bbox.center.position.y
    width, height, angle = bbox.size_x, bbox.size_y, bbox.center.theta
    if not all(math.isfinite(value) for value in (x, y, width, height, angle)):
        raise _Refused('not_finite')
    if width <= 0 or height <= 0:
        raise _Refused('no_area')
    if angle:
        c, s = abs(math.cos(angle)), abs(math.sin(angle))
        width, height = width * c + height * s, width * s + height * c
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _best(results: Any) -> tuple[str, float]:
    """Return class and score of the best hypothesis."""
    if not results:
        raise _Refused('no_result')
    possible = [r.hypothesis for r in results if 0.0 <= r.hypothesis.score <= 1.0]
    if not possible:
        raise _Refused('bad_score')
    best = max(possible, key=lambda hypothesis: hypothesis.score)
    name = best.class_id.strip()
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise _Refused('bad_class')
    return name, best.score
