# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""docs/interfaces.md against a running node: topics, types, QoS, services, diagnostics."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'interfaces.md'
# What every node, and every managed node, has.
COMMON_TOPICS = {'/rosout', '/parameter_events'}
COMMON_SERVICES = (
    'change_state', 'get_state', 'get_available_states', 'get_available_transitions',
    'get_transition_graph', 'get_type_description', 'describe_parameters', 'get_parameter_types',
    'get_parameters', 'list_parameters', 'set_parameters', 'set_parameters_atomically',
)  # fmt: skip
K, M = 3, 9
DEPTHS = {'2K': 2 * K, '2M': 2 * M}  # where these are enough


def rows(table: str) -> list[list[str]]:
    """Return the cells of the table that the comment `<!-- NAME -->` precedes."""
    text = PAGE.read_text(encoding='utf-8').partition(f'<!-- {table} -->')[2]
    lines = text.partition('<!-- end -->')[0].strip().splitlines()[2:]
    assert lines, table
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def names(cell: str) -> list[str]:
    """Return what stands in backquotes."""
    return re.findall(r'`([^`]+)`', cell)


@pytest.fixture(scope='module')
def ros() -> Iterator[Any]:
    rclpy = pytest.importorskip('rclpy')
    context = rclpy.Context()
    # A domain of its own: the services of a lifecycle node outlive it until Python clears them
    # up, and must not be taken for those of the nodes that other tests start.
    rclpy.init(context=context, domain_id=120 + os.getpid() % 100)
    yield context
    rclpy.shutdown(context=context)


