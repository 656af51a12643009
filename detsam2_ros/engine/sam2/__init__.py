# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""SAM 2 as functions of tensors; no stream, no object id and no class in here."""
