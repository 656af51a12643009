# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Parameters of a running node: from YAML, refused at start, changed while it runs; QoS too."""

import pytest
import yaml
from node_graph import Graph, quality, wait_until
from node_running import SECOND, RunningNode
from node_scenes import check_same, engine_stream, finish_and_check, scene, steady_scene
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import Image

from detsam2_ros.paths import shared_file
from detsam2_ros.ros.parameters.declare import PARAMETERS, RUNTIME

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']


def seen(node: RunningNode) -> set[str]:
    """Return the classes of the newest frame."""
    return set(node.camera.objects.messages[-1].class_names)


def show(node: RunningNode, *colours: str) -> set[str]:
    """Show one window of a new stream; returns the classes that were found."""
    assert node.trigger('reset').success
    count = len(node.camera.sent)
    for i, image in enumerate(steady_scene(4, *colours)):
        node.camera.send(image, (count + i + 1) * SECOND)
    node.camera.objects.wait(count + 4)
    return seen(node)


def test_values_come_from_yaml(start):
    method = {'window_size': 3, 'detect_interval': 2, 'max_propagation': 9, 'match_iou': 0.25}
    node = start(**method)
    assert node.get('window_size', 'match_iou', 'autostart') == [3, 0.25, False]
    frames = scene(11, seed=1)
    stamps = node.camera.stream(frames, ahead=6)
    finish_and_check(node, zip(stamps, frames, strict=True), **method)


def test_the_shipped_file_is_taken(start, tmp_path):
    file = tmp_path / 'detsam2.yaml'
    file.write_text(shared_file('config/detsam2.yaml').read_text())
    node = start(arguments=['--params-file', str(file), '-p', 'autostart:=false'])
    shipped = yaml.safe_load(file.read_text())['/**']['ros__parameters']
    for name, value in shipped.items():
        if name != 'autostart':
            (found,) = node.get(name)
            assert (list(found) if isinstance(found, (list, tuple)) else found) in (
                value, None if value == [] else value), name


def test_parameters_for_one_node_by_its_full_name(start, tmp_path):
    file = tmp_path / 'own.yaml'
    file.write_text(yaml.safe_dump({
        '/eyes/left': {'ros__parameters': {'window_size': 2}},
        '/eyes/right': {'ros__parameters': {'window_size': 5, 'max_propagation': 10}},
    }))
    arguments = ['--params-file', str(file)]
    left = start(namespace='/eyes', name='left', arguments=arguments)
    right = start(namespace='/eyes', name='right', arguments=arguments)
    assert left.get('window_size') + right.get('window_size') == [2, 5]


@pytest.mark.parametrize('values, sentence', [
    ({'window_size': 20}, 'max_propagation (12) must be >= window_size (20)'),
    ({'window_size': 'ten'}, 'window_size must be a whole number'),
    ({'match_iou': 1.5, 'queue_size': -1}, 'match_iou must be in 0..1, got 1.5'),
    ({'cameras': ['front', 'Rear']}, "cameras: 'Rear' cannot be part of a topic name"),
    ({'device': 'tpu'}, "device must be 'auto'"),
    ({'memory_bank': '../../secret'}, 'memory_bank must be a path inside'),
])
def test_values_that_cannot_work_end_it_with_a_sentence(start, values, sentence):
    node = start(up=False, lossless=False, **values)
    assert node.process.wait(30.0) == 2
    node.process.check_log()
    (line,) = node.process.lines('detsam2: ')
    assert sentence in line
    assert all(name in line for name in values)


def test_a_file_that_cannot_be_read_ends_it_with_a_sentence(start, tmp_path):
    node = start(up=False, arguments=['--params-file', str(tmp_path / 'missing.yaml')])
    assert node.process.wait(30.0) == 2
    (sentence,) = node.process.log().splitlines()
    assert sentence.startswith('detsam2: ') and 'missing.yaml' in sentence


def test_structural_parameters_are_refused_with_a_way_out(start):
    node = start()
    structural = {name: spec.default for name, spec in PARAMETERS.items() if spec.read_only}
    assert len(structural) > 20
    for name, value in structural.items():
        (result,) = node.set(**{name: [] if value == () else value})
        assert not result.successful, name
        assert result.reason, name
    assert node.get('window_size') == [4]
    assert show(node, 'red') == {'red'}


def test_bad_values_are_refused_and_change_nothing(start):
    node = start()
    of_wrong_type = [('match_iou', 'much'), ('detect_interval', 2.5), ('overlay', 1)]
    for name, value in [
        ('match_iou', 1.1), ('match_iou', -0.1), ('match_iou', float('nan')),
        ('detect_interval', -1), ('max_lost_frames', 0), *of_wrong_type,
    ]:
        before = node.get(name)
        (result,) = node.set(**{name: value})
        assert not result.successful and result.reason, (name, value)
        # Types are checked by rclpy, which does not name the parameter.
        assert name in result.reason or (name, value) in of_wrong_type
        assert node.get(name) == before
    values = [Parameter('match_iou', value=0.9), Parameter('merge_iou', value=7.0)]
    result = node.call(
        SetParametersAtomically, 'set_parameters_atomically',
        parameters=[value.to_parameter_msg() for value in values]).result
    assert not result.successful and 'merge_iou' in result.reason
    assert node.get('match_iou') == [0.3]


