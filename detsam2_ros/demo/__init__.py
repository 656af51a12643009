# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Synthetic data and example nodes; nothing here is needed to run the tracker."""
