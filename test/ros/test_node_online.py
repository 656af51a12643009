# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online on a running node: masks at once, corrections between frames, nothing lost."""

import time

import numpy as np
import pytest
from node_control import ENCODING, PASSING
from node_graph import wait_until
from node_running import SECOND, CameraSide, stamp_of
from node_scenes import check_same, check_timeline, engine_results, save_bank, scene, two_cameras
from node_scenes import steady_scene as steady

from detsam2_msgs.srv import LoadMemoryBank, SaveMemoryBank
from detsam2_ros.ros.parameters.declare import PARAMETERS

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

# Detections count at once: whether an object is confirmed when a pass ends depends on what came
# while it ran. test_node_ghosts waits for the passes.
ONLINE = {'mode': 'online', 'confirm_detections': 0}


def one_by_one(camera: CameraSide, frames: list[np.ndarray], first: int = 1) -> list[int]:
    """Send each frame when the masks of the one before have come; returns the stamps."""
    stamps = []
    for i, image in enumerate(frames):
        stamps.append((first + i) * SECOND)
        camera.send(image, stamps[-1])
        camera.masks.wait(len(camera.sent))
        camera.objects.wait(len(camera.sent))
    return stamps


def test_it_is_the_default():
    assert PARAMETERS['mode'].default == 'online' and PARAMETERS['mode'].read_only


@pytest.mark.parametrize('windows', ['aligned', 'plain'])
@pytest.mark.parametrize('window, detect, reach', [(4, 4, 12), (1, 3, 5), (3, 2, 7), (5, 10, 20)])
def test_each_frame_has_masks_before_the_next_is_sent(start, window, detect, reach, windows):
    method = {
        'window_size': window, 'detect_interval': detect, 'max_propagation': reach,
        'windows': windows, **ONLINE,
    }  # fmt: skip
    node = start(**method)
    frames = scene(42, seed=window)
    stamps = one_by_one(node.camera, frames)
    node.finish()
    results = engine_results(zip(stamps, frames, strict=True), **method)
    assert any(result.revision for result in results)
    check_same(node.camera, results)


def test_masks_come_while_a_pass_runs_and_calls_are_answered(start, control, tmp_path):
    node = start(memory_bank_directory=str(tmp_path), **ONLINE)
    frames = scene(42, seed=1)
    stamps = one_by_one(node.camera, frames[:7])
    assert node.call(SaveMemoryBank, 'save_memory_bank', path='bank').success
    control.delay(PASSING, 0.3)  # a dozen parts: seconds for a pass
    began = time.monotonic()
    stamps += one_by_one(node.camera, frames[7:8], first=8)  # fills the second window
    before = len(node.camera.corrections)
    stamps += one_by_one(node.camera, frames[8:10], first=9)
    # Asks for something that waits for the inference thread; the pass goes on afterwards.
    saved = node.call(SaveMemoryBank, 'save_memory_bank', path='again')
    assert saved.success
    assert len(node.camera.corrections) == before  # the same pass, all the time
    assert time.monotonic() - began < 12 * 0.3
    wait_until(lambda: len(node.camera.corrections) > before, 'corrections')
    control.recover(PASSING)
    stamps += one_by_one(node.camera, frames[10:], first=11)
    node.finish()
    results = engine_results(zip(stamps, frames, strict=True), **ONLINE)
    check_timeline(node.camera, results)


def test_a_window_is_corrected_when_the_camera_pauses(start):
    node = start(max_window_delay=0.5, detect_interval=2, **ONLINE)
    frames = steady(3, 'red')
    frames[0][:] = 0  # found on frame 2; on frame 1 it was not known yet
    begin = time.monotonic()
    stamps = one_by_one(node.camera, frames)
    (message,) = node.camera.corrections.wait(1)
    assert time.monotonic() - begin >= 0.5
    assert stamp_of(message) == stamps[1]
    # And then the camera returns.
    more = steady(9, 'red')
    stamps += one_by_one(node.camera, more, first=4)
    node.finish()
    assert [stamp_of(m) for m in node.camera.masks.messages] == stamps
    assert node.status('').values['resets'] == '0'


def test_overload_drops_the_oldest_and_counts_them(start, control):
    control.delay(ENCODING, 0.03)
    control.delay(PASSING, 0.02)
    node = start(queue_size=4, **ONLINE)
    camera, frames = node.camera, scene(60, seed=3)
    for i, image in enumerate(frames):
        camera.send(image, (i + 1) * SECOND)
        time.sleep(0.01)
    node.wait_taken()
    node.finish()
    values = node.status('').values
    camera.expected_drops = {'queue_full': int(values['dropped'])}
    assert int(values['dropped_queue_full']) > 5
    assert node.process.lines('inference is slower than the camera')
    # What was taken is what the engine makes of those frames, and windows did not fall behind.
    kept = [stamp_of(message) for message in camera.masks.wait(int(values['published']))]
    assert kept == sorted(kept) and kept[-1] == 60 * SECOND
    results = engine_results([(s, camera.frames[s]) for s in kept], **ONLINE)
    camera.corrections.wait(sum(result.revision > 0 for result in results))
    check_timeline(camera, results)
    assert float(values['pass_lag_p50_s']) > 0


