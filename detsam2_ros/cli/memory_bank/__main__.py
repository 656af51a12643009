# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""python -m detsam2_ros.cli.memory_bank."""

import sys

from detsam2_ros.cli.memory_bank.main import main

if __name__ == '__main__':
    sys.exit(main())
