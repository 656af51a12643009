# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks share: the place, taking turns, results that are kept, pages."""
