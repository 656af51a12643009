# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The managed node: every transition from every state, failures on the way, and signals."""

import shutil
import signal
import sys

import pytest
from lifecycle_msgs.msg import TransitionEvent
from lifecycle_msgs.srv import GetAvailableTransitions
from node_control import DETECTING, ENCODING, LOADING
from node_graph import wait_until
from node_running import SECOND, SHUTDOWN, TRANSITIONS, RunningNode
from node_scenes import check_same, engine_results, finish_and_check, hold, scene
from std_srvs.srv import Trigger

from detsam2_msgs.srv import LoadMemoryBank, SaveMemoryBank
from detsam2_ros.paths import shared_file

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

# What each state allows, and where that leads.
ALLOWED = {
    'unconfigured': {'configure': 'inactive'},
    'inactive': {'activate': 'active', 'cleanup': 'unconfigured'},
    'active': {'deactivate': 'inactive'},
    'finalized': {},
}
WAYS = {
    'unconfigured': [], 'inactive': ['configure'], 'active': ['configure', 'activate'],
    'finalized': ['configure', 'activate', 'shutdown active'],
}


@pytest.mark.parametrize('state', WAYS)
def test_what_a_state_does_not_allow_is_refused_and_changes_nothing(start, state):
    node = start(up=False)
    for transition in WAYS[state]:
        assert node.change_state(transition)
    refused = [t for t in TRANSITIONS if t not in ALLOWED[state]]
    refused += [f'shutdown {other}' for other in SHUTDOWN if other != state]
    for transition in refused:
        assert not node.change_state(transition), transition
        assert node.state() == state
    offered = node.call(GetAvailableTransitions, 'get_available_transitions')
    names = {entry.transition.label for entry in offered.available_transitions}
    assert names == {*ALLOWED[state], *(['shutdown'] if state in SHUTDOWN else [])}
    for transition, leads_to in ALLOWED[state].items():
        assert node.change_state(transition)
        assert node.state() == leads_to
        break
    node.process.check_log()


@pytest.mark.parametrize('state', SHUTDOWN)
def test_shutdown_from_every_state(start, state):
    node = start(up=False)
    for transition in WAYS[state]:
        assert node.change_state(transition)
    assert node.change_state(f'shutdown {state}')
    assert node.state() == 'finalized'
    assert node.status().values['state'] == 'finalized'
    assert node.process.running  # until it is told to end


def test_up_and_down_again_and_again(start):
    node = start()
    frames = scene(16)
    for cycle in range(4):
        stamps = node.camera.stream(frames[4 * cycle: 4 * cycle + 4], (cycle + 1) * SECOND)
        node.finish()
        if cycle % 2:  # all else is as it was; with cleanup it is a new stream
            assert node.change_state('cleanup')
            assert node.status().values['state'] == 'unconfigured'
            assert node.change_state('configure')
            node.camera.forget_counts()
        assert node.change_state('activate')
        node.wait_connected()
    indices = [message.frame_index for message in node.camera.objects.messages]
    assert indices == [*range(8), *range(8)]
    assert len(stamps) == 4


def test_a_stream_goes_on_where_it_was_deactivated(start):
    node = start()
    frames = scene(17, seed=4)
    stamps = node.camera.stream(frames[:8])
    node.wait_taken()
    assert node.change_state('deactivate') and node.change_state('activate')
    node.wait_connected()
    stamps += node.camera.stream(frames[8:], first=stamps[-1] + SECOND)
    finish_and_check(node, zip(stamps, frames, strict=True))


def test_deactivate_publishes_the_unfinished_window_and_then_takes_nothing(start):
    node = start()
    frames = scene(7)
    stamps = node.camera.stream(frames)
    finish_and_check(node, zip(stamps, frames, strict=True))
    assert node.camera.publisher.get_subscription_count() == 0
    node.camera.send(frames[0], 100 * SECOND)  # to nobody
    node.camera.sent.pop()
    assert node.status('').values['received'] == '7'


def test_it_comes_up_by_itself(start):
    node = start(up=False, autostart=True)
    node.wait_connected()
    wait_until(lambda: node.state() == 'active', 'active')
    frames = scene(9)
    stamps = node.camera.stream(frames)
    finish_and_check(node, zip(stamps, frames, strict=True))


def test_transitions_are_announced(start, graph):
    node = start(up=False)
    box = graph.inbox(TransitionEvent, f'{node.name}/transition_event')
    node.wait_started()
    wait_until(box.subscription.get_publisher_count, 'transition events')
    node.bring_up()
    goals = [message.goal_state.label for message in box.wait(4)]
    assert goals == ['configuring', 'inactive', 'activating', 'active']


