# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory bank files: what they hold, and how they are read, checked and written."""
