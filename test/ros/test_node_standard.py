# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a running node says to programs that know vision_msgs, or a mask of classes, only."""

import importlib.util

import numpy as np
import pytest
from node_colour import COLOURS
from node_graph import quality, wait_until
from node_running import SECOND
from node_scenes import SIZE, scene, steady_scene
from sensor_msgs.msg import Image

from detsam2_msgs.srv import AddObject, RenameObject

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']
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
        assert (message.encoding, message.step) == ('mono8', SIZE[1])
        classes = np.frombuffer(message.data, np.uint8).reshape(SIZE)
        ids = np.frombuffer(labels.data, np.uint16).reshape(SIZE)
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
            (result,) = found.results
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
