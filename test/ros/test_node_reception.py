# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The subscription to images: its reliability follows the publishers, its topic the rules."""

from collections.abc import Callable
from typing import Any

import pytest
from node_graph import Graph, quality, wait_until
from node_running import SECOND, RunningNode
from node_scenes import finish_and_check, scene
from ros_cases import image_of
from sensor_msgs.msg import CompressedImage, Image

from detsam2_ros.messages.pixels import UNSUPPORTED

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']


def reliability(node: RunningNode) -> str:
    return str(node.status('').values['reliability'])


def replace_publisher(graph: Graph, node: RunningNode, reliable: bool) -> None:
    """Let the camera publish with another quality of service, and wait until images arrive.

    A best effort subscription gets nothing of a publisher that it has not discovered yet, and the
    publisher cannot know. So images that the node refuses are sent until one of them arrives.
    """
    old, camera = node.camera.publisher, node.camera
    camera.publisher = graph.publisher(Image, camera.input_topic, quality(reliable))
    graph.node.destroy_publisher(old)
    before = refused(node.status(''))
    probe = image_of('rgb8', scene(1)[0])
    probe.encoding = '32FC1'

    def arrived(status: Any) -> bool:
        camera.publisher.publish(probe)
        return refused(status) > before

    node.wait_status(arrived, '')


def refused(status: Any) -> int:
    return int(status.values.get(f'dropped_{UNSUPPORTED}', 0))


@pytest.mark.parametrize('first', [True, False])
def test_it_follows_the_publishers_and_loses_no_frame(start, graph, first):
    node = start(lossless=False, qos=quality(reliable=first))
    names = {True: 'reliable', False: 'best effort'}
    # The publisher was known before the node was activated.
    assert reliability(node) == names[first]
    frames, stamps = scene(400, seed=3), []

    def send() -> None:
        stamp = (len(stamps) + 1) * SECOND // 10
        node.camera.send(frames[len(stamps)], stamp)
        stamps.append(stamp)
        # Best effort images must not fill the shared memory of the transport: four are a window.
        node.camera.objects.wait(max(0, len(stamps) - 4))

    def send_while(wanted: Callable[[], Any]) -> None:
        while not wanted():
            send()

    for reliable in (not first, first):
        # A best effort publisher that ends takes along what it has not sent yet.
        node.wait_status(lambda s: int(s.values['received']) == len(stamps) + refused(s), '')
        replace_publisher(graph, node, reliable)
        send_while(lambda r=reliable: reliability(node) == names[r])
        for _ in range(12):
            send()
    assert len(node.process.lines('from now on, as its publishers offer')) == 2
    status = node.wait_status(
        lambda s: int(s.values['received']) == len(stamps) + refused(s), '')
    node.camera.sent += [0] * refused(status)  # probes that arrived
    node.camera.expected_drops = {UNSUPPORTED: refused(status)}
    finish_and_check(node, zip(stamps, frames, strict=False))


def test_a_best_effort_publisher_beside_a_reliable_one(start, graph):
    node = start(lossless=False)
    assert reliability(node) == 'reliable'
    other = graph.publisher(Image, node.camera.input_topic, quality(reliable=False))
    wait_until(lambda: reliability(node) == 'best effort', 'best effort')
    # One of another type counts for nothing.
    graph.node.destroy_publisher(other)
    third = Graph('third')  # two types of a topic do not fit into one participant
    try:
        third.publisher(CompressedImage, node.camera.input_topic, quality(reliable=False))
        wait_until(lambda: reliability(node) == 'reliable', 'reliable')
    finally:
        third.close()


@pytest.mark.parametrize('values', [
    {'image_reliability': 'best_effort'},
    {'image_reliability': 'reliable', 'qos_overrides': 'best_effort'},
    {'qos_overrides': 'best_effort'},
])
def test_what_is_asked_for_wins(start, values):
    values = dict(values)
    namespace = '/asked'
    if asked := values.pop('qos_overrides', None):
        values['qos_overrides'] = {
            f'{namespace}/detsam2/image': {'subscription': {'reliability': asked}}}
    node = start(namespace=namespace, lossless=False, **values)
    wait_until(lambda: node.status('').values['reliability'], 'a status')
    for _ in range(2):
        assert reliability(node) == 'best effort'  # though the publisher is reliable


def test_an_override_that_cannot_be_read_is_named(start):
    node = start(up=False, lossless=False, namespace='/typo', qos_overrides={
        '/typo/detsam2/image': {'subscription': {'reliability': 'relyable'}}})
    node.wait_started()
    assert node.change_state('configure') and not node.change_state('activate')
    (line,) = node.process.lines('activate failed')
    assert 'qos_overrides./typo/detsam2/image.subscription.reliability must be one of' in line
    assert "got 'relyable'" in line


@pytest.mark.parametrize('rules, topic', [
    (['~/image:=/cam/image_raw'], '/cam/image_raw/compressed'),
    (['~/image:=/cam/image_raw', '~/image/compressed:=/cam/jpeg'], '/cam/jpeg'),
    (['~/image/compressed:=jpeg'], '/rules/jpeg'),
    ([], '/rules/detsam2/image/compressed'),
])
def test_the_topic_of_compressed_images(start, rules, topic):
    node = start(
        up=False, lossless=False, namespace='/rules', image_transport='compressed',
        arguments=[word for rule in rules for word in ('-r', rule)])
    node.wait_started()
    assert node.change_state('configure') and node.change_state('activate')
    wait_until(lambda: node.graph.node.count_subscribers(topic) == 1, topic)
    assert node.status('').values['topic'] == topic
    node.camera.expected_drops = None


def test_images_that_are_refused_are_a_silence_too(start):
    node = start(stale_after=0.3)
    node.camera.expected_drops = None
    message = image_of('rgb8', scene(1)[0])
    message.encoding = '32FC1'

    def send_depth(status: Any) -> bool:
        node.camera.send_message(message, (len(node.camera.sent) + 1) * SECOND)
        return 'are refused' in status.message

    status = node.wait_status(send_depth, '')
    assert "'32FC1' is a depth image" in status.message
    node.process.wait_log('are refused: an error above says why')
    assert len(node.process.lines('[WARN]')) == 1
    (error,) = node.process.lines('[ERROR]')
    assert '. Further images like this one are counted' in error


def test_the_subscription_stays_when_the_last_publisher_leaves(start, graph):
    node = start()
    node.wait_status(lambda status: status.values['reliability'] == 'reliable', '')
    graph.node.destroy_publisher(node.camera.publisher)
    node.wait_status(lambda status: 'nobody publishes' in status.message, '')
    assert reliability(node) == 'reliable'
    assert not node.process.lines('subscribed best_effort')
    assert not node.process.lines('subscribed best effort')
