# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node detsam2_space. Names that the node detsam2 has too mean the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rclpy.node import Node

from detsam2_ros.ros.parameters.spec import (
    ParameterError,
    ParameterSpec,
    camera_problems,
    declare,
    fix,
    plain,
)
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
SPECS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        'autostart', True, 'Configure and activate at start, without a lifecycle manager.'
    ),
    ParameterSpec(
        'bond',
        False,
        "Keep a bond with nav2's lifecycle manager while active. Needs the package bondpy.",
    ),
    ParameterSpec(
        'detsam2',
        'detsam2',
        'Name of the node whose masks are placed; without a / in front it is sought in the '
        'namespace of this node.',
    ),
    ParameterSpec(
        'cameras',
        (),
        'Names of the cameras, as the node detsam2 has them. [front, rear] subscribes to '
        '~/front/depth, ~/front/camera_info and so on. Empty: one camera without a name.',
    ),
    ParameterSpec(
        'window_size',
        10,
        'K of the node detsam2: corrections come for M + K frames back, and depth is kept for as '
        'many.',
        1,
        1000,
    ),
    ParameterSpec('max_propagation', 40, 'M of the node detsam2, see window_size.', 1, 10000),
    ParameterSpec(
        'masks_transport',
        'raw',
        'Masks and corrections to subscribe to: raw, or as PNG, for a network.',
        choices=('raw', 'compressed'),
    ),
    ParameterSpec(
        'depth_transport',
        'raw',
        'Depth images to subscribe to: sensor_msgs/Image on depth, or the PNG of image_transport '
        'on depth/compressed or depth/compressedDepth.',
        choices=('raw', 'compressed', 'compressedDepth'),
    ),
    ParameterSpec(
        'depth_reliability',
        'auto',
        'Reliability of the subscription to depth images, as image_reliability of the node '
        'detsam2.',
        choices=('auto', 'reliable', 'best_effort'),
    ),
    ParameterSpec(
        'rectified',
        False,
        'The segmented image and the depth image are rectified: P of camera_info holds, without '
        'distortion. Otherwise K, D and R hold.',
    ),
    ParameterSpec(
        'max_stamp_difference',
        0.02,
        'A frame without a depth image of its very stamp takes the nearest one within this. 0: '
        'the very stamp only.',
        0.0,
        10.0,
        unit='s',
    ),
    ParameterSpec(
        'max_depth_delay',
        0.5,
        'A frame waits so long for its depth image, then it is published without positions. Depth '
        'that comes later makes a correction.',
        0.0,
        60.0,
        unit='s',
    ),
    ParameterSpec(
        'check_frame_id',
        True,
        'Refuse a depth image or a calibration whose frame_id is not that of the masks.',
    ),
    ParameterSpec(
        'erosion',
        MeasureOptions.erosion,
        'A mask loses so many pixels all around before its depth is read: along edges a depth '
        'camera mixes near and far.',
        0,
        50,
        unit='pixels',
    ),
    ParameterSpec(
        'min_points',
        MeasureOptions.min_points,
        'An object with fewer points has no position.',
        1,
        100000,
    ),
    ParameterSpec(
        'min_depth_share',
        MeasureOptions.min_share,
        'An object of whose pixels a smaller share has depth has no position.',
        0.0,
        1.0,
    ),
    ParameterSpec(
        'max_pixels',
        MeasureOptions.max_pixels,
        'Of an object whose box has more pixels, every second, third, ... row and column counts: '
        'what it costs, and how dense its part of the point cloud is.',
        100,
        10000000,
    ),
    ParameterSpec(
        'diagnostics_period',
        1.0,
        'Time between two messages on /diagnostics.',
        0.1,
        3600.0,
        unit='s',
    ),
)


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
            waiting=2 * self.window_size + 40,
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
    if not values.get('detsam2', 'detsam2').strip('/ '):
        problems.append('detsam2 is empty; name the node whose masks are to be placed')
    if problems:
        raise ParameterError('; '.join(problems))
    return SpaceParameters(**values)
