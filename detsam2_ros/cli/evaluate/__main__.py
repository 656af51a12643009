# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""python -m detsam2_ros.cli.evaluate."""

from detsam2_ros.programs import evaluate

if __name__ == '__main__':
    evaluate()
