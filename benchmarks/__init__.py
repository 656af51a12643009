# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measurements of speed and quality; see README.md."""

import os

# One thread unless the caller says otherwise: before numpy and torch are loaded.
os.environ.setdefault('OMP_NUM_THREADS', '1')
