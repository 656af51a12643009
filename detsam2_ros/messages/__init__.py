# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What images and results are as messages, without ROS: shared by the node and by bags."""