def test_in_overload_the_freshest_frame_counts(start, control):
    control.hold(ENCODING)
    node = start(queue_size=0, **ONLINE)
    camera, frames = node.camera, scene(12, seed=3)
    camera.send(frames[0], SECOND)
    control.wait_held(ENCODING)  # the first frame is on its way, all others wait
    for i, image in enumerate(frames[1:], 2):
        camera.send(image, i * SECOND)
    node.wait_status(lambda status: status.values['received'] == '12', '')
    assert node.status('').values['queue'] == '2'
    control.release(ENCODING)
    node.finish()
    camera.expected_drops = {'queue_full': 10}
    assert [stamp_of(m) for m in camera.masks.messages] == [SECOND, 12 * SECOND]
    assert node.status('').values['dropped_queue_full'] == '10'


def test_a_bank_swap_under_load_loses_no_frame(start, control, tmp_path):
    for name, colours in (('red_green', ('red', 'green')), ('blue', ('blue',))):
        save_bank(tmp_path / f'{name}.safetensors', 3, *colours)
    control.delay(ENCODING, 0.005)
    node = start(memory_bank_directory=str(tmp_path), detect_interval=0, **ONLINE)
    camera, futures = node.camera, []
    name = f'{node.name}/load_memory_bank'
    for i, image in enumerate(steady(120, 'red', 'green', 'blue')):
        if i >= 4:
            camera.objects.wait(i - 3)
        camera.send(image, (i + 1) * SECOND)
        if i % 8 == 3:
            path = ('red_green', 'blue', 'missing')[i // 8 % 3]
            futures.append((path, node.graph.start_call(
                LoadMemoryBank, name, path=path, replace=True)))
    for path, future in futures:
        assert node.graph.answer(future).success == (path != 'missing')
    node.finish()
    stamps = [message.header.stamp.sec for message in camera.objects.wait(120)]
    assert stamps == list(range(1, 121))
    seen = [frozenset(n for n, v in zip(m.class_names, m.visible, strict=True) if v)
            for m in camera.objects.messages]
    assert {frozenset({'blue'}), frozenset({'red', 'green'})} <= set(seen) <= {
        frozenset(), frozenset({'blue'}), frozenset({'red', 'green'})}


@pytest.mark.parametrize('wait', [1, 3])
def test_a_bank_acts_once_its_object_was_seen_often_enough(start, tmp_path, wait):
    save_bank(tmp_path / 'red.safetensors', 2, 'red')
    node = start(memory_bank_directory=str(tmp_path), detect_interval=0, **ONLINE,
                 **({'bank_object_frames': 1} if wait == 1 else {}))  # fmt: skip
    frames = steady(8, 'red')
    one_by_one(node.camera, frames[:2])
    answer = node.call(LoadMemoryBank, 'load_memory_bank', path='red', replace=True)
    assert answer.success
    one_by_one(node.camera, frames[2:], first=3)
    shown = [list(m.class_names) for m in node.camera.objects.messages]
    assert shown == [[]] * (1 + wait) + [['red']] * (7 - wait)


def test_two_cameras_are_streams_of_their_own(start, control):
    control.delay(PASSING, 0.005)
    node = start(cameras=['front', 'rear'], **ONLINE)
    for camera, pairs in two_cameras(node, ahead=2):
        results = engine_results(pairs, **ONLINE)
        camera.corrections.wait(sum(result.revision > 0 for result in results))
        camera.masks.wait(len(pairs))
        check_timeline(camera, results)


def test_sigint_amid_a_pass_ends_it_with_the_part_it_is_at(start, control):
    node = start(**ONLINE)
    one_by_one(node.camera, scene(3))
    control.delay(PASSING, 1.0)  # a dozen parts
    one_by_one(node.camera, scene(4)[3:], first=4)
    node.process.end()  # checks the time, the exit code and the log
    assert len(node.camera.masks) == 4


def test_deactivate_closes_what_is_unfinished(start):
    node = start(**ONLINE)
    frames = scene(11, seed=6)
    stamps = one_by_one(node.camera, frames)
    assert node.change_state('deactivate')
    results = engine_results(zip(stamps, frames, strict=True), **ONLINE)
    check_same(node.camera, results)
    assert node.change_state('activate')
    node.wait_connected()
    one_by_one(node.camera, scene(5), first=20)


def test_reset_amid_a_pass_ends_it_first(start, control):
    node = start(**ONLINE)
    frames = scene(8, seed=7)
    control.delay(PASSING, 0.02)
    pairs = list(zip(one_by_one(node.camera, frames), frames, strict=True))
    assert node.trigger('reset').success
    wait_until(lambda: node.status('').values['resets'] == '1', 'the reset')
    wanted = sum(result.revision > 0 for result in engine_results(pairs, **ONLINE))
    assert len(node.camera.corrections.wait(wanted)) == wanted
    one_by_one(node.camera, scene(5), first=20)
    assert [m.frame_index for m in node.camera.objects.messages] == [*range(8), *range(5)]
