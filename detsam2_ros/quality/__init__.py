# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Quality against lag: measures of masks that are revised, and the formats they are read from."""
