# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detections of another node lead a running node: early, in time, late, wrong and far too many."""

import importlib.util
from typing import Any

import fakes
import numpy as np
import pytest
from node_colour import SCORES
from node_fixtures import LOSSLESS
from node_graph import quality, wait_until
from node_running import SECOND, RunningNode
from node_scenes import check_same, engine_results, scene, steady_scene

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(
        importlib.util.find_spec('vision_msgs') is None, reason='vision_msgs is not installed'),
]
pytest_plugins = ['node_fixtures']


class Detector:
    """The other node: publishes boxes of colours, for whatever stamp."""

    def __init__(self, node: RunningNode, camera: str = ''):
        from vision_msgs.msg import Detection2DArray

        self.node, self.camera = node, camera
        self.sent = 0
        topic = f'{node.name}/{camera}/detections'.replace('//', '/')
        self.publisher = node.graph.publisher(Detection2DArray, topic, quality())

    def find(self, image: np.ndarray, stamp: int, by_name: bool = True) -> None:
        """Publish a box around each colour of the image."""
        boxes = [(c if by_name else str(i), box, SCORES[c]) for i, c in enumerate(SCORES)
                 if (box := fakes.colour_box(image, c)) is not None]
        self.say(stamp, boxes)

    def say(self, stamp: int, boxes: list[tuple[str, Any, float]]) -> None:
        """Publish a message of (class, box, score)."""
        self.publisher.publish(detections(stamp, boxes))
        self.sent += 1

    def settle(self, waiting: int = 0) -> dict[str, str]:
        """Wait until all that was sent is accounted for; returns the diagnostics."""
        status = self.node.wait_status(
            lambda s: s.values['detections_received'] == str(self.sent)
            and s.values['detections_waiting'] == str(waiting), self.camera)
        counts = {k: int(v) for k, v in status.values.items() if v.isdigit()}
        assert self.sent == counts['detections_used'] + waiting + counts['detections_unused']
        assert counts['detections_unused'] == sum(
            n for k, n in counts.items() if k.startswith('detections_unused_'))
        return status.values


def detections(stamp: int, boxes: list[tuple[str, Any, float]]) -> Any:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

    message = Detection2DArray()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, SECOND)
    for name, (x0, y0, x1, y1), score in boxes:
        one = Detection2D()
        one.bbox.center.position.x, one.bbox.center.position.y = (x0 + x1) / 2, (y0 + y1) / 2
        one.bbox.size_x, one.bbox.size_y = float(x1 - x0), float(y1 - y0)
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, score
        one.results.append(result)
        message.detections.append(one)
    return message


def start_led(start: Any, **parameters: Any) -> tuple[RunningNode, Detector]:
    """Start a node that is led by a detector of the test, whose messages cannot get lost."""
    namespace = f'/led{start_led.count}'  # type: ignore[attr-defined]
    start_led.count += 1  # type: ignore[attr-defined]
    node = start(
        detector='topic', namespace=namespace,
        qos_overrides={f'{namespace}/detsam2/{topic}': {'subscription': dict(LOSSLESS)}
                       for topic in ('image', 'detections')},
        **{'confirm_detections': 0, **parameters})  # by default detections come once
    detector = Detector(node)
    wait_until(detector.publisher.get_subscription_count, 'subscription of the node')
    return node, detector


start_led.count = 0  # type: ignore[attr-defined]