@contextmanager
def running(context: Any, namespace: str = '', **parameters: Any) -> Iterator[Any]:
    """Run an active node on a small engine, without an executor."""
    from fakes import ScriptedDetector, colour_sam2
    from rclpy.parameter import Parameter

    from detsam2_ros.engine import Engine
    from detsam2_ros.ros.node import DetSam2Node

    given = {'window_size': K, 'detect_interval': K, 'max_propagation': M, **parameters}
    node = DetSam2Node(
        lambda p: Engine(colour_sam2(), ScriptedDetector({}), p.engine),
        context=context, namespace=namespace,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    node.trigger_configure()
    node.trigger_activate()
    try:
        yield node
    finally:
        node.stop()
        node.destroy_node()


@pytest.fixture(scope='module')
def node(ros: Any) -> Iterator[Any]:
    with running(ros) as node:
        yield node


def has_vision_msgs() -> bool:
    from detsam2_ros.ros.standard import LabelInfo

    return LabelInfo is not None


def documented(
    direction: str, transport: str = 'raw', detector: str = 'yolo'
) -> dict[str, list[str]]:
    """Return the topics of the page, full names, with type and QoS."""
    found = {}
    left_out = {'~/image' if transport == 'compressed' else '~/image/compressed'}
    if detector != 'topic':
        left_out.add('~/detections')
    for topic, way, kind, qos, _ in rows('topics'):
        (name,), (type_name,) = names(topic), names(kind)
        lacking = 'vision_msgs' in type_name and not has_vision_msgs()
        if way == direction and name not in left_out and not lacking:
            found[name.replace('~', '/detsam2')] = [type_name, qos]
    return found


@pytest.mark.ros
@pytest.mark.parametrize('direction', ['in', 'out'])
def test_topics(node: Any, direction: str) -> None:
    graph = {
        'in': node.get_subscriber_names_and_types_by_node,
        'out': node.get_publisher_names_and_types_by_node,
    }[direction]('detsam2', '/')
    real = {name: types for name, types in graph if name not in COMMON_TOPICS}
    page = documented(direction)
    assert real == {name: [kind] for name, (kind, _) in page.items()}


@pytest.mark.ros
def test_compressed_input(ros: Any) -> None:
    cameras = ['front', 'rear']
    with running(ros, '/two', image_transport='compressed', cameras=cameras) as node:
        graph = dict(node.get_subscriber_names_and_types_by_node('detsam2', '/two'))
        (kind, _), *more = documented('in', 'compressed').values()
        assert not more
        assert {n: t for n, t in graph.items() if n not in COMMON_TOPICS} == {
            '/two/detsam2/front/image/compressed': [kind],
            '/two/detsam2/rear/image/compressed': [kind],
        }
        published = dict(node.get_publisher_names_and_types_by_node('detsam2', '/two'))
        per_camera = set(documented('out')) - {'/diagnostics', '/detsam2/transition_event'}
        for camera in cameras:
            for name in per_camera:
                assert name.replace('/detsam2/', f'/two/detsam2/{camera}/') in published


@pytest.mark.ros
@pytest.mark.parametrize('direction', ['in', 'out'])
def test_qos(node: Any, direction: str) -> None:
    check_qos(node, direction, documented(direction))


def check_qos(node: Any, direction: str, page: dict[str, list[str]]) -> None:
    from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

    for topic, (_, qos) in page.items():
        if direction == 'in':
            ends, side = node.get_subscriptions_info_by_topic(topic), 'subscription'
        else:
            ends, side = node.get_publishers_info_by_topic(topic), 'publisher'
        profiles = [e.qos_profile for e in ends if e.node_name == 'detsam2']
        assert len(profiles) == 1, topic
        reliable = profiles[0].reliability == ReliabilityPolicy.RELIABLE
        assert reliable == ('reliable' in qos) != ('best effort' in qos), topic
        latched = profiles[0].durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert latched == ('transient local' in qos), topic
        depth = re.search(r'keep last (\w+)', qos)
        # The graph does not tell depths; those that can be overridden are parameters.
        parameter = f'qos_overrides.{topic}.{side}.depth'
        if depth and node.has_parameter(parameter):
            told = DEPTHS.get(depth[1]) or int(depth[1])
            least = re.search(r'(\w+) at least', qos)
            told = max(told, int(least[1])) if least else told
            assert node.get_parameter(parameter).value == told, topic
        else:
            assert topic in ('/diagnostics', '/detsam2/transition_event')


@pytest.mark.ros
def test_detections_of_another_node(ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With detector: topic there is one topic more, and more to say in the diagnostics."""
    if not has_vision_msgs():
        pytest.skip('vision_msgs is not installed')
    with running(ros, '/led', detector='topic') as led:
        page = {f'/led{name}': row for name, row in documented('in', detector='topic').items()}
        graph = led.get_subscriber_names_and_types_by_node('detsam2', '/led')
        assert {n: t for n, t in graph if n not in COMMON_TOPICS} == {
            name: [kind] for name, (kind, _) in page.items()}
        check_qos(led, 'in', page)
        assert diagnostics(led, monkeypatch)[1] == keys('camera') + keys('detections')


def test_reasons_for_not_using_detections() -> None:
    """Each is on the page, and no other."""
    pytest.importorskip('rclpy')
    from detsam2_ros.ros.detections import REFUSALS
    from detsam2_ros.runtime.detection_inbox import Unused

    page: dict[str, set[str]] = {'message': set(), 'box': set()}
    for of_what, cell, _ in rows('detection reasons'):
        page[of_what] |= set(names(cell))
    assert page == {'message': {why.value for why in Unused}, 'box': set(REFUSALS)}


@pytest.mark.ros
def test_services(node: Any) -> None:
    real = {
        name: types
        for name, types in node.get_service_names_and_types_by_node('detsam2', '/')
        if name.rpartition('/')[2] not in COMMON_SERVICES
    }
    page = {
        names(service)[0].replace('~', '/detsam2'): names(kind)
        for service, kind, _ in rows('services')
    }
    assert real == page


@pytest.mark.ros
def test_diagnostics(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert diagnostics(node, monkeypatch) == [keys('node'), keys('camera')]


def keys(status: str) -> list[str]:
    """Return the keys that the page lists for a status."""
    listed = [names(cell) for of, cell, _, _ in rows('diagnostics') if of == status]
    return [key for row in listed for key in row if not key.endswith('REASON')]


def diagnostics(node: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the keys of each status that a node sends."""
    sent: list[Any] = []

    class Publisher:
        publish = staticmethod(sent.append)

    monkeypatch.setattr(node._diagnostics, '_publisher', Publisher)
    node._publish_diagnostics()
    return [[value.key for value in status.values] for status in sent[0].status]


@pytest.mark.ros
def test_reasons_for_dropping() -> None:
    """Every reason in the code is on the page, and no other."""
    found = set()
    package = ROOT / 'detsam2_ros'
    files = [path for room in ('ros', 'runtime') for path in (package / room).glob('*.py')]
    for path in sorted([*files, package / 'messages' / 'pixels.py']):
        text = path.read_text(encoding='utf-8')
        constants = dict(re.findall(r"^([A-Z_]+) = '([a-z_]+)'", text, re.MULTILINE))
        used = re.findall(r'(?:drop\w*|ImageRefused|reset)\(\s*([A-Z_]+)\b', text)
        used += re.findall(r'reason: str = ([A-Z_]+)', text)
        found |= {constants[name] for name in used if name in constants}
        found |= set(constants.values())
    page = {reason for cell, _ in rows('reasons') for reason in names(cell)}
    assert found == page
