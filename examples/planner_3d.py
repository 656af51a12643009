# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A planner in metres: it knows the nearest obstacle, by id, and revises what it knew.

It keeps where each object was on the last frames. When detsam2_space corrects a frame, that
frame's positions are replaced, and what was derived from them is derived again: speed, and which
obstacle is the nearest. An object that is withdrawn leaves all frames at once, as if it had never
been there. Tentative objects count, since to brake for nothing is better than not to brake.

    python examples/planner_3d.py --ros-args -p space:=/detsam2_space

Topics:
    ~/nearest  geometry_msgs/PointStamped  the nearest obstacle, with the header of its image
    ~/plan     std_msgs/String             one line for each change
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped
from rclpy.node import Node
from std_msgs.msg import String

from detsam2_ros.client import SpaceFrame, SpaceTimeline, subscribe_space
from detsam2_ros.shutdown_race import run_node


@dataclass(frozen=True)
class Obstacle:
    """What is known of one object."""

    id: int
    name: str
    stamp: int  # nanoseconds, of the newest frame on which it has a position
    frame_id: str
    point: tuple[float, float, float]  # of its visible surface, metres, camera's optical frame
    distance: float  # to the nearest side of its box, metres
    closing: float  # m/s by which the distance falls; 0 of one frame alone


class Obstacles:
    """The objects of the last frames. Needs no ROS but for the messages.

    memory: frames that count, at least M + K of the node to use every correction. forget: seconds
    after which an object that has no position any more is no obstacle.
    """

    def __init__(self, memory: int = 60, forget: float = 1.0) -> None:
        self.timeline = SpaceTimeline(length=memory)
        self.forget = forget

    def known(self) -> dict[int, Obstacle]:
        """Return all obstacles by id, from what is known of the frames now.

        That is a function of the frames and of nothing else: whether a position was right at once
        or was corrected makes no difference.
        """
        frames = self.timeline.frames()
        seen: dict[int, list[tuple[SpaceFrame, Any]]] = {}
        for frame in frames:
            for thing in frame.objects:
                if thing.valid:
                    seen.setdefault(thing.id, []).append((frame, thing))
        newest = frames[-1].stamp if frames else 0
        return {
            id_: self._obstacle(id_, sightings)
            for id_, sightings in seen.items()
            if newest - sightings[-1][0].stamp <= 1e9 * self.forget
        }

    def nearest(self) -> Obstacle | None:
        """Return the nearest obstacle; None without any."""
        return min(self.known().values(), key=lambda each: each.distance, default=None)

    def _obstacle(self, id_: int, sightings: list[tuple[SpaceFrame, Any]]) -> Obstacle:
        frame, thing = sightings[-1]
        stamps = np.array([s.stamp - frame.stamp for s, _ in sightings[-10:]]) / 1e9
        away = np.array([_distance(t) for _, t in sightings[-10:]])
        slope = np.polyfit(stamps, away, 1)[0] if np.ptp(stamps) > 0 else 0.0
        return Obstacle(
            id=id_,
            name=thing.class_name,
            stamp=frame.stamp,
            frame_id=frame.frame_id,
            point=thing.position.centroid,
            distance=_distance(thing),
            closing=-float(slope),
        )


def _distance(thing: Any) -> float:
    """Return how far the box of an object is from the camera."""
    low, high = thing.position.box_min, thing.position.box_max
    return math.hypot(*(max(a, min(0.0, b)) for a, b in zip(low, high, strict=True)))


class Planner3D(Node):
    """Feeds the obstacles from the topics of detsam2_space, and publishes the nearest."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('planner_3d', **kwargs)
        space = self.declare_parameter('space', 'detsam2_space').value  # full name of the node
        camera = self.declare_parameter('camera', '').value
        self.obstacles = Obstacles(self.declare_parameter('memory', 60).value)
        self.before: Obstacle | None = None
        self.points = self.create_publisher(PointStamped, '~/nearest', 10)
        self.plans = self.create_publisher(String, '~/plan', 10)
        subscribe_space(
            self,
            self.on_frame,
            namespace=space,
            camera=camera,
            timeline=self.obstacles.timeline,
        )

    def on_frame(self, frame: SpaceFrame) -> None:
        """Take a frame that is new (revision 0) or better known (revision 1 and up)."""
        before, now = self.before, self.obstacles.nearest()
        self.before = now
        if now is not None:
            message = PointStamped()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now.stamp, 10**9)
            message.header.frame_id = now.frame_id
            message.point.x, message.point.y, message.point.z = now.point
            self.points.publish(message)
        changed = (before and before.id) != (now and now.id)
        if changed or frame.revision and before != now or frame.withdrawn_ids:
            line = plan(frame, now)
            self.get_logger().info(line)
            self.plans.publish(String(data=line))


def plan(frame: SpaceFrame, nearest: Obstacle | None) -> str:
    """Say what is the nearest obstacle now, and what made it so."""
    why = f'frame {frame.index}'
    if frame.revision:
        ids = ', '.join(map(str, frame.withdrawn_ids))
        gone = f', withdrawn {ids}' if ids else ''
        why += f' corrected (revision {frame.revision}{gone})'
    if nearest is None:
        return f'{why}: nothing in the way'
    pace = f'closing at {nearest.closing:.2f} m/s' if nearest.closing > 0.02 else 'not closing'
    return f'{why}: nearest is {nearest.id} {nearest.name} at {nearest.distance:.2f} m, {pace}'


def main() -> None:
    """Run the node until it is interrupted."""
    run_node(Planner3D)


if __name__ == '__main__':
    main()
