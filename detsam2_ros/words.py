# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Numbers in words."""


def counted(count: int, one: str, many: str = '') -> str:
    """Return '1 entry', '2 entries'."""
    return f'{count} {one if count == 1 else many or one + "s"}'
