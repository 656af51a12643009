# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The examples of the doors: a click that prompts an object, a detector that leads the node."""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import fakes
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='the examples import it')

from example_scripts import EXAMPLES, example
from geometry_msgs.msg import PointStamped
from node_graph import wait_until
from node_running import SECOND, RunningNode
from node_scenes import steady_scene

from detsam2_ros.demo.camera import SEED
from detsam2_ros.scene.options import DEMO
from detsam2_ros.scene.scene import CLASS_NAMES, render

HAS_VISION_MSGS = importlib.util.find_spec('vision_msgs') is not None
needs_vision_msgs = pytest.mark.skipif(not HAS_VISION_MSGS, reason='vision_msgs is not installed')

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']


@pytest.fixture
def run() -> Iterator[Any]:
    """Start an example; it is ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *arguments], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONUNBUFFERED': '1'}))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def show(node: RunningNode, *images: np.ndarray) -> None:
    """Send images, and wait until the node has taken them."""
    for image in images:
        node.camera.send(image, (len(node.camera.sent) + 1) * SECOND)
    node.wait_taken()


def test_clicks_prompt_objects(start, run, graph):
    node = start(detector='none')
    images = steady_scene(8, 'red', 'green')
    show(node, *images[:5])
    boxed = run('click_prompt.py', 'box', '3', '9', '17', '23', '--class', 'ball',
                '--detsam2', node.name)
    clicked = run('click_prompt.py', 'clicks', '/clicks', '--class', 'cup', '--detsam2', node.name)
    said, _ = boxed.communicate(timeout=60)
    assert boxed.returncode == 0, said
    assert said.startswith('object 1 (ball), score 0.99, on frame 4: ')
    clicks = graph.publisher(PointStamped, '/clicks')
    wait_until(clicks.get_subscription_count, 'the example')
    for x, line in ((900.0, 'the point (900, 16) is outside'), (25.0, 'object 2 (cup)')):
        click = PointStamped()
        click.point.x, click.point.y = x, 16.0
        clicks.publish(click)
        wait_until(lambda line=line: node.process.lines(line), 'the click')
    show(node, *images[5:])
    node.finish()
    frame = node.camera.timeline.at(8 * SECOND)
    assert {o.class_name: bool(frame.labels[fakes.colour_mask(images[7], colour)].any())
            for o, colour in zip(frame.objects, ('red', 'green'), strict=True)} == {
                'ball': True, 'cup': True}
    clicked.send_signal(signal.SIGINT)
    said, _ = clicked.communicate(timeout=20)
    assert [line.split()[0] for line in said.splitlines()] == ['refused:', 'object'], said


@pytest.mark.parametrize('given, told', [
    (['point', '1'], 'takes 2 values, got 1'), (['box', '1', '2', '3', 'x'], 'takes numbers'),
    (['circle', '1'], 'invalid choice')])
def test_a_wrong_command_line_is_explained(given, told, capsys):
    with pytest.raises(SystemExit) as ended:
        example('click_prompt').arguments(given)
    assert ended.value.code == 2 and told in capsys.readouterr().err


@needs_vision_msgs
def test_the_colour_detector_finds_most_balls_of_the_demo():
    """Of the colours that it knows; as what they are, and next to nothing else."""
    detector = example('external_detector')
    hits = seen = others = 0
    for seed in range(SEED, SEED + 3):
        for frame in render(seed, 31, options=DEMO)[::10]:
            found = detector.find_balls(frame.image)
            used = set()
            for key, box, visible in zip(
                frame.class_ids, frame.boxes, frame.visible_fraction, strict=True
            ):
                name = CLASS_NAMES[int(key)]
                if visible < 0.95:
                    used |= {f for f in found if overlap(f.box, box) > 0.3}
                    continue
                own = {f for f in found if overlap(f.box, box) > 0.5}
                used |= own
                seen += name in detector.HUES
                hits += name in {f.name for f in own}
            others += len(set(found) - used)
    assert hits >= 0.8 * seen > 10 and others <= 0.1 * seen, (hits, seen, others)


def overlap(a: Any, b: Any) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    sizes = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(sizes) - both)


@needs_vision_msgs
def test_the_colour_detector_leads_the_node(start, run):
    node = start(detector='topic')
    topic = node.camera.input_topic
    process = run('external_detector.py', '--ros-args', '-r', f'image:={topic}', '-r',
                  f'detections:={node.name}/detections', '-p', 'interval:=3')
    wait_until(lambda: node.camera.publisher.get_subscription_count() == 2, 'the example')
    images = iter(steady_scene(400, 'red', 'green', 'blue'))

    def led() -> bool:
        show(node, next(images))
        return node.status('').values['detections_used'] != '0'

    wait_until(led, 'detections')
    show(node, *[next(images) for _ in range(8)])
    node.finish()
    last = node.camera.objects.messages[-1]
    assert set(last.class_names) == {'red', 'green', 'blue'} and all(last.visible)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert 'red 0.' in said and 'Traceback' not in said
