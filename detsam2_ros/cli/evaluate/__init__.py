# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The command evaluate: quality of results against the truth, at every lag."""
