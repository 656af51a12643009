# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Recorded bags in, bags with masks out; without ROS, on the library rosbags."""

from detsam2_ros.bags.errors import BagError
from detsam2_ros.bags.job import BagReport, Job, segment

__all__ = ['BagError', 'BagReport', 'Job', 'segment']
