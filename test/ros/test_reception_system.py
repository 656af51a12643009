# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera and the node as two processes with default transports: received, or explained.

scripts/test sets ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST, under which rmw_fastrtps ignores
FASTDDS_BUILTIN_TRANSPORTS. A user's default is SUBNET: these tests run under both, in a domain of
their own.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from camera_process import camera
from diagnostic_msgs.msg import DiagnosticArray
from node_graph import Graph, Inbox
from node_process import NodeProcess

pytestmark = pytest.mark.ros

TOPIC = '/cam/image_raw'
LARGE, SMALL = (1280, 720), (256, 256)
VARIABLE = 'FASTDDS_BUILTIN_TRANSPORTS'
EXPLAINED_WITHIN = 5.0  # seconds after the node is active
ENOUGH = 10  # images

Start = Callable[..., tuple[NodeProcess, Inbox]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a bare node on TOPIC, and what watches its diagnostics."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv('ROS_DOMAIN_ID', str(120 + os.getpid() % 100))
    with ExitStack() as stack:

        def started(**parameters: Any) -> tuple[NodeProcess, Inbox]:
            graph = Graph('watcher')
            stack.callback(graph.close)
            process = NodeProcess(
                Path(tempfile.mkdtemp(dir=tmp_path)),
                command=[sys.executable, '-m', 'detsam2_ros.ros.node'],
                parameters={'detector_model': '', 'device': 'cpu', 'queue_size': 1, **parameters},
                arguments=['-r', f'~/image:={TOPIC}'])
            stack.callback(process.kill)
            return process, graph.inbox(DiagnosticArray, '/diagnostics')

        yield started


def received(box: Inbox) -> int:
    """Return how many images the node has received, as its newest diagnostics say."""
    for message in reversed(box.messages[-3:]):
        for status in message.status:
            for pair in status.values:
                if pair.key == 'received':
                    return int(pair.value)
    return 0


def outcome(process: NodeProcess, box: Inbox) -> tuple[int, list[str]]:
    """Return the images received, and the explanations logged in time."""
    process.wait_log(': active')
    deadline = time.monotonic() + EXPLAINED_WITHIN
    while time.monotonic() < deadline and received(box) < ENOUGH and not explanations(process):
        time.sleep(0.1)
    return received(box), explanations(process)


def explanations(process: NodeProcess) -> list[str]:
    return [line for line in process.lines('[WARN]') if '/cam/' in line]


@pytest.mark.parametrize('discovery', ['SUBNET', 'LOCALHOST'])
@pytest.mark.parametrize('size', [SMALL, LARGE], ids=['256', '720p'])
@pytest.mark.parametrize('reliable', [True, False], ids=['reliable', 'best_effort'])
def test_images_are_received_or_explained(start, monkeypatch, reliable, size, discovery):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', discovery)
    with camera(TOPIC, *size, reliable):
        process, box = start()
        count, explained = outcome(process, box)
    if reliable or size == SMALL:
        assert count >= ENOUGH and not explained
        return
    assert count >= ENOUGH or explained
    for line in explained:
        assert f' on {TOPIC}, which /cam/driver offers best effort' in line
        assert 'nothing arrives' in line or 'were lost on the way' in line
        assert VARIABLE in line and 'docs/transport.md' in line
        assert ('LOCALHOST makes rmw_fastrtps ignore' in line) == (discovery == 'LOCALHOST')


def test_a_camera_that_starts_after_the_node(start):
    """The subscription was made best effort, before anybody knew better."""
    process, box = start()
    process.wait_log(': active')
    process.wait_log(f'nobody publishes {TOPIC}')
    with camera(TOPIC, *LARGE, reliable=True):
        process.wait_log(f'{TOPIC}: subscribed reliable from now on', timeout=20.0)
        process.wait_log(f'images arrive on {TOPIC}', timeout=20.0)
        deadline = time.monotonic() + 20.0
        while received(box) < ENOUGH:
            assert time.monotonic() < deadline, process.log()
            time.sleep(0.1)


def test_the_nearest_topic_is_named(start):
    """Also while the graph still shows the topics of a killed node of the same name."""
    with camera('/cam/colour/image_raw', *SMALL, reliable=True):
        killed, _ = start()
        killed.wait_log(': active')
        killed.kill()
        process, box = start()
        _, (line,) = outcome(process, box)
    assert "images are on /cam/colour/image_raw: remap with -r '~/image:=/cam/colour" in line


def test_a_camera_with_larger_segments_is_received_best_effort(start, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    larger = {**os.environ, VARIABLE: 'DEFAULT?sockets_size=8MB'}
    with camera(TOPIC, *LARGE, reliable=False, environment=larger):
        process, box = start()
        count, explained = outcome(process, box)
    assert count >= ENOUGH and not explained
