# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames in space as messages, there and back, and markers of one frame after another."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('visualization_msgs')

from geometry_msgs.msg import Pose, Vector3
from space_cases import MODEL, flat_depth, frame_of, labels_of
from visualization_msgs.msg import Marker

from detsam2_ros.client import SpaceTimeline
from detsam2_ros.client.space_decode import decode_space
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.results.space import Object3D, Position, Reason, SpaceFrame
from detsam2_ros.ros.space import messages
from detsam2_ros.ros.space.markers import Markers
from detsam2_ros.ros.space.messages import Detection3DArray, object_array, point_cloud
from detsam2_ros.space.stream import SpaceOptions, SpaceStream

HERE = Position(
    Reason.VALID, (0.5, 0.25, 2.0), (0.25, 0.125, 1.5), (0.75, 0.5, 2.5), (0.5, 0.5, 0.25), 99,
    0.5)
NOWHERE = Position(Reason.TOO_LITTLE_DEPTH, points=3, depth_share=0.125)


def thing(id_: int, position: Position = HERE, tentative: bool = False) -> Object3D:
    state = ObjectState.TENTATIVE if tentative else ObjectState.CONFIRMED
    return Object3D(id_, 7, 'cup', 0.5, state, position)


def frame(*things: Object3D, stamp: int = 3_000_000_007, stream: int = 8, **changes) -> SpaceFrame:
    fields = {
        'frame_id': 'camera', 'index': 4, 'revision': 2, 'mask_revision': 1, 'final': True,
        'depth_stamp': 3_000_000_000, **changes,
    }  # fmt: skip
    return SpaceFrame(stamp=stamp, stream=stream, objects=things, **fields)


@pytest.mark.ros
def test_there_and_back() -> None:
    sent = frame(thing(1), thing(2, NOWHERE, True), withdrawn_ids=(3, 65535))
    assert decode_space(object_array(sent)) == sent
    without = frame(depth_stamp=None)
    assert decode_space(object_array(without)) == without


@pytest.mark.ros
def test_an_empty_cloud() -> None:
    cloud = point_cloud(frame(), {})
    assert (cloud.width, len(cloud.data), cloud.height) == (0, 0, 1)


@pytest.mark.ros
def test_colours_are_bytes_of_a_float() -> None:
    from detsam2_ros.media.overlay import object_colour

    cloud = point_cloud(frame(), {7: np.array([[1, 2, 3]], np.float32)})
    data = bytes(cloud.data)
    assert np.frombuffer(data[:12], '<f4').tolist() == [1, 2, 3]
    assert tuple(data[12:16][::-1]) == (0, *object_colour(7))
    assert int.from_bytes(data[16:20], 'little') == 7


@pytest.mark.ros
@pytest.mark.parametrize('seed', range(5))
def test_whatever_came_in_whatever_order_the_timeline_has_the_best(seed: int) -> None:
    """Depth out of order, a late calibration; then the messages out of order, too."""
    rng, stream = random.Random(seed), SpaceStream(SpaceOptions(max_depth_delay=0.0))
    events = [(i + 1.5, 'frame', i) for i in range(20)]
    events += [(i + 3 * rng.random(), 'depth', i) for i in range(20)]
    sent = []
    for _, kind, i in sorted([*events, (rng.uniform(0, 20), 'camera', 0)]):
        if kind == 'depth':
            placed = stream.add_depth(flat_depth(i * 100, 1.0 + i), 0.0)
        elif kind == 'frame':
            placed = stream.add_frame(frame_of(labels_of(_1=(10, 10, 40, 40)), i * 100, i), 0.0)
        else:
            placed = stream.set_camera(MODEL, 0.0)
        sent += [object_array(each.frame) for each in placed]
    news = [message.frame_index for message in sent if not message.revision]
    assert sorted(news) == list(range(20))  # each frame once with revision 0
    rng.shuffle(sent)
    timeline = SpaceTimeline()
    for message in sent:
        timeline.add(message)
    found = [(f.index, f.objects[0].position.centroid[2]) for f in timeline.frames()]
    assert found == [(i, pytest.approx(1.0 + i)) for i in range(20)]


@pytest.mark.ros
def test_markers_come_and_go() -> None:
    markers = Markers()

    def changes(shown: SpaceFrame) -> list[tuple[str, int, int]]:
        array = markers.of(shown)
        return [] if array is None else [(m.ns, m.id, m.action) for m in array.markers]

    add, delete = Marker.ADD, Marker.DELETE
    assert changes(frame(thing(1), thing(2, NOWHERE), stamp=10)) == [
        ('box', 1, add), ('name', 1, add)]
    assert changes(frame(thing(2), stamp=20)) == [
        ('box', 2, add), ('name', 2, add), ('box', 1, delete), ('name', 1, delete)]
    assert changes(frame(thing(1), stamp=10)) == []  # a past frame is not shown
    assert changes(frame(stamp=10, withdrawn_ids=(2,))) == [
        ('box', 2, delete), ('name', 2, delete)]
    assert changes(frame(stamp=30)) == []
    assert changes(frame(thing(5), stamp=5, stream=9))[0][2] == Marker.DELETEALL
    assert [m.action for m in markers.clear().markers] == [Marker.DELETEALL]
    assert markers.clear() is None
    assert changes(frame(thing(5), stamp=5, stream=9)) == [('box', 5, add), ('name', 5, add)]


@pytest.mark.ros
def test_dashes_lie_on_the_edges() -> None:
    solid, dashed = Markers().of(frame(thing(1), thing(2, tentative=True))).markers[::2]
    for marker in (solid, dashed):
        points = np.array([(p.x, p.y, p.z) for p in marker.points]).reshape(-1, 2, 3)
        low, high = np.array(HERE.box_min), np.array(HERE.box_max)
        on_side = np.isclose(points, low) | np.isclose(points, high)
        assert (on_side.sum(axis=2) >= 2).all()  # of an edge two coordinates are at an end
        length = np.abs(points[:, 1] - points[:, 0]).sum()
        whole = 4 * (high - low).sum()
        assert length == pytest.approx(whole if marker is solid else whole * 4 / 7)


class Stand:
    """Stands for a message of vision_msgs where that is not installed, with its fields."""

    def __init__(self, **fields):
        self.results = []
        self.bbox = SimpleNamespace(center=Pose(), size=Vector3())
        self.hypothesis = SimpleNamespace(class_id='', score=0.0)
        self.pose = SimpleNamespace(pose=Pose())
        vars(self).update(fields)


@pytest.mark.ros
@pytest.mark.parametrize('real', [True, False])
def test_detections(monkeypatch: pytest.MonkeyPatch, real: bool) -> None:
    if real and Detection3DArray is None:
        pytest.skip('vision_msgs is not installed')
    if not real:
        for name in ('Detection3D', 'Detection3DArray', 'ObjectHypothesisWithPose'):
            monkeypatch.setattr(messages, name, Stand)
    shown = frame(thing(1), thing(2, tentative=True), thing(3, NOWHERE))
    first, second = messages.detections(shown).detections
    assert (first.id, second.id) == ('1', '2')
    assert (first.bbox.size.x, first.bbox.size.z) == (0.5, 1.0)
    assert first.bbox.center.position.z == 2.0
    assert first.results[0].hypothesis.class_id == '7'
    assert first.results[0].pose.pose.position.x == 0.5
    assert [r.hypothesis.class_id for r in second.results] == ['7', 'tentative']
