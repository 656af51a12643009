# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo: a rendered camera, a recorder and a story; the tracker does not need them."""
