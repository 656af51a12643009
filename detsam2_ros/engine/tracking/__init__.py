# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One stream: what it holds, who is who, how it is tracked, revised and edited."""
