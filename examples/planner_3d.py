# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A planner in metres: it knows the nearest obstacle, by id, and revises what it knew.

It keeps where each object was on the last frames. When detsam2_space corrects a frame, that
frame's positions are replaced, and what was derived from them is derived again: speed, and which
obstacle is the nearest. An object that is withdrawn leaves all frames at once, as if it had never
been there. Tentative objects count, since to brake for nothing is better than not to brake.

Where depth goes blind, an object is in the mask but has no position. That is not free space: its
last position counts for a while, and the line says how old it is; after that, and from the start
where there never was one, the line says that something is there at an unknown distance.

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

from detsam2_ros.client import Object3D, Reason, SpaceFrame, SpaceTimeline, subscribe_space
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
    age: float  # seconds from `stamp` to the newest frame
    blind: bool  # it was visible after `stamp`, without a position


@dataclass(frozen=True)
class Scene:
    """What is known of all objects."""

    obstacles: dict[int, Obstacle]  # by id, those with a position that is not too old
    unplaced: dict[int, str]  # by id, names of those that are there at an unknown distance

    @property
    def nearest(self) -> Obstacle | None:
        """The nearest obstacle; None without any. What is unplaced may be nearer."""
        return min(self.obstacles.values(), key=lambda each: each.distance, default=None)

    @property
    def surely_nearest(self) -> Obstacle | None:
        """The nearest obstacle; None where something unplaced may be nearer."""
        return None if self.unplaced else self.nearest


class Obstacles:
    """The objects of the last frames. Needs no ROS but for the messages.

    memory: frames that count, at least M + K of the node to use every correction. forget: seconds
    after which a position does not count any more, nor an object that is not seen any more.
    """

    def __init__(self, memory: int = 60, forget: float = 1.0) -> None:
        self.timeline = SpaceTimeline(length=memory)
        self.forget = forget

    def scene(self) -> Scene:
        """Return all obstacles, from what is known of the frames now.

        That is a function of the frames and of nothing else: whether a position was right at once
        or was corrected makes no difference.
        """
        frames = self.timeline.frames()
        placed: dict[int, list[tuple[SpaceFrame, Object3D]]] = {}
        seen: dict[int, tuple[SpaceFrame, Object3D]] = {}  # newest sighting of each, placed or not
        oldest = frames[-1].stamp - 1e9 * self.forget if frames else 0
        for frame in frames:
            for thing in frame.objects:
                if thing.valid:
                    placed.setdefault(thing.id, []).append((frame, thing))
                if thing.position.reason is not Reason.NOT_VISIBLE:
                    seen[thing.id] = frame, thing
        obstacles = {
            id_: self._obstacle(sightings, seen[id_][0], frames[-1])
            for id_, sightings in placed.items()
            if sightings[-1][0].stamp >= oldest
        }
        unplaced = {
            id_: thing.class_name
            for id_, (frame, thing) in seen.items()
            if frame.stamp >= oldest and id_ not in obstacles
        }
        return Scene(obstacles, unplaced)

    def _obstacle(
        self, sightings: list[tuple[SpaceFrame, Object3D]], seen: SpaceFrame, newest: SpaceFrame
    ) -> Obstacle:
        frame, thing = sightings[-1]
        stamps = np.array([s.stamp - frame.stamp for s, _ in sightings[-10:]]) / 1e9
        away = np.array([_distance(t) for _, t in sightings[-10:]])
        slope = np.polyfit(stamps, away, 1)[0] if np.ptp(stamps) > 0 else 0.0
        return Obstacle(
            id=thing.id,
            name=thing.class_name,
            stamp=frame.stamp,
            frame_id=frame.frame_id,
            point=thing.position.centroid,
            distance=_distance(thing),
            closing=-float(slope),
            age=(newest.stamp - frame.stamp) / 1e9,
            blind=seen.stamp > frame.stamp,
        )


def _distance(thing: Object3D) -> float:
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
        self.before = Scene({}, {})
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
        before, now = self.before, self.obstacles.scene()
        self.before = now
        if (nearest := now.surely_nearest) is not None:
            message = PointStamped()
            seconds = divmod(nearest.stamp, 10**9)
            message.header.stamp.sec, message.header.stamp.nanosec = seconds
            message.header.frame_id = nearest.frame_id
            message.point.x, message.point.y, message.point.z = nearest.point
            self.points.publish(message)
        if _gist(before) != _gist(now) or frame.revision and before != now or frame.withdrawn_ids:
            line = plan(frame, now)
            self.get_logger().info(line)
            self.plans.publish(String(data=line))


def _gist(scene: Scene) -> Any:
    """Return what must not change without a line."""
    nearest = scene.nearest
    return nearest and (nearest.id, nearest.age > 0, nearest.blind), scene.unplaced


def plan(frame: SpaceFrame, scene: Scene) -> str:
    """Say what is the nearest obstacle now, and what made it so."""
    why, nearest = f'frame {frame.index}', scene.nearest
    if frame.revision:
        ids = ', '.join(map(str, frame.withdrawn_ids))
        gone = f', withdrawn {ids}' if ids else ''
        why += f' corrected (revision {frame.revision}{gone})'
    parts = []
    if nearest is not None:
        pace = f'closing at {nearest.closing:.2f} m/s' if nearest.closing > 0.02 else 'not closing'
        parts = [f'nearest is {nearest.id} {nearest.name} at {nearest.distance:.2f} m', pace]
        if nearest.age > 0:
            since = 'visible without a position since' if nearest.blind else 'not seen since'
            parts.append(f'as of {nearest.age:.1f} s ago, {since}')
    if scene.unplaced:
        names = ', '.join(f'{id_} {name}' for id_, name in sorted(scene.unplaced.items()))
        parts.append(f'at an unknown distance {names}')
    return f'{why}: {", ".join(parts) or "nothing in the way"}'


def main() -> None:
    """Run the node until it is interrupted."""
    run_node(Planner3D)


if __name__ == '__main__':
    main()
