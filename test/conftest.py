# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What all tests share: no network, few threads, no nodes of others, GPU tests only with a GPU."""

import os
import socket
from pathlib import Path

# Before anything imports torch, a hub client or rclpy.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('HF_HUB_OFFLINE', '1')
os.environ.setdefault('YOLO_OFFLINE', 'true')
os.environ.setdefault('YOLO_AUTOINSTALL', 'false')
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent

# Timings on a shared machine say nothing; the same examples every time do.
hypothesis.settings.register_profile(
    'repository', deadline=None, derandomize=True, print_blob=True, database=None)
hypothesis.settings.load_profile('repository')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked gpu on a machine without a CUDA device."""
    marked = [item for item in items if item.get_closest_marker('gpu')]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


@pytest.fixture(params=['window', 'online'])
def both_modes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test in each mode: that of every `fakes.Run` that names none."""
    import fakes

    monkeypatch.setattr(fakes.Run, 'mode', request.param)
    return request.param


@pytest.fixture(scope='session')
def root() -> Path:
    return ROOT


@pytest.fixture(scope='session', autouse=True)
def no_network():
    """Let Python's sockets reach this machine only, so a test that downloads something fails."""
    connect = socket.socket.connect
    connect_ex = socket.socket.connect_ex

    def check(sock: socket.socket, address: object) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0])  # type: ignore[index]
            if not (host.startswith('127.') or host in ('localhost', '::1', '0.0.0.0', '')):
                raise OSError(f'tests have no network, but one wanted to reach {host}')

    def guarded_connect(self, address):
        check(self, address)
        return connect(self, address)

    def guarded_connect_ex(self, address):
        check(self, address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, 'connect', guarded_connect)
        patch.setattr(socket.socket, 'connect_ex', guarded_connect_ex)
        yield
