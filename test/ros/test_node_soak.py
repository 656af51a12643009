# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The program as it is installed beside the engine alone; and a stream at full speed for long.

20 seconds; DETSAM2_SOAK_SECONDS=600 makes it ten minutes, and prints what it measured.
"""

import os
import statistics
import sys
import time
from itertools import count, pairwise

import pytest
from node_running import SECOND, RunningNode
from node_scenes import check_same, check_timeline, scene
from ros_cases import BAD_IMAGES

from detsam2_ros.engine import Engine, EngineConfig, YoloDetector, load_sam2
from detsam2_ros.scene.scene import Scene

pytestmark = [pytest.mark.ros, pytest.mark.slow]
pytest_plugins = ['node_fixtures']

DURATION = float(os.environ.get('DETSAM2_SOAK_SECONDS', '20'))
MIB = 2**20
# Memory that is kept of each frame, of 9 KiB and more: while all is new, some caches still fill.
# Allocators take it in steps, seldom and up to 4 MiB (as measured), which the median does not see
# and the limit of all growth allows for.
BYTES_A_FRAME, ALL_GROWTH = 4500 if DURATION < 60 else 300, 16 * MIB


def measure(node: RunningNode, seconds: float, feed) -> list[tuple[float, int, int]]:
    """Feed for some time; returns (seconds, frames, resident bytes) a second or so apart."""
    begin, samples, next_sample = time.monotonic(), [], 0.0
    for number in count():
        feed(number)
        elapsed = time.monotonic() - begin
        if elapsed >= next_sample:
            samples.append((elapsed, number + 1, node.process.resident_bytes()))
            next_sample = elapsed + max(0.5, seconds / 60)
        if elapsed >= seconds:
            return samples
    raise AssertionError


def check_flat(samples: list[tuple[float, int, int]]) -> None:
    """Check that the memory after the first third does not grow."""
    print('\n'.join(f'{s:7.1f} s {n:8d} frames {b / MIB:8.2f} MiB' for s, n, b in samples))
    late = samples[len(samples) // 3:]
    a_frame = statistics.median(
        (after[2] - before[2]) / (after[1] - before[1]) for before, after in pairwise(late))
    growth = late[-1][2] - late[0][2]
    print(f'after the first third: {a_frame:.0f} bytes a frame, {growth / MIB:+.2f} MiB in all')
    assert a_frame < BYTES_A_FRAME
    assert growth < ALL_GROWTH


def test_memory_stays_flat(start):
    # Objects that are hidden for two frames are new ones when they return, and corrected.
    node = start(
        keep=10, window_size=5, detect_interval=5, max_propagation=10, max_lost_frames=2)
    camera, frames = node.camera, scene(50, ('red', 'green', 'blue', 'yellow'), size=(48, 64))

    def feed(number: int) -> None:
        if number >= 10:
            camera.masks.wait(number - 9)
            camera.objects.wait(number - 9)
        camera.frames.clear()
        camera.send(frames[number % 50], (number + 1) * SECOND // 100)

    samples = measure(node, DURATION, feed)
    node.finish()
    check_flat(samples)
    assert len(camera.corrections) > len(camera.sent) / 10


def test_memory_stays_flat_whatever_happens(start, control, tmp_path):
    """Bags that loop, sizes that change, bad images, parameters, banks, up and down."""
    node = start(
        keep=10, memory_bank_directory=str(tmp_path / 'banks'))
    camera = node.camera
    scenes = [scene(24, seed=1, size=(48, 64)), scene(24, seed=2, size=(64, 64))]
    drops = 0

    def feed(number: int) -> None:
        nonlocal drops
        camera.frames.clear()
        round_, i = divmod(number, 24)
        if i == 0:
            node.trigger('reset')
            node.set(match_iou=0.3 + round_ % 5 / 10)
        if i == 12:
            bad = BAD_IMAGES[round_ % len(BAD_IMAGES)][1]()
            camera.send_message(bad, SECOND)
            drops += 1
        if number >= 8:
            camera.objects.wait(number - 7 - 4)
        camera.send(scenes[round_ % 2][i], (i + 1) * SECOND)
        if i == 23:
            node.wait_taken()
            assert node.change_state('deactivate')
            assert node.change_state('activate')
            node.wait_connected()

    samples = measure(node, DURATION * 0.4, feed)
    node.finish()
    camera.expected_drops = None
    assert node.status('').values['dropped'] == str(drops)
    check_flat(samples)


# ---- the shipped models, against the engine alone
@pytest.mark.parametrize('mode', ['window', 'online'])
def test_shipped_models_give_the_same_masks_as_without_the_node(start, mode):
    method = {
        'window_size': 4, 'detect_interval': 4, 'max_propagation': 8, 'mode': mode,
        'windows': 'aligned',
    }  # fmt: skip
    node = start(command=[sys.executable, '-m', 'detsam2_ros.ros.node'], device='cpu', **method)
    frames = [frame.image for frame in Scene(1, 160, 120, 10)]
    stamps = node.camera.stream(frames, ahead=8 if mode == 'window' else 1)
    node.finish()
    stream = Engine(
        load_sam2('demo', None, 'cpu', None), YoloDetector('demo', device='cpu'),
        EngineConfig(**method)).open_stream('camera')
    results = []
    for stamp, image in zip(stamps, frames, strict=True):
        results += stream.push(image, stamp)
    results += stream.flush()
    node.camera.corrections.wait(sum(result.revision > 0 for result in results))
    if mode == 'window':
        check_same(node.camera, results)
    else:  # masks may come before the corrections of the frames before them
        check_timeline(node.camera, results)
    assert node.camera.objects.messages[-1].ids
    assert stamps[0] == SECOND
    loaded = node.process.lines('is loaded')
    assert len(loaded) == 2 and all(' s' in line for line in loaded)
