# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Images, results and stamps as fields of messages, without ROS, for the node and for bags."""
