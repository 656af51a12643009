# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo as processes: the camera, the story on a real graph, and what if one dies."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from detsam2_ros.demo.processes import ProcessError, Processes
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.scene.scene import Scene

pytest.importorskip('rclpy', reason='needs ROS 2')

pytestmark = pytest.mark.ros

PYTHON = [sys.executable, '-c']


def wait_for(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)


def test_a_process_that_dies_is_noticed_with_the_end_of_its_log(tmp_path) -> None:
    with Processes(tmp_path, os.environ) as processes:
        processes.start('sleeper', [*PYTHON, 'import time; time.sleep(60)'])
        processes.check()
        processes.start('node', [*PYTHON, 'print("models are gone"); raise SystemExit(3)'])

        def dead() -> bool:
            try:
                processes.check()
            except ProcessError as error:
                assert 'node ended early, with exit code 3' in str(error)
                assert 'models are gone' in str(error)
                return True
            return False

        wait_for(dead)
    # Leaving ended the sleeper too.
    with pytest.raises(KeyError):
        processes.stop('sleeper', 1.0)


def test_processes_end_by_interrupt_or_are_killed(tmp_path) -> None:
    kind = 'import signal, time; signal.signal(signal.SIGINT, lambda *_: exit(0))\n'
    deaf = 'import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)\n'
    rest = 'print("ready", flush=True)\nwhile True: time.sleep(0.1)'
    with Processes(tmp_path, os.environ) as processes:
        for name, code in (('kind', kind), ('deaf', deaf)):
            processes.start(name, [*PYTHON, code + rest])
            wait_for(lambda name=name: 'ready' in processes.log_path(name).read_text())
        processes.stop('kind', 10.0)
        with pytest.raises(ProcessError, match='deaf did not end within 1 s'):
            processes.stop('deaf', 1.0)


@pytest.fixture
def node_and_messages():
    """Return a function that runs a camera in this process and collects what it publishes."""
    import rclpy
    from rclpy.parameter import Parameter
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import Image

    from detsam2_msgs.msg import ObjectArray
    from detsam2_ros.demo.camera import DemoCamera

    rclpy.init()
    nodes = []

    def run(**parameters) -> dict[str, list]:
        overrides = [Parameter(name.replace('__', '.'), value=v) for name, v in parameters.items()]
        camera = DemoCamera(parameter_overrides=overrides)
        listener = rclpy.create_node('listener')
        nodes.extend([camera, listener])
        got: dict[str, list] = {'image': [], 'truth': [], 'truth_objects': []}
        kinds = {'image': Image, 'truth': Image, 'truth_objects': ObjectArray}
        for topic, kind in kinds.items():
            listener.create_subscription(kind, topic, got[topic].append, QoSProfile(depth=50))

        def go_on() -> bool:
            rclpy.spin_once(camera, timeout_sec=0.01)
            rclpy.spin_once(listener, timeout_sec=0.01)
            return camera.done and len({len(kept) for kept in got.values()}) == 1

        wait_for(go_on)
        camera.close()
        return got

    yield run
    for node in nodes:
        node.destroy_node()
    rclpy.shutdown()


def test_the_camera_publishes_the_scene_with_its_truth(node_and_messages) -> None:
    from detsam2_ros.scene.options import DEMO

    got = node_and_messages(
        seed=5, width=96, height=64, rate=50.0, length=12, frame_id='table', encoding='bgr8')
    frames = list(Scene(5, 96, 64, 12, DEMO))
    assert [len(kept) for kept in got.values()] == [12, 12, 12]
    stamps = []
    for frame, image, truth, balls in zip(frames, *got.values(), strict=True):
        assert image.header == truth.header == balls.header
        assert (image.header.frame_id, image.encoding, truth.encoding) == (
            'table', 'bgr8', 'mono16',
        )  # fmt: skip
        pixels = np.frombuffer(image.data, np.uint8).reshape(64, 96, 3)
        assert np.array_equal(pixels[:, :, ::-1], frame.image)
        assert np.array_equal(np.frombuffer(truth.data, np.uint16).reshape(64, 96), frame.labels)
        assert list(balls.ids) == frame.ids.tolist() and balls.frame_index == frame.index
        assert np.allclose(balls.scores, frame.visible_fraction)
        stamps.append(nanoseconds(image.header.stamp))
    assert all(later > earlier for earlier, later in zip(stamps, stamps[1:], strict=False))


def camera(*parameters: str) -> subprocess.Popen[str]:
    arguments = [part for text in parameters for part in ('-p', text)]
    return subprocess.Popen(
        [sys.executable, '-m', 'detsam2_ros.demo.camera', '--ros-args', *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(('parameter', 'words'), [
    ('rate:=0.0', 'rate must be above 0'),
    ('encoding:=mono8', 'encoding must be rgb8 or bgr8'),
    ('width:=10', 'width and height must be >= 64'),
    ('scene.balls:=12', 'balls must be'),
    ('seed:=many', 'seed'),
])
def test_bad_parameters_of_the_camera_are_named(parameter: str, words: str) -> None:
    process = camera(parameter)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words in said and 'Traceback' not in said, said


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_camera_ends_when_told(number: int) -> None:
    process = camera('width:=64', 'height:=64')
    assert process.stdout is not None
    said = process.stdout.readline()  # it waits for subscribers
    assert 'waiting for 1 subscribers' in said
    process.send_signal(number)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0, rest
    assert 'published 0 frames' in rest and 'Traceback' not in rest


def graph(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-m', 'detsam2_ros.demo.graph', *map(str, arguments)],
        capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_quick_demo_tells_its_story(tmp_path) -> None:
    out = tmp_path / 'out'
    result = graph('--quick', '--out', out, '--size', 192)
    assert result.returncode == 0, result.stdout + result.stderr
    assert str(out / 'sheet.png') in result.stdout

    numbers = json.loads((out / 'report.json').read_text())
    phases = numbers['phases']
    assert [(name, own['frames'], own['frames_with_masks']) for name, own in phases.items()] == [
        ('detector on', 20, 20),
        ('detector off', 5, 5),
        ('just before the bank', 10, 10),
        ('memory bank only', 15, 15),
    ]
    assert numbers['image_interval_p50_s'] == pytest.approx(0.1, abs=0.02)
    detector, nothing, before, bank = phases.values()
    assert detector['iou_final'] > 0.8
    assert nothing['found_final'] == 0.0
    # The bank was loaded after these images had been published.
    assert before['found_first'] == 0.0 and before['found_final'] > 0.3
    assert before['corrections'] > 0 and bank['found_final'] > 0.8
    assert 0.0 < bank['latency_p50_s'] < bank['latency_p99_s']
    told = ' '.join(event['text'] for event in numbers['events'])
    for word in ('save_memory_bank: saved', 'detect_interval to 0', 'load_memory_bank: loaded'):
        assert word in told

    assert (out / 'banks' / 'table.safetensors').is_file()
    for name in ('camera', 'node', 'recorder'):
        assert 'Traceback' not in (out / 'logs' / f'{name}.log').read_text()
    capture = cv2.VideoCapture(str(out / 'overlay.mp4'))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 50
    assert cv2.imread(str(out / 'sheet.png')).shape[1] == 4 * 368 + 8
    assert '## What happened' in (out / 'report.md').read_text()


def test_a_graph_that_breaks_says_what_and_shows_the_log(tmp_path) -> None:
    result = graph('--quick', '--out', tmp_path / 'out', '--rate', '-1')
    assert result.returncode == 1
    assert 'the camera ended early, with exit code 2' in result.stderr
    assert 'rate must be above 0' in result.stderr
    assert 'Traceback' not in result.stderr
