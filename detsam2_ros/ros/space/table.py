# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every parameter of the node detsam2_space, once; no ROS in here.

Names that the node detsam2 has too mean the same.
"""

from __future__ import annotations

from detsam2_ros.ros.parameters.spec import AUTOSTART, BOND, DIAGNOSTICS_PERIOD, ParameterSpec
from detsam2_ros.space.measure import MeasureOptions

SPECS: tuple[ParameterSpec, ...] = (
    AUTOSTART,
    BOND,
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
        'max_waiting_depth',
        120,
        'So many depth images wait for the masks of their frame, at most; then the oldest goes. '
        'It takes the latency of masks times the rate of depth.',
        10,
        10000,
        unit='images',
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
        'Of an object whose mask has more pixels, every second, third, ... row and column counts: '
        'what it costs, and how dense its part of the point cloud is.',
        100,
        10000000,
    ),
    DIAGNOSTICS_PERIOD,
)
