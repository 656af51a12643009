# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Video instance segmentation for ROS 2: a detector prompts SAM 2, which corrects past frames."""

__version__ = '0.1.0'