def test_in_time_they_do_what_a_detector_of_the_engine_does(start):
    """Every frame is a detection frame: the same masks, objects and corrections."""
    node, detector = start_led(start)
    images = scene(20, seed=3)
    stamps = [(i + 1) * SECOND for i in range(len(images))]
    for image, stamp in zip(images, stamps, strict=True):
        detector.find(image, stamp, by_name=False)  # before the frame: it waits for it
        detector.settle(waiting=1)
        node.camera.send(image, stamp)
        node.wait_taken()
    values = detector.settle()
    assert values['detections_used'] == '20'
    node.finish()
    want = engine_results(
        zip(stamps, images, strict=True), detect_interval=1, confirm_detections=0)
    for message in node.camera.objects.messages:
        message.class_names = [list(SCORES)[i] for i in message.class_ids]
    for message in node.camera.corrections.messages:
        names = [list(SCORES)[i] for i in message.objects.class_ids]
        message.objects.class_names = names
    check_same(node.camera, want)


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_late_ones_correct_the_past(start, mode):
    """M = 12: a detection 5 frames late shows on frames that were published without it."""
    node, detector = start_led(start, mode=mode)
    images = steady_scene(20, 'red', 'green')
    node.camera.send_all(images[:8])
    node.wait_taken()
    node.camera.objects.wait(8)
    assert not any(m.ids for m in node.camera.objects.messages)
    detector.find(images[3], 4 * SECOND)
    values = detector.settle()
    assert values['detections_used'] == '1' and values['boxes_started'] == '2'
    node.camera.send_all(images[8:], 9 * SECOND)
    node.finish()
    for i, image in enumerate(images[:16]):
        labels = node.camera.timeline.at((i + 1) * SECOND).labels
        for colour in ('red', 'green'):
            assert labels[fakes.colour_mask(image, colour)].any(), (i, colour)
    assert set(node.camera.objects.messages[-1].class_names) == {'red', 'green'}


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_ghost_of_another_node_is_withdrawn(start, mode):
    """Cyan is found once and never again, although it is in view; red is found again."""
    node, detector = start_led(
        start, mode=mode, confirm_detections=2, withdraw_detections=2, max_propagation=16)
    images = steady_scene(28, 'red', 'cyan')
    for i, image in enumerate(images):
        stamp = (i + 1) * SECOND
        if i % 4 == 0:
            names = ('red', 'cyan') if i == 0 else ('red',)
            boxes = [(c, fakes.colour_box(image, c), 0.9) for c in names]
            detector.say(stamp, boxes)
            detector.settle(waiting=1)
        node.camera.send(image, stamp)
        node.wait_taken()
    node.finish()
    # In mode online a frame is published before its detections are used.
    first = node.camera.objects.messages[0 if mode == 'window' else 1]
    states = dict(zip(first.class_names, first.states, strict=True))
    assert states == {'red': first.TENTATIVE, 'cyan': first.TENTATIVE}
    ghost = first.ids[list(first.class_names).index('cyan')]
    shown = {m.frame_index for m in node.camera.objects.messages if ghost in m.ids}
    corrections = node.camera.corrections.messages
    assert {m.frame_index for m in corrections if ghost in m.withdrawn_ids} >= shown
    for i in range(len(images)):
        frame = node.camera.timeline.at((i + 1) * SECOND)
        assert [thing.class_name for thing in frame.objects if thing.visible] == ['red'], i
    last = node.camera.objects.messages[-1]
    assert list(last.states) == [last.CONFIRMED]


def test_each_message_without_a_frame_is_counted_by_reason(start):
    node, detector = start_led(start)
    images = steady_scene(40, 'red')
    for i, image in enumerate(images[:24]):
        node.camera.send(image, (2 * i + 2) * SECOND)
    node.wait_taken()
    detector.find(images[0], 2 * SECOND)  # final
    detector.find(images[0], 1 * SECOND)  # before any frame
    detector.find(images[20], 41 * SECOND)  # between two frames
    detector.find(images[23], 48 * SECOND)
    for _ in range(5):
        detector.find(images[22], 46 * SECOND)
    detector.find(images[30], 900 * SECOND)  # waits, in vain
    values = detector.settle(waiting=1)
    unused = {k: v for k, v in values.items() if k.startswith('detections_unused_')}
    assert unused == {
        'detections_unused_late': '2', 'detections_unused_no_frame': '1',
        'detections_unused_repeated_stamp': '1'}
    assert values['detections_used'] == '5'
    warnings = node.process.lines('[WARN]')
    assert len(warnings) == 3 and all('detections' in line for line in warnings)
    assert node.trigger('reset').success
    values = detector.settle()
    assert values['detections_unused_stream_reset'] == '1'
    detector.find(images[30], 900 * SECOND)
    detector.settle(waiting=1)
    assert node.change_state('deactivate')
    assert detector.settle()['detections_unused_inactive'] == '1'