def test_thresholds_act_while_it_runs(start):
    node = start()
    every = ('red', 'yellow', 'cyan', 'magenta')  # found with 0.9, 0.7, 0.4 and 0.3
    assert show(node, *every) == {'red', 'yellow'}
    node.set(new_object_score=0.35)
    assert show(node, *every) == {'red', 'yellow', 'cyan'}
    node.set(new_object_score=0.0)
    assert show(node, *every) == set(every)
    node.set(detector_confidence=0.8)
    assert show(node, *every) == {'red'}
    node.set(detect_interval=0)
    assert show(node, *every) == set()
    node.set(detect_interval=4, detector_confidence=0, new_object_score=1)  # whole numbers too
    assert show(node, *every) == set()
    assert node.get('new_object_score') == [1.0]


def test_what_was_set_before_configure_holds_and_survives_cleanup(start):
    node = start(up=False)
    node.wait_started()
    node.set(new_object_score=0.35, detect_interval=2)
    node.bring_up()
    assert show(node, 'red', 'cyan') == {'red', 'cyan'}
    assert node.change_state('deactivate') and node.change_state('cleanup')
    node.camera.forget_counts()
    node.bring_up()
    assert node.get('detect_interval') == [2]
    assert node.set(match_iou=0.5)[0].successful


def test_changes_in_the_middle_of_a_stream_are_the_engines(start):
    node = start()
    offline, results = engine_stream(), []
    changes = {8: {'detect_interval': 0}, 16: {'detect_interval': 2}, 24: {'correction_iou': 0.6}}
    config = {'window_size': 4, 'max_propagation': 12}
    for i, image in enumerate(scene(40, seed=4)):
        if i in changes:
            node.camera.objects.wait(i)
            assert all(result.successful for result in node.set(**changes[i]))
            config.update(changes[i])
            offline.reconfigure(engine_stream(**config)._config)
        node.camera.send(image, (i + 1) * SECOND)
        results += offline.push(image, (i + 1) * SECOND)
    node.finish()
    check_same(node.camera, results)


def test_every_runtime_parameter_can_be_set(start):
    node = start()
    for name in RUNTIME:
        (value,) = node.get(name)
        assert node.set(**{name: value})[0].successful, name
    assert show(node, 'red') == {'red'}


def test_a_misspelt_parameter_is_told_of(start):
    node = start(windowsize=7)
    assert node.process.lines('windowsize')


def reliability(graph: Graph, topic: str) -> set[ReliabilityPolicy]:
    """Return what publishers and subscribers of a topic, other than the test, ask for."""
    ends = [*graph.node.get_publishers_info_by_topic(topic),
            *graph.node.get_subscriptions_info_by_topic(topic)]
    return {end.qos_profile.reliability for end in ends if end.node_name != 'tester'}


def test_the_quality_of_service_is_as_documented(start, graph):
    node = start(lossless=False)
    reliable, best_effort = {ReliabilityPolicy.RELIABLE}, {ReliabilityPolicy.BEST_EFFORT}
    for topic in ('masks', 'objects', 'corrections', 'image'):  # images as they are published
        assert reliability(graph, f'{node.name}/{topic}') == reliable
    assert reliability(graph, f'{node.name}/overlay') == best_effort


def test_the_quality_of_service_can_be_overridden_in_yaml(start, graph):
    node = start(up=False, lossless=False, namespace='/qos', qos_overrides={
        '/qos/detsam2/masks': {'publisher': {'reliability': 'best_effort', 'depth': 3}},
        '/qos/detsam2/image': {'subscription': {'reliability': 'reliable', 'depth': 50}},
    })
    box = graph.inbox(Image, '/qos/detsam2/masks', quality(reliable=False))
    node.wait_started()
    assert node.change_state('configure') and node.change_state('activate')
    wait_until(node.camera.publisher.get_subscription_count, 'subscription of the node')
    for topic, policy in (
        ('masks', ReliabilityPolicy.BEST_EFFORT), ('image', ReliabilityPolicy.RELIABLE)):
        wait_until(
            lambda t=topic, p=policy: reliability(graph, f'/qos/detsam2/{t}') == {p}, topic)

    def send() -> int:
        for image in steady_scene(4, 'red'):
            node.camera.send(image, (len(node.camera.sent) + 1) * SECOND)
        node.wait_taken()
        return len(box)

    wait_until(send, 'masks, best effort')
    assert node.change_state('deactivate') and node.change_state('activate')  # and again
    node.camera.expected_drops = None
