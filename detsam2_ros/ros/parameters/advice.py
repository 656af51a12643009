# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is allowed and still not advised: one sentence for the log."""

from __future__ import annotations

from detsam2_ros.engine.tracking.tentative import decides_in_time, reach_to_decide
from detsam2_ros.ros.parameters.declare import NodeParameters


def undecided_objects(parameters: NodeParameters) -> str:
    """Say that frames become final before it is known whether their objects are there.

    '' where that cannot be, and where no detection starts an object as tentative.
    """
    config = parameters.engine
    if config.confirm_detections < 2:
        return ''
    if parameters.detector == 'topic':
        interval, rate = 1, 'even with detections on every frame'
    elif parameters.detector == 'yolo' and parameters.detector_model:
        interval, rate = config.detect_interval, f'detect_interval ({config.detect_interval})'
    else:
        return ''
    if interval == 0 or decides_in_time(config, interval):
        return ''
    return (
        f'max_propagation ({config.max_propagation}) is too small for window_size '
        f'({config.window_size}), {rate} and confirm_detections ({config.confirm_detections}): '
        f'frames become final before later detections confirm or withdraw their objects, so final '
        f'frames may show tentative ones; set max_propagation to '
        f'{reach_to_decide(config, interval)} or more'
    )