def test_a_missing_model_is_one_sentence_and_configure_works_once_it_is_there(start, tmp_path):
    model = tmp_path / 'here.pt'
    node = start(
        up=False, command=[sys.executable, '-m', 'detsam2_ros.ros.node'],
        sam2_model=str(model), detector_model='', device='cpu')
    node.wait_started()
    assert not node.change_state('configure')
    assert node.state() == 'unconfigured'
    (line,) = node.process.lines('[ERROR]')
    assert 'configure failed' in line and str(model) in line
    status = node.status()
    assert status.level == 2 and str(model) in status.message
    for suffix in ('.pt', '.yaml'):
        shutil.copy(shared_file('models/detsam2_demo' + suffix), model.with_suffix(suffix))
    assert node.change_state('configure'), node.process.log()
    assert node.status().level == 0
    assert node.change_state('activate')


def test_a_failure_that_nobody_foresaw_leaves_a_node_that_can_be_configured(start, control):
    control.fail(LOADING, 'the driver is gone')
    node = start(up=False)
    node.wait_started()
    for _ in range(3):
        assert not node.change_state('configure')
        assert node.state() == 'unconfigured'
    assert 'RuntimeError: the driver is gone' in node.status().message
    control.recover(LOADING)
    node.bring_up()


def test_a_missing_bank_keeps_it_from_being_configured(start, tmp_path):
    node = start(up=False, memory_bank='away', memory_bank_directory=str(tmp_path))
    node.wait_started()
    assert not node.change_state('configure')
    assert 'away' in node.status().message
    assert node.state() == 'unconfigured'


def test_it_answers_while_models_load(start, control):
    control.hold(LOADING)
    node = start(up=False)
    node.wait_started()
    configured = node.start_change_state('configure')
    control.wait_held(LOADING)
    assert node.state() == 'configuring'
    assert node.get('window_size') == [4]
    assert not node.trigger('reset').success
    assert not node.change_state('cleanup')
    assert not configured.done()
    control.release(LOADING)
    assert node.graph.answer(configured).success
    assert node.state() == 'inactive'


def test_deactivate_waits_for_the_running_pass_and_answers_meanwhile(start, control):
    node = start()
    pairs = hold(node, control, scene(6))
    node.wait_status(lambda status: status.values['received'] == '6', '')
    deactivated = node.start_change_state('deactivate')
    wait_until(lambda: node.state() == 'deactivating', 'deactivating')
    assert not node.change_state('activate')
    control.release(DETECTING)
    assert node.graph.answer(deactivated).success
    # The two that waited behind the pass are dropped: the node shall stop.
    node.camera.expected_drops = {'inactive': 2}
    check_same(node.camera, engine_results(pairs[:4]))


def test_nodes_of_one_kind_live_side_by_side(start):
    nodes: list[RunningNode] = [start(), start()]
    scenes = [scene(8, seed=1), scene(8, seed=2)]
    stamps = [n.camera.stream(f) for n, f in zip(nodes, scenes, strict=True)]
    for node, frames, given in zip(nodes, scenes, stamps, strict=True):
        finish_and_check(node, zip(given, frames, strict=True))


# ---- SIGINT and SIGTERM end it within seconds, cleanly: NodeProcess.end checks time, code and log
BOTH = pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])


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
    node = start()
    hold(node, control, scene(4), place)  # for ever
    node.process.end(number)


def test_under_load_with_a_full_queue(start, control):
    control.delay(DETECTING, 0.5)
    control.delay(ENCODING, 0.05)
    node = start(queue_size=8, max_window_delay=1.0)
    node.camera.send_all(scene(60))
    node.wait_status(lambda status: int(status.values['dropped']) > 20, '')
    node.process.end()
    assert node.process.lines('inference is slower than the camera')


def test_under_load_of_python_code(start, control):
    control.delay(ENCODING, 0.2, busy=True)
    node = start(queue_size=50)
    node.camera.send_all(scene(60))
    node.camera.objects.wait(4)
    node.process.end()


def test_while_deactivate_waits_for_a_pass(start, control):
    node = start()
    hold(node, control, scene(4))
    node.start_change_state('deactivate')
    wait_until(lambda: node.state() == 'deactivating', 'deactivating')
    node.process.end()


def test_while_cleanup_waits_for_inference(start, control):
    node = start()
    hold(node, control, scene(4))
    node.start_change_state('shutdown active')
    wait_until(lambda: node.state() == 'shuttingdown', 'shuttingdown')
    node.process.end()


def test_while_services_wait_for_a_pass(start, control, tmp_path):
    node = start(memory_bank_directory=str(tmp_path / 'banks'))
    node.camera.stream(scene(4))
    node.camera.objects.wait(4)
    hold(node, control, scene(4), first=20 * SECOND)
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
    node = start()
    hold(node, control, scene(4))
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


def test_a_signal_amid_the_handler_of_another(start, control):
    """Many at once: a handler may interrupt another one at any step."""
    node = start()
    hold(node, control, scene(4))
    for _ in range(200):
        node.process.send_signal(signal.SIGINT)
        node.process.send_signal(signal.SIGTERM)
    node.process.end()
