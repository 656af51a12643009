# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the node detsam2_space: declared, read and validated together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from detsam2_ros.ros.parameters.checks import (
    ParameterError,
    camera_problems,
    declare,
    fix,
    plain,
)
from detsam2_ros.ros.space.table import SPECS
from detsam2_ros.space.measure import MeasureOptions
from detsam2_ros.space.stream import SpaceOptions

# The node's own names under ~/.
TAKEN = frozenset({
    'depth', 'camera_info', 'objects_3d', 'corrections_3d', 'detections_3d', 'points', 'markers',
    'transition_event', 'change_state', 'get_state', 'get_available_states',
    'get_available_transitions', 'get_transition_graph', 'get_parameters', 'set_parameters',
    'set_parameters_atomically', 'list_parameters', 'describe_parameters', 'get_parameter_types',
    'get_type_description',
})  # fmt: skip


@dataclass(frozen=True)
class SpaceParameters:
    """All parameters of the node, valid together; names and meaning as in SPECS."""

    autostart: bool
    bond: bool
    detsam2: str
    cameras: tuple[str, ...]
    window_size: int
    max_propagation: int
    masks_transport: str
    depth_transport: str
    depth_reliability: str
    rectified: bool
    max_stamp_difference: float
    max_depth_delay: float
    max_waiting_depth: int
    check_frame_id: bool
    erosion: int
    min_points: int
    min_depth_share: float
    max_pixels: int
    diagnostics_period: float

    @property
    def camera_names(self) -> tuple[str, ...]:
        """One name for each camera; '' is the name of a single camera without one."""
        return self.cameras or ('',)

    @property
    def reach(self) -> int:
        """How many frames back from the newest corrections come for."""
        return self.max_propagation + self.window_size

    def options(self) -> SpaceOptions:
        """Return what a SpaceStream is to know."""
        return SpaceOptions(
            reach=self.reach,
            waiting=self.max_waiting_depth,
            max_stamp_difference=round(1e9 * self.max_stamp_difference),
            max_depth_delay=self.max_depth_delay,
            check_frame_id=self.check_frame_id,
            measure=MeasureOptions(
                self.erosion, self.min_points, self.min_depth_share, max_pixels=self.max_pixels
            ),
        )


def declare_space_parameters(node: Node) -> SpaceParameters:
    """Declare and read all parameters; they are set at start only.

    Raises ParameterError that lists every value of the wrong type or out of range.
    """
    values: dict[str, Any] = {}
    problems = []
    for spec in SPECS:
        try:
            values[spec.name] = fix(node, spec, declare(node, spec, plain(spec.default)))
        except ParameterError as error:
            problems.append(str(error))
    problems += camera_problems(values.get('cameras', ()), TAKEN)
    problems += _name_problems(node, values.get('detsam2', 'detsam2'))
    if problems:
        raise ParameterError('; '.join(problems))
    return SpaceParameters(**values)


def _name_problems(node: Node, name: str) -> list[str]:
    """Return what is wrong with the name of the node detsam2, none or one."""
    if not name.strip('/ '):
        return ['detsam2 is empty; name the node whose masks are to be placed']
    try:
        topic = expand_topic_name(
            f'{name.rstrip("/")}/masks', node.get_name(), node.get_namespace())
        validate_full_topic_name(topic)
    except (ValueError, InvalidTopicNameException):
        return [
            f'detsam2: {name!r} cannot be the name of a node; give its name, such as /detsam2 or '
            '/robot/detsam2: letters, digits and underscores between single slashes, and no digit '
            'behind a slash'
        ]
    return []
