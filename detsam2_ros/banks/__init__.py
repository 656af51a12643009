# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory banks as something that a person designs: building, inspecting, evaluating them."""
