# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The viewer beside a node: it finds the topics, and shows what comes over them."""

import threading
import time

import client_cases
import pytest
from client_cases import STEP

pytest.importorskip('rclpy')
pytest.importorskip('detsam2_msgs.msg')

import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from test_client_ros import fill
from test_viewer import AFTER, FIRST, Notes

from detsam2_msgs import msg as messages
from detsam2_ros.viewer.node import ViewerError, _found, look

pytestmark = pytest.mark.ros
STRING = 'std_msgs/msg/String'
IMAGE, OBJECTS = 'sensor_msgs/msg/Image', 'detsam2_msgs/msg/ObjectArray'


class Graph:
    """Stands in for a node that looks around in a graph."""

    def __init__(self, listens=(), speaks=(), topics=()):
        self._listens, self._speaks, self._topics = listens, speaks, topics

    def get_topic_names_and_types(self):
        return list(self._topics)

    def get_subscriber_names_and_types_by_node(self, name, space):
        assert (name, space) in (('detsam2', '/'), ('detsam2', '/robot'))
        return list(self._listens)

    def get_publisher_names_and_types_by_node(self, name, space):
        return list(self._speaks)


def test_the_topic_of_one_camera_is_found() -> None:
    graph = Graph(
        listens=[('/parameter_events', [STRING]), ('/cam/image_raw', [IMAGE])],
        speaks=[('/robot/detsam2/objects', [OBJECTS])],
    )
    assert _found(graph, '/robot/detsam2', '', None) == (('/cam/image_raw', Image), '')
    inactive = Graph(speaks=[('/detsam2/objects', [OBJECTS])])
    assert _found(inactive, '/detsam2', '', None) == (None, '/detsam2 is not active yet')


def test_of_several_cameras_one_must_be_named() -> None:
    graph = Graph(
        listens=[('/a', [IMAGE]), ('/b', [IMAGE])],
        speaks=[('/detsam2/front/objects', [OBJECTS]), ('/detsam2/rear/objects', [OBJECTS])],
        topics=[('/a', [IMAGE]), ('/words', [STRING])],
    )
    with pytest.raises(ViewerError, match='front, rear; name one with --camera'):
        _found(graph, '/detsam2', '', None)
    with pytest.raises(ViewerError, match='/a, /b; name that of the camera with --image'):
        _found(graph, '/detsam2', 'front', None)
    assert _found(graph, '/detsam2', 'front', '/a') == (('/a', Image), '')
    assert _found(graph, '/detsam2', 'front', '/c') == (None, 'there is no topic /c')
    with pytest.raises(ViewerError, match='not images'):
        _found(graph, '/detsam2', 'front', '/words')


def test_what_a_node_publishes_is_shown() -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('watched', context=context)
    # What tells the viewer the topic; of another reliability, so that only the viewer matches.
    node.create_subscription(Image, '/watched_image', lambda _: None, 10)
    images = node.create_publisher(Image, '/watched_image', qos_profile_sensor_data)
    masks = node.create_publisher(Image, '~/masks', 10)
    objects = node.create_publisher(messages.ObjectArray, '~/objects', 10)
    corrections = node.create_publisher(messages.MaskCorrection, '~/corrections', 10)
    notes, over = Notes(), threading.Event()
    thread = threading.Thread(
        target=look, args=(notes, '/watched'), kwargs={'done': over.is_set}, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + 20
        while time.monotonic() < end and not notes.of('correction'):
            everybody = (images, masks, objects, corrections)
            if all(publisher.get_subscription_count() for publisher in everybody):
                picture = Image(height=2, width=4, encoding='mono8', step=4, data=bytes(8))
                picture.header.stamp.nanosec = STEP
                images.publish(picture)
                images.publish(Image(encoding='plaid8'))  # refused, told, and no end of it
                time.sleep(0.2)
                masks.publish(fill(Image(), client_cases.masks(FIRST, STEP)))
                objects.publish(fill(messages.ObjectArray(), client_cases.objects(STEP, 0)))
                time.sleep(0.2)
                better = client_cases.correction(FIRST, AFTER, STEP, 0)
                corrections.publish(fill(messages.MaskCorrection(), better))
            time.sleep(0.1)
    finally:
        over.set()
        thread.join(10)
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert not thread.is_alive()
    assert notes.of('picture')[0] == (STEP, 4, 2)
    assert notes.of('masks') == [(STEP, 0)]
    stamp, revision, picture_stamp, change = notes.of('correction')[0]
    assert (stamp, revision, picture_stamp) == (STEP, 1, STEP) and change is not None
    assert {what for what, _ in notes.of('latency')} == {'masks', 'corrections'}
