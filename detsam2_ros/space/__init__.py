# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where objects are in space: masks, depth images and a camera's calibration; no ROS, no torch."""
