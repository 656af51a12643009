# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo node that records and scores the messages of a detsam2 node."""
