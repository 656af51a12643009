# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Commands for the shell: segment a video file, look into memory banks."""
