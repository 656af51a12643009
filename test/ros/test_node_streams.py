# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Images in, masks and corrections out: as the engine alone makes them, and for others."""

import importlib.util
from typing import Any

import node_scenes
import numpy as np
import pytest
from node_colour import COLOURS
from node_control import COMPRESSING
from node_graph import Graph, quality, wait_until
from node_running import SECOND, CameraSide, RunningNode, stamp_of
from node_scenes import check_same, check_timeline, engine_results, scene, steady_scene
from sensor_msgs.msg import Image

from detsam2_msgs.msg import ObjectArray
from detsam2_msgs.srv import AddObject, RenameObject
from detsam2_ros.client import subscribe

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']


def run(node: RunningNode, camera: CameraSide, frames: list[np.ndarray], **config: Any) -> None:
    """Show frames, end the last window and compare all that came with the engine's results."""
    stamps = camera.stream(frames, ahead=2 * config.get('window_size', 4))
    node.finish()
    check_same(camera, engine_results(zip(stamps, frames, strict=True), **config))


def test_masks_and_corrections_are_the_engines_own(start):
    node = start()
    frames = scene(42)
    run(node, node.camera, frames)
    revisions = [message.revision for message in node.camera.corrections.messages]
    assert max(revisions) >= 2  # else the scene would prove little


def test_each_frame_has_rising_revisions_until_it_is_final(start):
    node = start()
    stamps = node.camera.stream(scene(40, seed=5))
    node.finish()
    wait_until(lambda: node.camera.timeline.at(stamps[0]), 'the first frame')
    by_stamp: dict[int, list[Any]] = {stamp: [] for stamp in stamps}
    for message in node.camera.corrections.messages:
        by_stamp[stamp_of(message)].append(message)
    for corrections in by_stamp.values():
        assert [c.revision for c in corrections] == list(range(1, len(corrections) + 1))
        assert not any(c.final for c in corrections[:-1])


@pytest.mark.parametrize('windows', ['aligned', 'plain'])
@pytest.mark.parametrize('window, detect, reach', [(1, 1, 1), (3, 2, 7), (5, 10, 20)])
def test_other_windows(start, window, detect, reach, windows):
    method = {
        'window_size': window, 'detect_interval': detect, 'max_propagation': reach,
        'windows': windows,
    }  # fmt: skip
    node = start(**method)
    run(node, node.camera, scene(23, seed=window), **method)


def test_a_scene_without_objects_has_masks_too(start):
    node = start()
    run(node, node.camera, steady_scene(9))
    assert all(not any(message.data) for message in node.camera.masks.messages)


def test_two_cameras_are_streams_of_their_own(start):
    node = start(cameras=['front', 'rear'])
    for camera, pairs in node_scenes.two_cameras(node, ahead=8, rate=30):
        check_same(camera, engine_results(pairs))


