# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What finds boxes: the protocol, YOLO, and the table of class names."""
