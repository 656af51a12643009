# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Threads, queues and books between cameras and the engine; no ROS in here."""
