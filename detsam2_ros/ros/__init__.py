# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 node: thin glue around the engine."""

import os

# Before PyTorch is loaded, which reads it then: threads that wait for others sleep. By default
# they burn their cores, and beside busy processes most of the node's processor time would go so.
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
