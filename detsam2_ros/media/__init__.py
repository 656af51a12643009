# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Video files, frame sheets, overlays and timelines, for every command."""
