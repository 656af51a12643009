# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""docs/space.md against the node detsam2_space: topics, QoS, parameters, diagnostics, reasons."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('visualization_msgs')

import rclpy
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy

from detsam2_ros.ros.parameters.checks import ParameterError
from detsam2_ros.ros.parameters.docs import space
from detsam2_ros.ros.space.messages import Detection3DArray
from detsam2_ros.space.books import Unused

PAGE = (Path(__file__).resolve().parents[2] / 'docs' / 'space.md').read_text(encoding='utf-8')
K, M = 3, 9
DEPTHS = {'2K': 2 * K, '2M': 2 * M}


def rows(table: str) -> list[list[str]]:
    text = PAGE.partition(f'<!-- {table} -->')[2].partition('<!-- end -->')[0]
    lines = text.strip().splitlines()[2:]
    assert lines, table
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r'`([^`]+)`', cell)


@pytest.fixture(scope='module')
def node() -> Iterator[Any]:
    from detsam2_ros.ros.space.node import SpaceNode

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=120 + os.getpid() % 100)
    given = {'window_size': K, 'max_propagation': M, 'autostart': False}
    node = SpaceNode(
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    node.trigger_configure()
    node.trigger_activate()
    yield node
    node.stop()
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.ros
@pytest.mark.parametrize('direction', ['in', 'out'])
def test_topics_and_qos(node: Any, direction: str) -> None:
    page = {
        names(topic)[0].replace('~', '/detsam2_space'): (names(kind)[0], qos)
        for topic, way, kind, qos, _ in rows('space topics')
        if way == direction and not ('vision_msgs' in kind and Detection3DArray is None)
    }
    graph = {
        'in': node.get_subscriber_names_and_types_by_node,
        'out': node.get_publisher_names_and_types_by_node,
    }[direction]('detsam2_space', '/')
    real = {name: types for name, types in graph if name not in ('/rosout', '/parameter_events')}
    assert real == {name: [kind] for name, (kind, _) in page.items()}
    for topic, (_, qos) in page.items():
        ends = (node.get_subscriptions_info_by_topic if direction == 'in'
                else node.get_publishers_info_by_topic)(topic)
        (profile,) = [e.qos_profile for e in ends]
        assert (profile.reliability == ReliabilityPolicy.RELIABLE) == ('reliable' in qos), topic
        side = 'subscription' if direction == 'in' else 'publisher'
        parameter = f'qos_overrides.{topic}.{side}.depth'
        depth = re.search(r'keep last (\w+)', qos)
        if depth and node.has_parameter(parameter):
            wanted = DEPTHS.get(depth[1]) or int(depth[1])
            least = re.search(r'(\w+) at least', qos)
            wanted = max(wanted, int(least[1])) if least else wanted
            assert node.get_parameter(parameter).value == wanted, topic


@pytest.mark.ros
def test_diagnostics(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(node._diagnostics, '_publisher', type('', (), {'publish': sent.append}))
    node._publish_diagnostics()
    page = [key for cell, *_ in rows('space diagnostics') for key in names(cell)]
    real = [value.key for value in sent[0].status[1].values]
    assert real == [key for key in page if not key.endswith('REASON')]


def test_reasons() -> None:
    page = {name for cell, _ in rows('space reasons') for name in names(cell)}
    assert page == {why.value for why in Unused}


def test_parameters() -> None:
    text = PAGE.partition('<!-- space parameters')[2].partition('-->\n')[2]
    assert text.partition('<!-- end -->')[0] == space(), (
        'run python -m detsam2_ros.ros.parameters.docs space')


@pytest.mark.ros
def test_a_parameter_cannot_change_while_the_node_runs(node: Any) -> None:
    (result,) = node.set_parameters([Parameter('erosion', value=3)])
    assert not result.successful and 'read-only parameter: erosion' in result.reason


@pytest.mark.ros
@pytest.mark.parametrize('name', ['bad name!', 'a//b', '/1st', '/', ''])
def test_a_bad_name_of_the_node_detsam2_is_refused_in_a_sentence(node: Any, name: str) -> None:
    from detsam2_ros.ros.space.node import SpaceNode

    with pytest.raises(ParameterError, match=r'^detsam2(:| is empty;) [^\n]*$'):
        SpaceNode(context=node.context, parameter_overrides=[Parameter('detsam2', value=name)])


@pytest.mark.ros
@pytest.mark.parametrize('name', ['/robot/detsam2', 'detsam2/', '~/inner', '{node}/other'])
def test_a_good_name_of_the_node_detsam2(node: Any, name: str) -> None:
    from detsam2_ros.ros.space.node import SpaceNode

    made = SpaceNode(context=node.context, parameter_overrides=[Parameter('detsam2', value=name)])
    assert made.settings.detsam2 == name
    made.destroy_node()
