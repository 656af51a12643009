# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""SIGINT and SIGTERM end the node within seconds, cleanly, whatever it does.

NodeProcess.end checks the time, the exit code 0, and that nothing but the node's own sentences is
written.
"""

from __future__ import annotations

import signal
import sys

import pytest
from node_control import DETECTING, ENCODING, LOADING
from node_graph import wait_until
from node_running import SECOND, RunningNode
from node_scenes import check_same, engine_results, scene
from std_srvs.srv import Trigger

from detsam2_msgs.srv import LoadMemoryBank, SaveMemoryBank

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

BOTH = pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])


def send(node: RunningNode, count: int) -> None:
    """Send frames without waiting for masks."""
    for i, image in enumerate(scene(count)):
        node.camera.send(image, (i + 1) * SECOND)


@BOTH
@pytest.mark.parametrize('state', ['unconfigured', 'inactive', 'active', 'finalized'])
def test_idle(start, number, state):
    node = start(up=False)
    node.wait_started()
    for transition, leads_to in (
        ('configure', 'inactive'), ('activate', 'active'), ('shutdown active', 'finalized'),
    ):
        if state == 'unconfigured':
            break
        assert node.change_state(transition)
        if leads_to == state:
            break
    node.process.end(number)
    assert node.process.lines('finalized')


@BOTH
@pytest.mark.parametrize('autostart', [False, True])
def test_while_models_load(start, control, number, autostart):
    control.hold(LOADING)
    node = start(up=False, autostart=autostart)
    if not autostart:
        node.wait_started()
        node.start_change_state('configure')
    control.wait_held(LOADING)
    node.process.end(number)


@BOTH
def test_an_unfinished_window_is_published_first(start, number):
    node = start()
    frames = scene(7)
    stamps = node.camera.stream(frames)
    node.wait_taken()
    node.process.end(number)
    check_same(node.camera, engine_results(zip(stamps, frames, strict=True)))


@pytest.mark.parametrize('number, place', [
    (signal.SIGINT, DETECTING), (signal.SIGTERM, ENCODING)])
def test_in_the_middle_of_a_pass(start, control, number, place):
    control.hold(place)  # for ever
    node = start()
    send(node, 4)
    control.wait_held(place)
    node.process.end(number)


def test_under_load_with_a_full_queue(start, control):
    control.delay(DETECTING, 0.5)
    control.delay(ENCODING, 0.05)
    node = start(queue_size=8, max_window_delay=1.0)
    send(node, 60)
    node.wait_status(lambda status: int(status.values['dropped']) > 20, '')
    node.process.end()
    assert node.process.lines('inference is slower than the camera')


def test_under_load_of_python_code(start, control):
    control.delay(ENCODING, 0.2, busy=True)
    node = start(queue_size=50)
    send(node, 60)
    node.camera.objects.wait(4)
    node.process.end()


def test_while_deactivate_waits_for_a_pass(start, control):
    control.hold(DETECTING)
    node = start()
    send(node, 4)
    control.wait_held(DETECTING)
    node.start_change_state('deactivate')
    wait_until(lambda: node.state() == 'deactivating', 'deactivating')
    node.process.end()


def test_while_cleanup_waits_for_inference(start, control):
    node = start()
    control.hold(DETECTING)
    send(node, 4)
    control.wait_held(DETECTING)
    node.start_change_state('shutdown active')
    wait_until(lambda: node.state() == 'shuttingdown', 'shuttingdown')
    node.process.end()


def test_while_services_wait_for_a_pass(start, control, tmp_path):
    node = start(memory_bank_directory=str(tmp_path / 'banks'))
    node.camera.stream(scene(4))
    node.camera.objects.wait(4)
    control.hold(DETECTING)
    for i, image in enumerate(scene(4)):
        node.camera.send(image, (20 + i) * SECOND)
    control.wait_held(DETECTING)
    for kind, service, fields in (
        (SaveMemoryBank, 'save_memory_bank', {'path': 'bank'}),
        (SaveMemoryBank, 'save_memory_bank', {'path': 'other'}),
        (LoadMemoryBank, 'load_memory_bank', {'path': 'bank'}),
        (Trigger, 'reset', {}),
    ):
        node.graph.start_call(kind, f'{node.name}/{service}', **fields)
    node.state()
    node.process.end()


def test_several_signals_in_a_row(start, control):
    control.hold(DETECTING)
    node = start()
    send(node, 4)
    control.wait_held(DETECTING)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        node.process.send_signal(number)
    node.process.end()


def test_while_it_starts(start):
    # From the moment on at which its own code runs; before that, Python imports torch.
    node = start(up=False, arguments=['--log-level', 'rmw_fastrtps_cpp:=debug'], autostart=True)
    node.process.wait_log('Service Details')
    node.process.end()


def test_the_node_as_it_is_started_on_a_robot(start):
    command = [sys.executable, '-m', 'detsam2_ros.ros.node']
    node = start(up=False, command=command, autostart=True, device='cpu')
    node.process.wait_log('active', timeout=120)
    node.process.end()
