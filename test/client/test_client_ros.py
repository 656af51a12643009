# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`subscribe`, and examples that use it, with real messages over the middleware."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from client_cases import STEP, compressed, correction, fill, labels_of, masks, objects

pytest.importorskip('rclpy')
pytest.importorskip('detsam2_msgs.msg')

import rclpy
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from detsam2_msgs import msg as messages
from detsam2_ros.client import MaskTimeline, TimelineFrame, subscribe
from detsam2_ros.quality.formats import read_results

pytestmark = pytest.mark.ros

FIRST = labels_of(0, 0, 1, 1, 0, 0, 1, 1)
AFTER = labels_of(0, 1, 1, 1, 0, 0, 2, 1)


class Sender:
    """Publishes as the detsam2 node does, and spins what listens."""

    def __init__(self, context, executor, prefix: str):
        self.node = rclpy.create_node('detsam2_sender', context=context)
        self.executor = executor
        executor.add_node(self.node)
        kinds = {
            'masks': Image,
            'objects': messages.ObjectArray,
            'corrections': messages.MaskCorrection,
            'masks/compressed': CompressedImage,
            'corrections/compressed': messages.CompressedMaskCorrection,
        }
        self.kinds = kinds
        self.publishers = {
            topic: self.node.create_publisher(kind, f'{prefix}/{topic}', QoSProfile(depth=40))
            for topic, kind in kinds.items()
        }

    def until(self, done: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, 'nothing came in time'
            self.executor.spin_once(timeout_sec=0.05)

    def matched(self) -> bool:
        return sum(p.get_subscription_count() for p in self.publishers.values()) == 3

    def send(self, topic: str, source: SimpleNamespace) -> None:
        other = f'{topic}/compressed'
        if other in self.publishers and self.publishers[other].get_subscription_count():
            topic, source = other, compressed(source)
        self.publishers[topic].publish(fill(self.kinds[topic](), source))

    def send_frame(self, index: int, labels: np.ndarray) -> None:
        self.send('masks', masks(labels, index * STEP))
        self.send('objects', objects(index * STEP, index))


@pytest.fixture(params=['single', 'multi'])
def context_and_executor(request):
    context = rclpy.Context()
    rclpy.init(context=context)
    kind = SingleThreadedExecutor if request.param == 'single' else MultiThreadedExecutor
    executor = kind(context=context)
    yield context, executor
    executor.shutdown()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize('png', [False, True])
def test_subscribe(context_and_executor, capfd, png) -> None:
    context, executor = context_and_executor
    node = rclpy.create_node('client', context=context, namespace='robot')
    executor.add_node(node)
    sender = Sender(context, executor, '/robot/detsam2/front')
    changes: list[TimelineFrame] = []
    timeline = MaskTimeline(length=50)
    subscription = subscribe(
        node, changes.append, camera='front', timeline=timeline, depth=40, compressed=png)
    assert subscription.timeline is timeline
    sender.until(sender.matched)
    for i in range(20):
        sender.send_frame(i, FIRST)
    sender.until(lambda: len(timeline) == 20)
    bad = correction(FIRST, AFTER, 3 * STEP, 3)
    bad.roi.x_offset = 3
    sender.send('corrections', bad)
    for i in range(5, 10):
        sender.send('corrections', correction(FIRST, AFTER, i * STEP, i, final=True))
    sender.until(lambda: len(changes) == 25)
    assert [frame.revision for frame in timeline.frames()] == [0] * 5 + [1] * 5 + [0] * 10
    assert sorted(frame.index for frame in changes[:20]) == list(range(20))
    assert [frame.index for frame in changes[20:]] == list(range(5, 10))
    for frame in timeline.frames():
        np.testing.assert_array_equal(frame.labels, AFTER if frame.revision else FIRST)
        assert frame.final == bool(frame.revision)
        assert (frame.frame_id, frame.objects[0].class_name) == ('camera', 'cup')
    suffix = '/compressed' * png
    refused = 'message refused: correction of frame 3: roi of 2x2 '
    assert f'detsam2/front/corrections{suffix}: {refused}' in capfd.readouterr().err
    subscription.destroy()
    sender.until(lambda: sender.publishers['masks' + suffix].get_subscription_count() == 0)
    assert len(timeline) == 20


def test_planner_as_a_process(context_and_executor) -> None:
    from nav_msgs.msg import OccupancyGrid
    from std_msgs.msg import String

    context, executor = context_and_executor
    sender = Sender(context, executor, '/detsam2')
    plans: list[str] = []
    grids: list[OccupancyGrid] = []
    sender.node.create_subscription(
        String, '/planner/plan', lambda message: plans.append(message.data), 50)
    sender.node.create_subscription(OccupancyGrid, '/planner/free_space', grids.append, 50)
    example = Path(__file__).resolve().parents[2] / 'examples' / 'planner.py'
    process = subprocess.Popen(
        [sys.executable, str(example), '--ros-args', '-p', 'cell:=16'],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        sender.until(
            lambda: sender.matched() and sender.node.count_publishers('/planner/plan') == 1, 60)
        time.sleep(0.5)  # for its publishers to match the subscriptions here
        wrong, right = np.zeros((64, 96), np.uint16), np.zeros((64, 96), np.uint16)
        wrong[48:, 32:80] = 1  # the bottom row of the columns 2 to 4
        for i in range(4):
            sender.send_frame(i, wrong)
        sender.until(lambda: len(grids) == 4)
        for i in range(4):
            sender.send('corrections', correction(wrong, right, i * STEP, i))
        sender.until(lambda: len(grids) == 8)
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and 'Traceback' not in output, output
    grid = grids[3]
    assert (grid.info.width, grid.info.height, grid.header.frame_id) == (6, 4, 'camera')
    assert list(grid.data[:6]) == [0, 0, 100, 100, 100, 0] and not any(grid.data[6:])
    assert not any(grids[7].data)
    assert plans[0] == (
        'frame 0: 0 cells freed, 3 newly occupied, 0 doubtful; '
        'plan changed from standing still to column 1'
    )
    freed = [line for line in plans if 'corrected (revision 1): 3 cells freed' in line]
    assert len(freed) == 1 and freed[0].endswith('plan changed from column 1 to column 2')
    assert freed[0] in output


def test_record_results_as_a_process(context_and_executor, tmp_path) -> None:
    context, executor = context_and_executor
    sender = Sender(context, executor, '/detsam2')
    example = Path(__file__).resolve().parents[2] / 'examples' / 'record_results.py'
    file = tmp_path / 'revisions.jsonl'
    parameters = [f'file:={file}', 'max_propagation:=2', 'window_size:=0']
    process = subprocess.Popen(
        [sys.executable, str(example), '--ros-args', *(a for p in parameters for a in ('-p', p))],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        sender.until(sender.matched, 60)
        time.sleep(1.0)  # for its subscriptions to match the publishers here
        for i in range(4):
            sender.send_frame(i, FIRST)
        sender.until(lambda: file.exists() and file.read_text().count('"objects"') == 4)
        sender.send('corrections', correction(FIRST, AFTER, 2 * STEP, 2, ids=(1, 2)))
        sender.until(lambda: file.read_text().count('"objects"') == 5)
    finally:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and 'Traceback' not in output, output
    assert f'4 frames in {file}' in output
    (found,) = read_results(file)
    assert (found.name, found.size, found.class_names) == ('revisions', (2, 4), {7: 'cup'})
    said = [(r.frame, r.revision, r.newest, r.final) for r in found.revisions]
    assert said[:4] == [(i, 0, i, i == 0) for i in range(4)] and said[4] == (2, 1, 3, False)
    labels = np.zeros(found.size, np.uint16)
    for thing in found.revisions[4].shown.segments:
        labels[thing.mask.pixels()] = thing.id
    np.testing.assert_array_equal(labels, AFTER)
    assert found.settled == {0: 3}
