# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
r"""An external detector for detsam2: finds balls by colour, publishes Detection2DArray.

    ros2 run detsam2_ros demo_camera
    python examples/external_detector.py --ros-args -r image:=/image -r detections:=/balls
    ros2 launch detsam2_ros detsam2.launch.py image:=/image \
        detector:=topic detections:=/balls

Any node that publishes boxes can replace it. Each message must have the header of its image.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from detsam2_ros.messages.pixels import ImageRefused, to_rgb
from detsam2_ros.shutdown_race import run_node

# Where colours lie on OpenCV's circle of 180 hues.
HUES = {'red': 0, 'orange': 13, 'yellow': 27, 'green': 65, 'blue': 113, 'purple': 138}
VIVID, BRIGHT = 110, 60  # pixels of less saturation or value have no colour
CLOTH_SHARE, CLOTH_HUES = 0.3, 14  # a hue with this share, and hues this near, are the table


class Found(NamedTuple):
    """A box that was found."""

    name: str
    box: tuple[int, int, int, int]  # xyxy pixels
    score: float


def find_balls(rgb: np.ndarray) -> list[Found]:
    """Find round spots of one colour, in uint8 [H, W, 3]; the score is how round they are."""
    side = min(rgb.shape[:2])
    hue, saturation, value = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    vivid = (saturation >= VIVID) & (value >= BRIGHT)
    usual = np.bincount(hue[vivid], minlength=180)
    if usual.sum() >= CLOTH_SHARE * hue.size:
        vivid &= _apart(hue, int(usual.argmax())) > CLOTH_HUES
    nearest = np.argmin([_apart(hue, at) for at in HUES.values()], axis=0)
    found = []
    for number, name in enumerate(HUES):
        spots = (vivid & (nearest == number)).astype(np.uint8)
        spots = cv2.morphologyEx(spots, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, _, boxes, _ = cv2.connectedComponentsWithStats(spots)
        for x, y, width, height, area in boxes[1:]:
            longest, shortest = max(width, height), min(width, height)
            full = area / (width * height * np.pi / 4)  # 1 for a disc
            if 0.06 * side <= shortest and longest <= 0.2 * side and full >= 0.75:
                score = min(full, 1.0) * shortest / longest
                found.append(Found(name, (x, y, x + width, y + height), float(score)))
    return found


def _apart(hue: np.ndarray, other: int) -> np.ndarray:
    """Return the distances of hues from another hue, around the circle."""
    away = np.abs(hue.astype(np.int16) - other)
    return np.minimum(away, 180 - away)


class ColourDetector(Node):
    """Detects on every `interval`-th image and publishes with the header of the image."""

    def __init__(self) -> None:
        super().__init__('colour_detector')
        self._interval = self.declare_parameter('interval', 10).value
        self._seen = 0
        self._publisher = self.create_publisher(Detection2DArray, 'detections', 10)
        self.create_subscription(Image, 'image', self.on_image, qos_profile_sensor_data)

    def on_image(self, message: Image) -> None:
        """Detect on every `interval`-th image."""
        self._seen += 1
        if (self._seen - 1) % self._interval:
            return
        try:
            found = find_balls(to_rgb(message))
        except ImageRefused as refusal:
            self.get_logger().error(str(refusal), throttle_duration_sec=10.0)
            return
        array = Detection2DArray(header=message.header)
        array.detections = [detection(one, message) for one in found]
        self._publisher.publish(array)
        self.get_logger().info(', '.join(f'{f.name} {f.score:.2f}' for f in found) or 'nothing')


def detection(found: Found, image: Image) -> Detection2D:
    """Make the message for a box."""
    x0, y0, x1, y1 = (float(side) for side in found.box)
    message = Detection2D(header=image.header)
    message.bbox.center.position.x, message.bbox.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2
    message.bbox.size_x, message.bbox.size_y = x1 - x0, y1 - y0
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = found.name  # a name, or the number of a class
    result.hypothesis.score = found.score
    message.results.append(result)
    return message


def main() -> None:
    """Run the node until it is interrupted."""
    run_node(ColourDetector)


if __name__ == '__main__':
    main()
