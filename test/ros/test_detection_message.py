# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detection2DArray messages, read and made, and a mask of classes; also without vision_msgs."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy')

import rclpy
from hypothesis import given
from hypothesis import strategies as st
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from std_msgs.msg import Header

from detsam2_ros.results.frames import Object, ObjectState
from detsam2_ros.results.masks import Mask
from detsam2_ros.ros import detections as detection_message
from detsam2_ros.ros.detections import MAX_BOXES, REFUSALS, read_detections
from detsam2_ros.ros.images import class_image
from detsam2_ros.ros.parameters import declare
from detsam2_ros.ros.session import Session
from detsam2_ros.ros.standard import UNLABELED, LabelInfo, class_mask, label_info, tracked

try:
    from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose
except ImportError:

    def Detection2D() -> SimpleNamespace:
        pose = SimpleNamespace(position=SimpleNamespace(x=0.0, y=0.0), theta=0.0)
        box = SimpleNamespace(center=pose, size_x=0.0, size_y=0.0)
        return SimpleNamespace(bbox=box, results=[])

    def Detection2DArray(detections: list) -> SimpleNamespace:
        return SimpleNamespace(header=Header(), detections=detections)

    def ObjectHypothesisWithPose() -> SimpleNamespace:
        return SimpleNamespace(hypothesis=SimpleNamespace(class_id='', score=0.0))


pytestmark = pytest.mark.ros

NUMBERS = st.floats(width=64)  # NaN and infinities too
TEXTS = st.text(max_size=6)


def detection(x, y, width, height, *results, theta=0.0) -> Detection2D:
    """Make a detection; results: (class, score)."""
    made = Detection2D()
    made.bbox.center.position.x, made.bbox.center.position.y = x, y
    made.bbox.size_x, made.bbox.size_y, made.bbox.center.theta = width, height, theta
    for name, score in results:
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = name, score
        made.results.append(result)
    return made


def array_of(*detections: Detection2D, stamp: int = 7) -> Detection2DArray:
    message = Detection2DArray(detections=list(detections))
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    return message


def test_centre_and_size_become_corners_and_the_best_result_counts():
    message = array_of(
        detection(10.0, 20.0, 4.0, 6.0, ('cup', 0.2), (' ball ', 0.7), ('7', 0.1)),
        detection(1.5, 1.5, 3.0, 3.0, ('0', 1.0)), stamp=3_000_000_005)
    found, refused = read_detections(message)
    assert found.stamp == 3_000_000_005 and not refused
    np.testing.assert_array_equal(found.boxes, [[8, 17, 12, 23], [0, 0, 3, 3]])
    assert found.boxes.dtype == np.float32
    assert found.classes == ('ball', '0')
    np.testing.assert_allclose(found.scores, [0.7, 1.0])


@pytest.mark.parametrize('degrees, size', [(0, (8, 2)), (90, (2, 8)), (180, (8, 2)),
                                           (45, (10 / math.sqrt(2),) * 2)])
def test_a_rotated_box_becomes_the_upright_one_around_it(degrees, size):
    turned = detection(50.0, 40.0, 8.0, 2.0, ('a', 0.5), theta=math.radians(degrees))
    (box,) = read_detections(array_of(turned))[0].boxes
    np.testing.assert_allclose(box[2:] - box[:2], size, atol=1e-4)
    np.testing.assert_allclose((box[2:] + box[:2]) / 2, [50, 40], atol=1e-4)


@pytest.mark.parametrize('made, why', [
    (detection(math.nan, 1.0, 1.0, 1.0, ('a', 0.5)), 'not_finite'),
    (detection(1.0, 1.0, 1.0, math.inf, ('a', 0.5)), 'not_finite'),
    (detection(1.0, 1.0, 1.0, 1.0, ('a', 0.5), theta=math.nan), 'not_finite'),
    (detection(1.0, 1.0, 0.0, 1.0, ('a', 0.5)), 'no_area'),
    (detection(1.0, 1.0, 2.0, -1.0, ('a', 0.5)), 'no_area'),
    (detection(1.0, 1.0, 2.0, 1.0), 'no_result'),
    (detection(1.0, 1.0, 2.0, 1.0, ('a', math.nan), ('b', 80.0)), 'bad_score'),
    (detection(1.0, 1.0, 2.0, 1.0, ('a', -0.1)), 'bad_score'),
    (detection(1.0, 1.0, 2.0, 1.0, ('', 0.5)), 'bad_class'),
    (detection(1.0, 1.0, 2.0, 1.0, ('a' * 201, 0.5)), 'bad_class'),
    (detection(1.0, 1.0, 2.0, 1.0, ('a\x00b', 0.5)), 'bad_class'),
])
def test_what_cannot_be_a_box_is_left_out_and_the_rest_is_kept(made, why):
    found, refused = read_detections(array_of(made, detection(2.0, 2.0, 2.0, 2.0, ('good', 0.5))))
    assert dict(refused) == {why: 1} and why in REFUSALS
    assert found.classes == ('good',)


def test_an_empty_message_and_an_endless_one():
    found, refused = read_detections(array_of())
    assert len(found) == 0 and found.boxes.shape == (0, 4) and not refused
    many = array_of(*[detection(2.0, 2.0, 2.0, 2.0, ('a', 0.5))] * (MAX_BOXES + 5))
    found, refused = read_detections(many)
    assert len(found) == MAX_BOXES and dict(refused) == {'too_many_boxes': 5}


@given(st.lists(st.tuples(
    NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS,
    st.lists(st.tuples(TEXTS, NUMBERS), max_size=3)), max_size=6))
def test_anything_becomes_finite_boxes_or_a_reason(given_ones):
    message = array_of(*[
        detection(x, y, w, h, *results, theta=t) for x, y, w, h, t, results in given_ones])
    found, refused = read_detections(message)
    assert len(found) + sum(refused.values()) == len(given_ones)
    assert set(refused) <= set(REFUSALS)
    assert np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
    assert all(name.strip() == name and name for name in found.classes)


def test_without_the_package_configure_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(detection_message, 'Detection2DArray', None)
    monkeypatch.setenv('ROS_DISTRO', 'kilted')
    context = rclpy.Context()
    rclpy.init(context=context)
    node = LifecycleNode('lacking', context=context, parameter_overrides=[
        Parameter('detector', value='topic')])
    declare.declare_parameters(node)
    with pytest.raises(declare.ParameterError, match='sudo apt install ros-kilted-vision-msgs'):
        Session(node, declare.read_parameters(node), lambda _: None)
    node.destroy_node()
    rclpy.shutdown(context=context)


# ---- results as messages that others know
needs_vision_msgs = pytest.mark.skipif(LabelInfo is None, reason='vision_msgs is not installed')


def shown(*objects: Object, labels: np.ndarray | None = None) -> SimpleNamespace:
    return SimpleNamespace(objects=objects, labels=labels)


CUP = Object(3, 1, 'cup', 0.75, False, Mask((40, 40), (10, 20, 14, 26)))
HIDDEN = Object(4, 0, 'ball', 0.1, False, Mask((40, 40)))
BALL = Object(
    65535, 300, 'ball', 0.25, True, Mask((40, 40), (0, 0, 1, 1)), ObjectState.TENTATIVE)


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
    ball = message.detections[1].results  # tentative: a mark behind the class
    assert [(r.hypothesis.class_id, r.hypothesis.score) for r in ball] == [
        ('300', 0.25), ('tentative', 0.0)]
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
