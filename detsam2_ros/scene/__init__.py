# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The rendered billiards table for demo, training, benchmarks and tests."""
