# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How many threads compute: what was asked for, what the user has set, or half of the cores."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2
import pytest
import torch

from detsam2_ros.ros import threads


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.mark.parametrize(
    ('asked', 'environment', 'cores', 'small', 'large'),
    [
        (0, None, 8, 4, 4),
        (0, None, 3, 1, 2),
        (0, None, 2, 1, 2),
        (0, None, 1, 1, 1),
        (3, None, 8, 3, 3),
        (3, '2', 8, 3, 3),
        (0, '2', 8, 2, 2),
    ],
)
def test_threads(asked, environment, cores, small, large, monkeypatch):
    monkeypatch.setattr(threads, 'usable_cores', lambda: cores)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    torch.set_num_threads(cores)
    if environment:
        monkeypatch.setenv('OMP_NUM_THREADS', environment)
        torch.set_num_threads(int(environment))  # as PyTorch does when it is loaded
    for image_size, used in ((256, small), (1024, large)):
        assert threads.use_threads(asked, image_size) == used
        assert torch.get_num_threads() == cv2.getNumThreads() == used


@pytest.mark.parametrize(('given', 'policy'), [(None, 'PASSIVE'), ('ACTIVE', 'ACTIVE')])
def test_threads_of_the_node_sleep_while_they_wait_unless_the_user_says_otherwise(given, policy):
    # libgomp, which PyTorch brings, reads the variable when it is loaded, and then never again.
    code = 'import os, sys, detsam2_ros.ros; print(os.environ["OMP_WAIT_POLICY"], *sys.modules)'
    environment = {name: each for name, each in os.environ.items() if name != 'OMP_WAIT_POLICY'}
    if given:
        environment['OMP_WAIT_POLICY'] = given
    said = subprocess.run(
        [sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said[0] == policy and 'torch' not in said


@pytest.mark.parametrize(
    ('quota', 'cores'),
    [(None, 8), ('max 100000\n', 8), ('250000 100000\n', 2), ('50000 100000\n', 1), ('odd', 8),
     ('9000000 100000\n', 8)],
)  # fmt: skip
def test_cores_of_a_container(quota, cores, tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)), raising=False)
    file = tmp_path / 'cpu.max'
    if quota is not None:
        file.write_text(quota)
    assert threads.usable_cores(file) == cores
