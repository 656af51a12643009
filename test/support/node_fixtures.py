# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests; a test module asks for them with pytest_plugins.

Each test has its own node process in its own namespace, and its own node of the test. At its end
the node is deactivated, must account for every frame, and must end cleanly on SIGINT.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_control import VARIABLE, Control
from node_graph import Graph, quality
from node_process import NodeProcess, NodeServer
from node_running import CameraSide, RunningNode
from rclpy.qos import QoSProfile

StartNode = Callable[..., RunningNode]

_numbers = itertools.count(1)

# A small window, frames that cannot get lost, and windows that close when they are full only.
# Mode window: which results come of which frames does not depend on how fast the machine is.
# Plain windows: the first one has as many frames as the others.
PARAMETERS: dict[str, Any] = {
    'autostart': False, 'mode': 'window', 'window_size': 4, 'detect_interval': 4,
    'max_propagation': 12, 'windows': 'plain', 'max_window_delay': 0.0, 'queue_size': 1000,
    'quality': 'exact',
    'diagnostics_period': 0.1,
}
# Images must not get lost between publisher and node, when a test counts on each.
LOSSLESS = {'history': 'keep_last', 'depth': 1000, 'reliability': 'reliable'}


@pytest.fixture(scope='session')
def node_server() -> Iterator[NodeServer]:
    """Return what forks colour nodes."""
    server = NodeServer()
    yield server
    server.close()


@pytest.fixture
def graph() -> Iterator[Graph]:
    """Return the test's own node."""
    made = Graph()
    yield made
    made.close()


@pytest.fixture
def control(tmp_path: Path) -> Control:
    """Return what steers the colour engine of the test's nodes."""
    folder = tmp_path / 'control'
    folder.mkdir()
    return Control(folder)


@pytest.fixture
def start(
    graph: Graph, node_server: NodeServer, control: Control, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[StartNode]:
    """Start a node, see _start; up=False does not configure and activate it."""
    running: list[RunningNode] = []

    def start_one(**arguments: Any) -> RunningNode:
        folder = tmp_path / f'node_{len(running)}'
        folder.mkdir()
        environment = {VARIABLE: str(control.folder)}
        up = arguments.pop('up', True)
        running.append(_start(graph, node_server, folder, environment, **arguments))
        if up:
            running[-1].bring_up()
        return running[-1]

    yield start_one
    failed = getattr(request.node, 'failed', False)
    try:
        for node in running:
            if node.process.running and not failed:
                node.check_accounts()
                node.process.end()
    finally:
        for node in running:
            node.process.kill()
            if failed:
                print(f'---- {node.name} wrote:\n{node.process.log()}')


def _start(
    graph: Graph, server: NodeServer, folder: Path, environment: dict[str, str], *,
    command: Sequence[str] = (), namespace: str | None = None, name: str = 'detsam2',
    lossless: bool = True, qos: QoSProfile | None = None, arguments: Sequence[str] = (),
    more_environment: Mapping[str, str] | None = None, keep: int | None = None,
    image_topic: str = '', **parameters: Any,
) -> RunningNode:
    """Start a node with PARAMETERS changed by `parameters`.

    command: instead of the colour node. lossless: images are transported reliably. qos: of the
    image publishers. keep: so many messages that come are kept, None: all. image_topic: remap
    ~/image to it.
    """
    namespace = f'/test{next(_numbers)}' if namespace is None else namespace
    full = f'{namespace}/{name}'.replace('//', '/')
    values = {**PARAMETERS, **parameters}
    names = values.get('cameras') or ['']
    parents = {camera: f'{full}/{camera}'.rstrip('/') for camera in names}
    compressed = values.get('image_transport') == 'compressed'
    # Before the node, which then knows them as soon as it has answered a service.
    cameras = {
        camera: CameraSide(graph, parent, qos or quality(), compressed, keep, image_topic)
        for camera, parent in parents.items()
    }
    if image_topic:
        arguments = [*arguments, '-r', f'~/image:={image_topic}']
    if lossless:
        values.setdefault('qos_overrides', {
            side.input_topic: {'subscription': dict(LOSSLESS)} for side in cameras.values()})
    diagnostics = graph.inbox(DiagnosticArray, '/diagnostics')
    process = NodeProcess(
        folder, None if command else server, command, values,
        ['-r', f'__ns:={namespace}', '-r', f'__node:={name}', *arguments],
        {**environment, **(more_environment or {})},
    )
    return RunningNode(graph, process, full, cameras, diagnostics)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Remember that a test failed, for the fixtures that end after it."""
    report = yield
    if report.when == 'call' and report.failed:
        item.failed = True  # type: ignore[attr-defined]
    return report
