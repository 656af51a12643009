# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory banks as something a person designs: built from annotations, looked at, judged."""
