# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Training and evaluation of the shipped small checkpoints."""
