# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The reference that the engine is compared with: sam2's own video predictor."""
