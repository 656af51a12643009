# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The programs as processes: Ctrl-C while they import what they need."""

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

PROGRAMS = {  # name: module and arguments
    'segment_video': ('detsam2_ros.cli.segment_video', 'none.mp4', '-o', 'none'),
    'segment_bag': ('detsam2_ros.cli.segment_bag', 'none.mcap', '-o', 'none'),
    'memory_bank': ('detsam2_ros.cli.memory_bank', 'inspect', 'none'),
    'evaluate': ('detsam2_ros.cli.evaluate', 'none', '--truth', 'none'),
    'detsam2': ('detsam2_ros.ros.node',),
    'demo_camera': ('detsam2_ros.demo.camera',),
}


def interrupted(command: Sequence[str], module: str) -> tuple[int, list[str]]:
    """Send SIGINT once a module was imported; returns the exit code and what else was written."""
    process = subprocess.Popen(
        [sys.executable, '-X', 'importtime', '-m', *command],
        stderr=subprocess.PIPE, text=True,
        # A shell without job control has its background processes ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.split('|')[-1].strip() == module:
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=60)
    return process.returncode, [
        line for line in rest.splitlines() if line and not line.startswith('import time:')]


@pytest.mark.parametrize('module', ['numpy.version', 'numpy', 'torch.types', 'torch.nn'])
@pytest.mark.parametrize('program', ['segment_video', 'segment_bag', 'memory_bank'])
def test_ctrl_c_during_imports_is_quiet(program: str, module: str) -> None:
    assert interrupted(PROGRAMS[program], module) == (130, [f'{program}: interrupted'])


@pytest.mark.parametrize('module', ['numpy', 'scipy.optimize'])
def test_ctrl_c_during_imports_is_quiet_without_torch(module: str) -> None:
    assert interrupted(PROGRAMS['evaluate'], module) == (130, ['evaluate: interrupted'])


@pytest.mark.ros
@pytest.mark.parametrize('module', ['rclpy', 'numpy'])
@pytest.mark.parametrize('program', ['detsam2', 'demo_camera'])
def test_ctrl_c_during_imports_is_quiet_in_a_node(program: str, module: str) -> None:
    assert interrupted(PROGRAMS[program], module) == (130, [f'{program}: interrupted'])
