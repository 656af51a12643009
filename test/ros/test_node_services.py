# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Services answer at once while inference runs, unless they wait for what they are asked for."""

import statistics
import time

import numpy as np
import pytest
from lifecycle_msgs.srv import GetAvailableTransitions, GetState
from node_control import DETECTING, ENCODING
from node_graph import wait_until
from node_running import SECOND, RunningNode
from node_scenes import check_same, engine_results, engine_streams, hold, scene, steady_scene
from rcl_interfaces.srv import DescribeParameters, GetParameters, ListParameters, SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from detsam2_msgs.srv import ListMemoryBanks, LoadMemoryBank, SaveMemoryBank

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

AT_ONCE = 0.1  # seconds
QUICK = [
    (GetState, 'get_state', {}),
    (GetAvailableTransitions, 'get_available_transitions', {}),
    (GetParameters, 'get_parameters', {'names': ['window_size', 'new_object_score']}),
    (ListParameters, 'list_parameters', {}),
    (DescribeParameters, 'describe_parameters', {'names': ['window_size']}),
    (SetParameters, 'set_parameters', {
        'parameters': [Parameter('match_iou', value=0.4).to_parameter_msg()]}),
    (ListMemoryBanks, 'list_memory_banks', {}),
    (Trigger, 'reset', {}),
    (Trigger, 'unload_memory_bank', {}),
]


def images(count: int) -> list[np.ndarray]:
    return steady_scene(count, 'red', 'green')


def latencies(node: RunningNode) -> dict[str, float]:
    """Return the median time of five answers of each service that need not wait."""
    found = {}
    for kind, service, fields in QUICK:
        times = [node.timed_call(kind, service, **fields)[1] for _ in range(5)]
        found[service] = statistics.median(times)
    print({name: f'{1000 * seconds:.1f} ms' for name, seconds in found.items()})
    return found


def test_they_answer_while_a_pass_runs(start, control):
    node = start()
    hold(node, control, images(7))
    slow = {name: s for name, s in latencies(node).items() if s >= AT_ONCE}
    assert not slow
    assert node.status('').values['processed'] == '0'  # the same pass, all the time
    control.release(DETECTING)
    node.finish()
    assert int(node.status('').values['processed']) == 7


def test_they_answer_while_python_code_computes(start, control):
    # The worst case: code that gives the interpreter's lock away only when it is made to. Real
    # inference gives it away in every kernel, so that this is no promise, but must stay usable.
    control.delay(ENCODING, 1.0, busy=True)
    node = start()
    node.camera.send_all(images(1000))
    node.wait_status(lambda status: status.values['queue'] != '0', '')
    slow = {name: s for name, s in latencies(node).items() if s >= 10 * AT_ONCE}
    assert not slow
    control.recover(ENCODING)
    node.camera.expected_drops = None
    assert node.change_state('deactivate')


def test_answers_that_wait_come_when_it_is_done(start, control, tmp_path):
    node = start(memory_bank_directory=str(tmp_path / 'banks'))
    node.camera.send_all(images(4))
    node.camera.objects.wait(4)
    name = node.name
    # There from the start: which of the calls below comes first is not known.
    assert node.graph.call(SaveMemoryBank, f'{name}/save_memory_bank', path='zero').success
    hold(node, control, images(5), first=100 * SECOND)
    waiting = [
        node.graph.start_call(SaveMemoryBank, f'{name}/save_memory_bank', path='one'),
        node.graph.start_call(SaveMemoryBank, f'{name}/save_memory_bank', path='two'),
        node.graph.start_call(LoadMemoryBank, f'{name}/load_memory_bank', path='zero'),
    ]
    # They occupy no thread that the others need.
    times = [node.timed_call(GetState, 'get_state')[1] for _ in range(5)]
    assert statistics.median(times) < AT_ONCE
    assert node.status('').values['processed'] == '4'
    assert not any(future.done() for future in waiting)
    control.release(DETECTING)
    answers = [node.graph.answer(future) for future in waiting]
    assert all(answer.success for answer in answers), answers
    assert sorted(answers[2].class_names) == ['green', 'red']
    node.finish()  # a frame that still waits would be dropped


def test_reset_restarts_the_stream_and_loses_nothing(start):
    node = start()
    frames = scene(13, seed=1)
    pairs = node.camera.send_all(frames[:6])
    node.wait_taken()
    assert node.trigger('reset').success
    wait_until(lambda: node.status('').values['resets'] == '1', 'the reset')
    more = node.camera.send_all(frames[6:], 7 * SECOND)
    node.finish()
    check_same(node.camera, *engine_streams(pairs, more))


def test_reset_while_frames_come_loses_none(start, control):
    node = start()
    camera, frames = node.camera, scene(80, seed=2)
    futures = []
    for i, image in enumerate(frames):
        if i >= 8:
            camera.objects.wait(i - 7 - 4)
        camera.send(image, (i + 1) * SECOND)
        if i % 10 == 5:
            futures.append(node.graph.start_call(Trigger, f'{node.name}/reset'))
    assert all(node.graph.answer(future).success for future in futures)
    node.finish()
    stamps = [message.header.stamp.sec for message in camera.objects.wait(80)]
    assert stamps == list(range(1, 81))
    assert node.status('').values['resets'] == '8'


def test_every_service_says_that_the_node_is_not_configured(start):
    node = start(up=False)
    node.wait_started()
    for kind, service in (
        (LoadMemoryBank, 'load_memory_bank'), (SaveMemoryBank, 'save_memory_bank'),
        (ListMemoryBanks, 'list_memory_banks'), (Trigger, 'unload_memory_bank'),
        (Trigger, 'reset'),
    ):
        answer = node.call(kind, service)
        assert not answer.success and 'not configured' in answer.message


def test_many_callers_at_once(start):
    node = start()
    node.camera.send_all(images(4))
    begin = time.monotonic()
    futures = [  # no more of each than the 10 that a service keeps by ROS's default
        node.graph.start_call(kind, f'{node.name}/{service}', **fields)
        for _ in range(8) for kind, service, fields in QUICK
    ]
    for future in futures:
        assert node.graph.answer(future) is not None
    print(f'{len(futures)} answers in {time.monotonic() - begin:.2f} s')
    node.finish()
    results = engine_results(list(node.camera.frames.items()))
    assert len([r for r in results if r.revision == 0]) == 4
