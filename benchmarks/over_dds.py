# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node in a real graph, as a section of performance.py: runs node.py as a process."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

from benchmarks.place import ROOT, Place

START_S = 240.0  # for two processes, models and discovery


def available() -> bool:
    """Tell whether ROS 2 is there."""
    return importlib.util.find_spec('rclpy') is not None


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Run node.py. job: width, height, encoding, rate, seconds; mode of the real engine, or ''."""
    command = [sys.executable, str(ROOT / 'benchmarks' / 'node.py'), '--json']
    for name in ('width', 'height', 'rate', 'seconds'):
        command += [f'--{name}', str(job[name])]
    command += ['--encodings', job['encoding'], *(['--mode', job['mode']] if job['mode'] else [])]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=START_S + job['seconds'], check=False
    )
    if done.returncode:
        raise RuntimeError(f'node.py ended with {done.returncode}: {done.stderr.strip()[-2000:]}')
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
