# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node detsam2_space: thin glue around `detsam2_ros.space`; it loads no torch."""