@pytest.mark.parametrize('reliable', [False, True])
def test_publishers_of_either_reliability(start, reliable):
    # With the node's own QoS, sensor data: frames may get lost, which changes nothing else.
    node = start(lossless=False, qos=quality(reliable=reliable, depth=5), max_window_delay=0.3)
    camera = node.camera
    camera.expected_drops = None
    for i, image in enumerate(scene(16)):
        camera.send(image, (i + 1) * SECOND // 10)
        if i % 4 == 3:
            node.wait_status(lambda status: status.values['waiting'] == '0', '')
    assert len(camera.masks) > 8
    stamps = [stamp_of(message) for message in camera.masks.messages]
    assert stamps == sorted(set(stamps)) and set(stamps) <= set(camera.sent)


def test_a_late_subscriber_gets_what_comes_from_then_on(start):
    node = start()
    frames = scene(40, seed=3)
    stamps = node.camera.stream(frames[:20])
    node.camera.masks.wait(20)
    late = Graph('late')
    try:
        subscription = subscribe(late.node, namespace=node.name)
        for listening in subscription.subscriptions:
            wait_until(listening.get_publisher_count, 'the late subscriber')
        wait_until(lambda: node.graph.node.count_subscribers(node.name + '/masks') == 2, 'node')
        # It is connected when the first window comes to it; all later ones must come whole.
        more = node.camera.stream(frames[20:], first=stamps[-1] + SECOND)
        node.camera.masks.wait(40)
        node.finish()
        results = engine_results(zip(stamps + more, frames, strict=True))
        latest = {result.stamp: result for result in results}
        wait_until(lambda: subscription.timeline.at(more[-1]), 'the last frame')
        check_timeline(node.camera, results)
        for stamp in more[-16:]:
            wanted = latest[stamp]
            wait_until(
                lambda s=stamp, w=wanted:
                (f := subscription.timeline.at(s)) and f.revision == w.revision, 'corrections')
            found = subscription.timeline.at(stamp)
            np.testing.assert_array_equal(found.labels, wanted.labels)
        assert subscription.timeline.at(stamps[0]) is None
    finally:
        late.close()


def test_nobody_has_to_listen(start, graph):
    node = start()
    for box in (node.camera.masks, node.camera.corrections):
        graph.node.destroy_subscription(box.subscription)
    node.camera.check_messages = lambda published, corrections: None
    node.camera.masks.wait = lambda count: range(count)
    node.camera.stream(scene(20))
    node.finish()
    assert node.status('').values['published'] == '20'


@pytest.mark.parametrize('namespace, name', [('/', 'detsam2'), ('/robot/eyes', 'segmenter')])
def test_any_namespace_and_name(start, namespace, name):
    node = start(namespace=namespace, name=name)
    assert node.camera.masks.subscription.topic == f'{namespace}/{name}/masks'.replace('//', '/')
    run(node, node.camera, scene(10))


def test_the_image_topic_can_be_remapped(start):
    node = start(image_topic='/remapped/image_raw')
    assert node.status('').values['topic'] == '/remapped/image_raw'
    run(node, node.camera, scene(10))


# ---- over a network
def test_compressed_masks_are_the_same_and_made_only_when_asked_for(start, control):
    node = start()
    frames = scene(36, seed=2)
    stamps = node.camera.stream(frames[:12])
    assert control.counted(COMPRESSING) == 0
    late = Graph('late')
    try:
        subscription = subscribe(late.node, namespace=node.name, compressed=True)
        for listening in subscription.subscriptions:
            wait_until(listening.get_publisher_count, 'the late subscriber')
        for topic in ('masks', 'corrections'):
            name = f'{node.name}/{topic}/compressed'
            wait_until(lambda n=name: node.graph.node.count_subscribers(n), name)
        more = node.camera.stream(frames[12:], first=stamps[-1] + SECOND)
        node.finish()
        timeline, expected = subscription.timeline, node.camera.timeline
        # It knows no revision 0 of the frames before, only of these.
        wait_until(lambda: [f for s in more if (f := timeline.at(s))] == [
            expected.at(stamp) for stamp in more], 'the same frames')
        for stamp in more:
            np.testing.assert_array_equal(timeline.at(stamp).labels, expected.at(stamp).labels)
        assert any(timeline.at(stamp).revision for stamp in more)
        assert control.counted(COMPRESSING) >= len(more) + 1
    finally:
        late.close()


# ---- programs that know vision_msgs, or a mask of classes, only
needs_vision_msgs = pytest.mark.skipif(
    importlib.util.find_spec('vision_msgs') is None, reason='vision_msgs is not installed')


def test_the_class_mask_is_the_label_image_in_classes(start, graph):
    node = start()
    # As nav2's layer subscribes: best effort to what is published reliably.
    box = graph.inbox(Image, f'{node.name}/class_mask', quality(reliable=False))
    wait_until(box.subscription.get_publisher_count, 'class_mask')
    wait_until(lambda: node.graph.node.count_subscribers(f'{node.name}/class_mask'), 'the test')
    node.camera.stream(scene(12, seed=2))
    node.finish()
    count = len(node.camera.masks.wait(12))
    for message, labels, objects in zip(
        box.wait(count), node.camera.masks.messages, node.camera.objects.messages, strict=True
    ):
        assert message.header == labels.header
        assert (message.encoding, message.step) == ('mono8', node_scenes.SIZE[1])
        classes = np.frombuffer(message.data, np.uint8).reshape(node_scenes.SIZE)
        ids = np.frombuffer(labels.data, np.uint16).reshape(node_scenes.SIZE)
        of = {0: 255, **dict(zip(objects.ids, objects.class_ids, strict=True))}
        np.testing.assert_array_equal(classes, np.vectorize(of.get, otypes=[np.uint8])(ids))
    assert any(set(m.data) - {255} for m in box.messages)


@needs_vision_msgs
def test_tracked_objects_come_with_each_frame_and_stable_ids(start, graph):
    from vision_msgs.msg import Detection2DArray

    node = start()
    box = graph.inbox(Detection2DArray, f'{node.name}/tracked')
    wait_until(lambda: node.graph.node.count_subscribers(f'{node.name}/tracked'), 'the test')
    node.camera.stream(scene(12, seed=2))
    node.finish()
    for message, objects in zip(box.wait(12), node.camera.objects.wait(12), strict=True):
        assert message.header == objects.header
        seen = [i for i, visible in enumerate(objects.visible) if visible]
        assert [d.id for d in message.detections] == [str(objects.ids[i]) for i in seen]
        for found, i in zip(message.detections, seen, strict=True):
            result, *more = found.results
            doubts = [('tentative', 0.0)] * (objects.states[i] == ObjectArray.TENTATIVE)
            assert [(m.hypothesis.class_id, m.hypothesis.score) for m in more] == doubts
            assert result.hypothesis.class_id == str(objects.class_ids[i])
            assert result.hypothesis.score == pytest.approx(objects.scores[i])
            centre, size = found.bbox.center.position, (found.bbox.size_x, found.bbox.size_y)
            x0, y0, x1, y1 = objects.boxes[4 * i:4 * i + 4]
            assert (centre.x, centre.y, *size) == ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
    assert any(message.detections for message in box.messages)


@needs_vision_msgs
def test_new_classes_are_in_the_latched_table_of_every_camera(start, graph):
    from vision_msgs.msg import LabelInfo

    node = start(cameras=['front', 'rear'])
    for i, image in enumerate(steady_scene(3, 'red', 'white')):
        for camera in node.cameras.values():
            camera.send(image, (i + 1) * SECOND)
    node.wait_taken()
    answer = node.call(AddObject, 'add_object', camera='rear', class_name='cup',
                       box=[19.0, 7.0, 31.0, 21.0])
    assert answer.success and answer.class_id == len(COLOURS), answer.message
    node.call(AddObject, 'add_object', camera='rear', class_name='cup', box=[0.0, 0.0, 2.0, 2.0])
    renamed = node.call(RenameObject, 'rename_object', camera='rear', object_id=1,
                        class_name='mug')
    assert renamed.success and renamed.class_id == len(COLOURS) + 1

    def latched(camera: str) -> list[tuple[int, str]]:
        late = graph.inbox(
            LabelInfo, f'{node.name}/{camera}/label_info', quality(depth=1, transient=True))
        return [(c.class_id, c.class_name) for c in late.wait(1)[-1].class_map]

    for camera in node.cameras:
        assert latched(camera) == list(enumerate([*COLOURS, 'cup', 'mug']))
    assert node.change_state('deactivate') and node.change_state('activate')
    assert latched('front')[-1][1] == 'mug'
