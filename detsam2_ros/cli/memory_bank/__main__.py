# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""python -m detsam2_ros.cli.memory_bank."""

from detsam2_ros.programs import memory_bank

if __name__ == '__main__':
    memory_bank()
