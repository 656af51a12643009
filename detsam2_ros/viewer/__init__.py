# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A live look at a running node in a web browser; needs the library rerun-sdk."""
