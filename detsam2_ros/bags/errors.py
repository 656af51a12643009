# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a user of bags can put right."""

from __future__ import annotations


class BagError(Exception):
    """A bag that cannot be read, segmented or written; the message says what to do."""
