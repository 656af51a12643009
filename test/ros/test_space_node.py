# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node detsam2_space over DDS: positions, corrections, and whatever else may come."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('visualization_msgs')

from client_cases import masks, objects
from lifecycle_msgs.srv import ChangeState, GetState
from node_graph import Graph, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from space_cases import SIZE, labels_of, png_message, positions
from space_node import (
    SPACE,
    STEP,
    SpaceProcess,
    SpaceSide,
    camera_info,
    depth_message,
    with_boxes,
)
from visualization_msgs.msg import Marker, MarkerArray

from detsam2_ros.client import Reason

pytestmark = pytest.mark.ros

CUP = labels_of(_1=(10, 10, 40, 40))
MOVED = labels_of(_1=(20, 10, 50, 40))
TWO = labels_of(_1=(10, 10, 40, 40), _2=(50, 10, 76, 40))

def calibrated(status: Mapping[str, str]) -> bool:
    return status['camera_info'] != '0'


Start = Callable[..., SimpleNamespace]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the node with one camera, or several; it must end cleanly, whatever came."""
    graph = Graph()
    running: list[SpaceProcess] = []

    def begin(cameras: tuple[str, ...] = (), transport: str = '', **parameters: Any) -> Any:
        if cameras:
            parameters['cameras'] = list(cameras)
        process = SpaceProcess(graph, tmp_path, **parameters)
        running.append(process)
        sides = {name: SpaceSide(graph, name, transport) for name in cameras or ('',)}
        if parameters.get('autostart', True):
            for name, side in sides.items():
                side.wait_connected()
                process.calibrate(side, camera_info(), calibrated, name or 'camera')
        return SimpleNamespace(
            graph=graph, process=process, sides=sides, side=next(iter(sides.values())))

    try:
        yield begin
        for process in running:
            if process.process.running:
                process.process.end(signal.SIGINT)
    finally:
        for process in running:
            process.process.kill()
        graph.close()


def test_positions_and_their_corrections(start: Start) -> None:
    node = start()
    side = node.side
    for i in range(6):
        side.send_depth(i, 1.0 + 0.1 * i)
        side.send_frame(i, CUP)
    for i in range(6):
        frame = side.frame(i)
        assert (frame.revision, frame.index, frame.frame_id) == (0, i, 'camera')
        assert frame.depth_stamp == (i * STEP or None)
        centroid = positions(frame)[1].centroid
        assert centroid == pytest.approx(
            np.multiply((-15 / 80, -5 / 80, 1), 1.0 + 0.1 * i), abs=0.005)
    side.send_correction(CUP, MOVED, 3)
    frame = side.frame(3, revision=1)
    assert frame.mask_revision == 1
    assert positions(frame)[1].centroid == pytest.approx(
        np.multiply((-5 / 80, -5 / 80, 1), 1.3), abs=0.005)
    assert len(side.objects) == 6 and len(side.corrections) == 1
    status = node.process.check_books(6)
    assert status['depth_used'] == '6'
    assert (status['frames'], status['corrections']) == ('6', '1')
    assert status['message'] == 'objects are placed'


def test_depth_that_shows_nothing_is_no_success(start: Start) -> None:
    node = start()
    message = ''
    for i in range(30):  # a report is of the frames since the one before
        node.side.send_depth(i, 0.0)
        node.side.send_frame(i, CUP)
        assert not positions(node.side.frame(i))[1].valid
        if (message := node.process.status()['message']).startswith('none of '):
            break
    assert 'look at the depth image, and whether camera_info' in message


def test_a_withdrawn_id_leaves_the_past(start: Start) -> None:
    node = start()
    side = node.side
    for i in range(4):
        side.send_depth(i, 1.0)
        side.send_frame(i, TWO, tentative=(2,))
    assert sorted(positions(side.frame(3))) == [1, 2]
    for i in (1, 2):
        side.send_correction(TWO, CUP, i, withdrawn=(2,))
        frame = side.frame(i, revision=1)
        assert (frame.withdrawn_ids, sorted(positions(frame))) == ((2,), [1])
    assert [sorted(positions(f)) for f in side.timeline.frames()] == [[1]] * 4


def test_missing_and_late_depth(start: Start) -> None:
    node = start(max_depth_delay=0.3)
    side = node.side
    side.send_depth(0, 1.0)
    for i in range(3):
        side.send_frame(i, CUP)
    assert positions(side.frame(0))[1].valid
    assert positions(side.frame(2))[1].reason is Reason.NO_DEPTH_IMAGE
    status = node.process.status(lambda s: s['frames_without_depth'] == '2')
    assert status['frames'] == '3'
    side.send_depth(2, 2.0)
    assert positions(side.frame(2, revision=1))[1].centroid[2] == pytest.approx(2.0)
    node.process.check_books(2)


def test_corrections_out_of_reach_are_counted(start: Start) -> None:
    node = start(window_size=1, max_propagation=2)
    side = node.side
    for i in range(1, 7):
        side.send_frame(i, CUP)
        side.send_depth(i, 1.0)
        side.frame(i)
    side.send_correction(CUP, MOVED, 1)
    side.send_correction(CUP, MOVED, 5)
    side.frame(5, revision=1)
    node.process.status(lambda s: s['corrections_out_of_reach'] == '1')


def test_late_depth_brings_no_withdrawn_id_back(start: Start) -> None:
    node = start(max_depth_delay=0.1)
    side = node.side
    for i in (1, 2):
        side.send_frame(i, TWO, tentative=(2,))
        side.frame(i)
    side.send_correction(TWO, CUP, 2, withdrawn=(2,))
    side.frame(2, revision=1)
    side.send_depth(1, 1.0)
    side.frame(1, revision=1)
    (message,) = [m for m in side.corrections.messages if m.frame_index == 1]
    assert [thing.id for thing in message.objects] == [1]
    assert list(message.withdrawn_ids) == [2]


def test_two_cameras_and_png(start: Start) -> None:
    node = start(('front', 'rear'), '/compressed', depth_transport='compressed')
    for metres, (name, side) in enumerate(node.sides.items(), 1):
        source = png_message(np.full(SIZE, 1000 * metres, np.uint16), '16UC1; png compressed ')
        message = CompressedImage(format=source.format, data=source.data)
        message.header.frame_id = 'camera'
        side.depth.publish(message)
        side.send_frame(0, CUP)
        assert positions(side.frame(0))[1].centroid[2] == pytest.approx(metres)
        node.process.check_books(1, name)


def test_points_and_markers(start: Start) -> None:
    node = start()
    side = node.side
    clouds = node.graph.inbox(PointCloud2, f'{SPACE}/points')
    boxes = node.graph.inbox(MarkerArray, f'{SPACE}/markers')
    for box in (clouds, boxes):
        wait_until(box.subscription.get_publisher_count, 'publishers')
    node.process.settle()  # the node must know of the subscribers, too
    side.send_depth(0, 2.0)
    side.send_frame(0, TWO, tentative=(2,))
    (cloud,) = clouds.wait(1)
    assert [(f.name, f.offset) for f in cloud.fields] == [
        ('x', 0), ('y', 4), ('z', 8), ('rgb', 12), ('id', 16)]
    assert cloud.row_step == cloud.width * cloud.point_step == len(cloud.data)
    point = [(name, '<f4') for name in 'xyz'] + [('rgb', '<u4'), ('id', '<u4')]
    rows = np.frombuffer(bytes(cloud.data), point)
    np.testing.assert_allclose(rows['z'], 2.0)
    assert set(rows['id'].tolist()) == {1, 2} and len(set(rows['rgb'].tolist())) == 2
    (array,) = boxes.wait(1)
    shown = {(m.ns, m.id): m for m in array.markers}
    assert set(shown) == {('box', 1), ('name', 1), ('box', 2), ('name', 2)}
    assert len(shown['box', 2].points) > len(shown['box', 1].points) == 24
    assert (shown['name', 1].text, shown['name', 2].text) == ('1 cup', '2 cup?')
    side.send_depth(1, 2.0)
    side.send_frame(1, CUP)
    array = boxes.wait(2)[1]
    gone = {(m.ns, m.id) for m in array.markers if m.action == Marker.DELETE}
    assert gone == {('box', 2), ('name', 2)}


@pytest.mark.parametrize('how', ['deactivate', 'shutdown', 'Ctrl-C'])
def test_markers_go_with_the_node(start: Start, how: str) -> None:
    node = start()
    boxes = node.graph.inbox(MarkerArray, f'{SPACE}/markers')
    wait_until(boxes.subscription.get_publisher_count, 'publishers')
    node.process.settle()  # the node must know of the subscriber, too
    node.side.send_depth(0, 2.0)
    node.side.send_frame(0, CUP)
    boxes.wait(1)
    if how == 'Ctrl-C':
        node.process.process.end(signal.SIGINT)
    else:
        request = ChangeState.Request()
        request.transition.id = {'deactivate': 4, 'shutdown': 7}[how]
        assert node.graph.call(
            ChangeState, f'{SPACE}/change_state', transition=request.transition).success
    (marker,) = boxes.wait(2)[1].markers
    assert marker.action == Marker.DELETEALL


def test_lifecycle(start: Start) -> None:
    node = start(autostart=False)
    graph, side = node.graph, node.side

    def change(number: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = number
        return graph.call(
            ChangeState, f'{SPACE}/change_state', transition=request.transition).success

    def state() -> str:
        return graph.call(GetState, f'{SPACE}/get_state').current_state.label

    assert state() == 'unconfigured'
    for _ in range(2):
        assert change(1) and change(3) and state() == 'active'
        side.wait_connected()
        node.process.calibrate(side, camera_info(), calibrated)
        before = len(side.objects)
        side.send_frame(0, CUP)  # waits for its depth, and comes out with the deactivation
        node.process.settle(0.2)
        assert change(4)
        side.objects.wait(before + 1)
        assert change(2) and state() == 'unconfigured'
    assert not change(3)  # not from here
    assert state() == 'unconfigured'


def test_hostile_messages_are_counted_and_explained(start: Start) -> None:
    node = start(max_depth_delay=0.2)
    side = node.side
    good = np.full(SIZE, 1000, np.uint16)

    def sent(encoding: str = '16UC1', **changes: Any) -> Image:
        message = depth_message(good, 5 * STEP, encoding)
        for name, value in changes.items():
            setattr(message, name, value)
        return message

    other = depth_message(good, 6 * STEP)
    other.header.frame_id = 'left'
    wide = depth_message(np.full((30, 80), 1000, np.uint16), 7 * STEP)
    side.send_depth(0, 1.0)
    side.send_frame(0, CUP)
    side.frame(0)
    hostile = [
        sent('rgb8'), sent(''), sent(step=3), sent(data=b'123'), sent(height=0, width=0),
        sent('32FC1'), sent(width=2**32 - 1, step=2**32 - 1), other, wide,
        depth_message(good, 0), depth_message(good, 0),
    ]  # fmt: skip
    for count, message in enumerate(hostile, 2):  # one by one: the queue holds ten
        side.depth.publish(message)
        node.process.status(lambda s, n=str(count): s['depth_received'] == n)
    status = node.process.check_books(1 + len(hostile))
    assert {k: v for k, v in status.items() if k.startswith('depth_unused_')} == {
        'depth_unused_unsupported_encoding': '2', 'depth_unused_malformed_image': '5',
        'depth_unused_other_camera': '2', 'depth_unused_repeated_stamp': '2',
    }
    for bad in (
        camera_info(k=[0.0] * 9), camera_info(k=[float('nan')] * 9), camera_info(width=0),
        camera_info(d=[0.1] * 3), camera_info(d=[0.1] * 4, distortion_model='equidistant'),
    ):
        node.process.calibrate(
            side, bad, lambda s: s['message'].startswith('camera_info has'))
        node.process.calibrate(
            side, camera_info(), lambda s: not s['message'].startswith('camera_info has'))
    padded = depth_message(np.full((SIZE[0], SIZE[1] + 3), 1500, np.dtype('>u2')), STEP)
    padded.width, padded.is_bigendian = SIZE[1], 1
    side.depth.publish(padded)
    side.send_frame(1, CUP)
    assert positions(side.frame(1))[1].centroid[2] == pytest.approx(1.5)
    for part in ("'rgb8' is no depth", "frame 'left'", '80x30 has another', 'focal length of 0'):
        assert len(node.process.process.lines(part)) == 1, node.process.process.log()


def test_two_calibrations_on_one_topic_are_named_once(start: Start) -> None:
    node = start()
    other = node.graph.publisher(CameraInfo, f'{SPACE}/camera_info')
    wait_until(other.get_subscription_count, 'the subscriber')
    deadline = time.monotonic() + 60
    while 'calibrations that differ' not in (message := node.process.status()['message']):
        assert time.monotonic() < deadline, message
        node.side.info.publish(camera_info())
        other.publish(camera_info(k=[90.0, 0.0, 39.5, 0.0, 90.0, 29.5, 0.0, 0.0, 1.0]))
    assert 'of 2 publishers' in message and 'remap camera_info' in message
    for _ in range(3):
        node.side.info.publish(camera_info())
        other.publish(camera_info(k=[90.0, 0.0, 39.5, 0.0, 90.0, 29.5, 0.0, 0.0, 1.0]))
    node.process.settle()
    assert len(node.process.process.lines('calibrations that differ')) == 1
    node.graph.node.destroy_publisher(other)  # one that zooms is no conflict
    node.process.status(lambda s: 'calibrations that differ' not in s['message'])


def test_a_restart_of_either_node_is_another_stream(start: Start) -> None:
    node = start()
    side = node.side
    for i in range(3):
        side.send_depth(i, 1.0)
        side.send_frame(i, CUP)
    before = side.frame(2).stream
    side.send_depth(50, 1.0)  # detsam2 was killed, and counts from 0 again
    side.send('masks', masks(TWO, 50 * STEP))
    side.send('objects', with_boxes(objects(50 * STEP, 0, (1, 2)), TWO))
    restarted = side.frame(50)
    assert restarted.stream > before and len(side.timeline) == 1
    node.process.process.kill()
    again = start()
    again.side.send_depth(60, 1.0)
    again.side.send_frame(60, CUP)
    assert again.side.frame(60).stream > restarted.stream
    assert len(side.timeline.frames()) == 1  # the client of before, on the same topics
    node.process.process.check_log()
    again.process.process.end(signal.SIGINT)


@pytest.mark.slow
def test_memory_is_flat(start: Start) -> None:
    node = start(window_size=3, max_propagation=6, erosion=0)
    side = node.side
    resident = []
    large = np.full((480, 640), 1000, np.uint16)
    for i in range(240):
        side.depth.publish(depth_message(large, i * STEP))
        side.send_frame(i, CUP if i % 2 else MOVED)
        if i % 3 == 2:
            side.send_correction(MOVED if (i - 2) % 2 == 0 else CUP, TWO, i - 2)
        if i % 4 == 3:
            side.frame(i)  # the queue of depth images holds ten
        if i in (79, 239):
            resident.append(node.process.process.resident_bytes())
    status = node.process.check_books(240)
    assert int(status['depth_bytes']) <= 12 * large.nbytes
    assert status['frames_in_reach'] == '9'
    assert resident[1] - resident[0] < 20 * large.nbytes  # 160 images came in between