def test_a_flood_holds_up_no_frame_and_is_bounded(start, control):
    """Thousands of messages, wrong stamps and hundreds of boxes: frames come out in order."""
    node, detector = start_led(start, mode='online')
    images = steady_scene(24, 'red', 'green')
    junk = [('red', (-500, -500, 0, 0), 0.9), ('nothing', (1e30, 2, 3e30, 4), 0.1)] * 40
    for i, image in enumerate(images):
        node.camera.send(image, (i + 1) * SECOND)
        for j in range(20):
            detector.say((i + 1) * SECOND + (j % 3) * (j - 5), junk)
        detector.find(image, (i + 1) * SECOND)
    sent = str(detector.sent)
    values = node.wait_status(lambda s: s.values['detections_received'] == sent, '').values
    assert int(values['detections_waiting']) <= 64
    assert int(values['detections_used']) <= 4 * len(images)
    node.finish()
    stamps = [m.header.stamp.sec for m in node.camera.objects.wait(len(images))]
    assert stamps == list(range(1, len(images) + 1))
    assert len(node.process.lines('[WARN]')) < 10


def test_malformed_ones_are_counted_and_told_once(start):
    node, detector = start_led(start)
    image = steady_scene(1, 'red')[0]
    box = (4.0, 6.0, 16.0, 18.0)
    nan = float('nan')
    bad = [('red', (nan, 0, 1, 1), 0.9), ('red', (5, 5, 5, 9), 0.9), ('red', (9, 5, 5, 9), 0.9),
           ('', box, 0.9), ('x' * 500, box, 0.9), ('a\nb', box, 0.9), ('red', box, nan),
           ('red', box, 1.5), ('red', box, -0.1), ('red', (0, 0, float('inf'), 1), 0.5)]
    for stamp in (1, 2, 3):
        node.camera.send(image, stamp * SECOND)
        message = detections(stamp * SECOND, [*bad, ('red', box, 0.9)])
        message.detections[0].results.clear()
        message.detections.append(detections(0, [('green', box, 0.9)]).detections[0])
        message.detections[-1].results.clear()
        detector.publisher.publish(message)
        detector.sent += 1
    node.wait_taken()
    values = detector.settle()
    refused = {k.removeprefix('boxes_refused_'): int(v) for k, v in values.items()
               if k.startswith('boxes_refused_')}
    assert refused == {'not_finite': 6, 'no_area': 6, 'bad_class': 9, 'bad_score': 9,
                       'no_result': 3}
    assert values['boxes_received'] == '3' and values['detections_used'] == '3'
    assert len(node.process.lines('[WARN]')) == 5
    node.finish()
    assert list(node.camera.objects.messages[-1].class_names) == ['red']


def test_several_cameras_have_a_topic_each(start):
    node = start(detector='topic', cameras=['front', 'rear'])
    images = steady_scene(8, 'red')
    detectors = {camera: Detector(node, camera) for camera in ('front', 'rear')}
    for detector in detectors.values():
        wait_until(detector.publisher.get_subscription_count, 'subscription of the node')
    for i, image in enumerate(images):
        for camera in node.cameras.values():
            camera.send(image, (i + 1) * SECOND)
    node.wait_taken()
    detectors['rear'].find(images[6], 7 * SECOND)
    detectors['rear'].settle()
    for i, image in enumerate(images):
        for camera in node.cameras.values():
            camera.send(image, (i + 9) * SECOND)
    node.finish()
    assert not node.cameras['front'].objects.messages[-1].ids
    assert node.cameras['rear'].objects.messages[-1].class_names == ['red']
    assert 'nobody publishes' not in node.process.log()


def test_new_classes_come_with_the_class_table(start, graph):
    from vision_msgs.msg import LabelInfo

    node, detector = start_led(start)
    box = graph.inbox(LabelInfo, f'{node.name}/label_info', quality(depth=1, transient=True))
    assert not box.wait(1)[0].class_map
    image = steady_scene(1, 'red')[0]
    node.camera.send(image, SECOND)
    detector.say(SECOND, [('cup', (4, 6, 16, 18), 0.9), ('7', (4, 6, 16, 18), 0.9)])
    table = box.wait(2)[-1].class_map
    assert [c.class_name for c in table] == ['cup']
    detector.settle()
