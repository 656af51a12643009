# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Results as messages that others know: vision_msgs, and a mask of classes."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy')

from std_msgs.msg import Header

from detsam2_ros.results.frames import Object
from detsam2_ros.results.masks import Mask
from detsam2_ros.ros.detections import read_detections
from detsam2_ros.ros.images import class_image
from detsam2_ros.ros.standard import UNLABELED, LabelInfo, class_mask, label_info, tracked

pytestmark = pytest.mark.ros
needs_vision_msgs = pytest.mark.skipif(LabelInfo is None, reason='vision_msgs is not installed')


def shown(*objects: Object, labels: np.ndarray | None = None) -> SimpleNamespace:
    return SimpleNamespace(objects=objects, labels=labels)


CUP = Object(3, 1, 'cup', 0.75, False, Mask((40, 40), (10, 20, 14, 26)))
HIDDEN = Object(4, 0, 'ball', 0.1, False, Mask((40, 40)))
BALL = Object(65535, 300, 'ball', 1.0, True, Mask((40, 40), (0, 0, 1, 1)))


@needs_vision_msgs
def test_tracked_objects_have_their_id_class_and_box():
    header = Header(frame_id='eye')
    header.stamp.sec = 5
    message = tracked(shown(CUP, HIDDEN, BALL), header)
    assert message.header == header
    assert [d.id for d in message.detections] == ['3', '65535']
    cup = message.detections[0]
    assert cup.header == header
    assert (cup.bbox.center.position.x, cup.bbox.center.position.y) == (12.0, 23.0)
    assert (cup.bbox.size_x, cup.bbox.size_y, cup.bbox.center.theta) == (4.0, 6.0, 0.0)
    assert [(r.hypothesis.class_id, r.hypothesis.score) for r in cup.results] == [('1', 0.75)]
    assert not tracked(shown(), header).detections


@needs_vision_msgs
def test_what_is_tracked_can_lead_another_node():
    found, refused = read_detections(tracked(shown(CUP, BALL), Header()))
    np.testing.assert_array_equal(found.boxes, [CUP.box, BALL.box])
    assert found.classes == ('1', '300') and not refused


def test_a_class_mask_has_class_ids_and_255_elsewhere():
    labels = np.zeros((4, 6), np.uint16)
    labels[0, :2], labels[1, :] = 3, 65535
    header = Header(frame_id='eye')
    message = class_mask(shown(CUP, BALL, labels=labels), header)
    assert (message.encoding, message.step, message.header) == ('mono8', 6, header)
    classes = np.frombuffer(message.data, np.uint8).reshape(4, 6)
    assert classes[0].tolist() == [1, 1, *[UNLABELED] * 4]
    assert (classes[1:] == UNLABELED).all()  # 300 does not fit into 8 bits
    with pytest.raises(TypeError):
        class_image(header, classes.astype(np.uint16))


@needs_vision_msgs
def test_the_class_table_leaves_out_what_it_cannot_hold():
    table = label_info(Header(), {2: 'cup', 0: 'ball', -1: 'below', 70000: 'above'})
    assert [(c.class_id, c.class_name) for c in table.class_map] == [(0, 'ball'), (2, 'cup')]
