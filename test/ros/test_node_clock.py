# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Time: cameras that stop and return, stamps that jump, bags that loop, simulated time."""

import time

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_control import DETECTING
from node_running import SECOND
from node_scenes import check_same, engine_results, engine_streams, finish_and_check, scene

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']


def shown(node, frames, first: int):
    """Send frames a tenth of a second apart; returns (stamp, image) pairs."""
    return node.camera.send_all(frames, first, SECOND // 10)


def test_a_camera_that_stops_and_returns(start):
    node = start(max_window_delay=1.0)
    frames = scene(17, seed=1)
    begin = time.monotonic()
    pairs = shown(node, frames[:3], SECOND)
    node.camera.masks.wait(3)
    assert time.monotonic() - begin >= 1.0
    pairs += shown(node, frames[3:10], 100 * SECOND)  # one window, and three that wait
    node.camera.masks.wait(10)
    pairs += shown(node, frames[10:], 200 * SECOND)
    node.camera.masks.wait(17)
    # The same stream all the time: objects keep their ids over the gaps.
    node.finish()
    assert node.status('').values['resets'] == '0'
    closes_after = [3, 7, 10, 14]
    check_same(node.camera, engine_results(pairs, closes_after))


def test_without_a_delay_a_window_waits_for_its_frames(start):
    node = start(max_window_delay=0.0)
    pairs = shown(node, scene(3), SECOND)
    node.wait_taken()
    status = node.wait_status(lambda s: s.values['waiting'] == '3', '')
    assert status.values['published'] == '0'
    assert not len(node.camera.masks)
    finish_and_check(node, pairs)


def test_inference_that_cannot_keep_up_does_not_make_windows_smaller(start, control):
    control.delay(DETECTING, 0.5)
    node = start(max_window_delay=0.2)
    pairs = shown(node, scene(12, seed=2), SECOND)
    node.camera.masks.wait(12)
    finish_and_check(node, pairs)


def test_a_bag_that_loops(start):
    node = start()
    frames = scene(10, seed=3)
    pairs = []
    for i in range(3):
        again = node.camera.send_all(frames[:1], 5 * SECOND, SECOND // 4)
        # Topics are not ordered among each other, and here not even stamps tell rounds apart: all
        # of a round must be there before anything of the next comes.
        results = [result for stream in engine_streams(*pairs) for result in stream]
        node.camera.masks.wait(10 * i)
        node.camera.objects.wait(10 * i)
        node.camera.corrections.wait(sum(result.revision > 0 for result in results))
        again += node.camera.send_all(frames[1:], 5 * SECOND + SECOND // 4, SECOND // 4)
        pairs.append(again)
        node.camera.masks.wait(10 * i + 8)
        node.camera.objects.wait(10 * i + 8)
    node.finish()
    check_same(node.camera, *engine_streams(*pairs))
    assert node.status('').values['resets'] == '2'
    assert node.process.lines('time went back by 2.250 s')


def test_a_single_image_from_the_past(start):
    node = start()
    frames = scene(9, seed=4)
    first = shown(node, frames[:5], 50 * SECOND)
    second = shown(node, frames[5:6], 10 * SECOND) + shown(node, frames[6:], 60 * SECOND)
    node.finish()
    check_same(node.camera, *engine_streams(first, second))


def test_time_that_jumps_ahead_changes_nothing(start):
    node = start()
    frames = scene(12, seed=5)
    pairs = shown(node, frames[:6], SECOND) + shown(node, frames[6:], 100_000 * SECOND)
    finish_and_check(node, pairs)
    assert node.status('').values['resets'] == '0'


def test_a_driver_that_does_not_stamp(start):
    node = start()
    frames = scene(6)
    pairs = node.camera.send_all(frames, 0, 0)
    node.finish()
    node.camera.expected_drops = {'repeated_stamp': 5}
    check_same(node.camera, engine_results(pairs[:1]))
    (line,) = node.process.lines('every image has the stamp 0')
    assert '[WARN]' in line and 'set up the driver to fill header.stamp' in line


def test_images_that_come_late(start):
    """They are dropped; what else there is comes as if they had never been."""
    node = start()
    frames = scene(12, seed=8)
    pairs = []
    for i in range(12):
        pairs += shown(node, frames[i : i + 1], SECOND + i * SECOND // 10)
        if i in (3, 6, 10):
            shown(node, frames[i - 1 : i], SECOND + i * SECOND // 10 - SECOND // 20)
    node.finish()
    node.camera.expected_drops = {'late_stamp': 3}
    check_same(node.camera, engine_results(pairs))
    assert node.status('').values['resets'] == '0'
    (line,) = node.process.lines('an image is older than the one before')
    assert '[WARN]' in line


def test_a_camera_that_keeps_restarting_is_a_warning(start):
    node = start()
    frames = scene(9, seed=4)
    pairs = []
    for i in range(3):
        pairs.append(shown(node, frames[3 * i : 3 * i + 3], (50 - 10 * i) * SECOND))
    status = node.wait_status(lambda s: 'restarted' in s.message, '')
    assert status.level == DiagnosticStatus.WARN[0]
    assert status.message == (
        'the stream restarted 2 times in 60 s, and with it the objects: time went back by 10.200 '
        's; a recording that loops, or a driver whose clock jumps: play it once, or synchronise '
        'that clock')
    node.finish()
    check_same(node.camera, *engine_streams(*pairs))


def test_each_camera_has_its_own_time(start):
    node = start(cameras=['front', 'rear'])
    frames = scene(8, seed=6)
    pairs = {name: [] for name in node.cameras}
    for i, image in enumerate(frames):
        for name, camera in node.cameras.items():
            first = 5000 if name == 'front' else 10
            stamp = (first + i) * SECOND
            camera.send(image, stamp)
            pairs[name].append((stamp, image))
    node.finish()
    for name, camera in node.cameras.items():
        check_same(camera, engine_results(pairs[name]))
        assert node.status(name).values['resets'] == '0'


def test_simulated_time(start, graph):
    node = start(use_sim_time=True)
    with graph.clock(1000.0) as set_clock:
        def latency(status) -> float:
            set_clock(1000.0)  # in case the one before came too early
            return float(status.values['latency_p50_s'] or -1)

        node.wait_status(lambda status: latency(status) == -1, '')
        frames = scene(8)
        pairs = []
        for i, image in enumerate(frames):
            set_clock(1000.0)
            pairs += shown(node, [image], (900 + i) * SECOND)
            node.wait_taken()
        status = node.wait_status(lambda s: s.values['published'] == '8', '')
        # Frames of 900 to 907 s were published at 1000 s, simulated.
        assert 90 <= float(status.values['latency_p50_s']) <= 101
        set_clock(5.0)  # the simulation restarts
        again = shown(node, frames, 3 * SECOND)
        node.finish()
        check_same(node.camera, *engine_streams(pairs, again))


def test_simulated_time_that_never_starts(start):
    node = start(use_sim_time=True, max_window_delay=0.3)
    pairs = shown(node, scene(2), SECOND)
    node.camera.masks.wait(2)  # windows and diagnostics go by the wall
    finish_and_check(node, pairs)
