# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How many threads compute on the CPU: inference leaves room for other processes.

PyTorch takes a thread on every core. Each operation ends when its slowest thread does, so where
another process takes one core, the threads on all others wait. With half of the cores nothing is
lost until others take the other half. A small model has many short operations, and loses most by
waiting; a large one is well served by two threads even where only two cores are. What was measured
is in docs/measured/load.md.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import torch

# Quota and period in microseconds of a container with limited processor time; 'max' without one.
_QUOTA = Path('/sys/fs/cgroup/cpu.max')
_LARGE = 512  # pixels


def use_threads(asked: int, image_size: int) -> int:
    """Let PyTorch and OpenCV compute on so many threads; returns how many.

    asked: 0 = what the user has set by OMP_NUM_THREADS, else half of the cores, but at least 1,
    and 2 for a large model. image_size: pixels, of the model. Call it on the thread that computes.
    """
    if asked or 'OMP_NUM_THREADS' not in os.environ:
        cores = usable_cores()
        least = min(cores, 2 if image_size >= _LARGE else 1)
        torch.set_num_threads(asked or max(least, cores // 2))
    threads = torch.get_num_threads()
    cv2.setNumThreads(threads)
    return threads


def usable_cores(quota: Path = _QUOTA) -> int:
    """Return how many cores this process may keep busy, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    try:
        limit, period = quota.read_text(encoding='ascii').split()
        cores = min(cores or 1, math.floor(int(limit) / int(period)))
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    return max(cores or 1, 1)
