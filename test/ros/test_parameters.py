# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node's parameters: declared, read, refused, changed, and documented as they are."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='parameters need rclpy')

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from detsam2_ros.engine import EngineConfig
from detsam2_ros.engine.bank.bank import DEFAULT_MAX_BANK_BYTES
from detsam2_ros.engine.config_fields import live_parameters
from detsam2_ros.ros.parameters import docs as parameter_docs
from detsam2_ros.ros.parameters.declare import (
    PARAMETERS,
    RUNTIME,
    NodeParameters,
    ParameterError,
    check_changes,
    declare_parameters,
    read_parameters,
)
from detsam2_ros.ros.parameters.table import BY_QUALITY

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node() -> Iterator[MakeNode]:
    """Make a node; arguments: ROS arguments such as '-p' 'window_size:=5'."""
    contexts = []

    def make(*arguments: str) -> Node:
        context = rclpy.Context()
        context.init(['--ros-args', *arguments] if arguments else [])
        node = Node('detsam2', context=context, enable_rosout=False)
        contexts.append((context, node))
        return node

    yield make
    for context, node in contexts:
        node.destroy_node()
        context.try_shutdown()


@pytest.fixture
def read(make_node: MakeNode) -> Callable[..., NodeParameters]:
    """Declare and read; arguments: ('name:=value', ...)."""

    def declare_and_read(*values: str) -> NodeParameters:
        node = make_node(*[part for value in values for part in ('-p', value)])
        declare_parameters(node)
        return read_parameters(node)

    return declare_and_read


def from_yaml(make_node: MakeNode, path: Path) -> NodeParameters:
    node = make_node('--params-file', str(path))
    declare_parameters(node)
    return read_parameters(node)


# ---- declared
def test_the_defaults_are_valid_and_those_of_the_engine(read):
    parameters = read()
    assert parameters.engine == EngineConfig.of('balanced') != EngineConfig()
    assert (EngineConfig().mode, EngineConfig().bank_object_frames) == ('online', 3)
    assert parameters.max_bank_bytes == DEFAULT_MAX_BANK_BYTES
    assert (parameters.autostart, parameters.cameras, parameters.camera_names) == (True, (), ('',))
    for name, spec in PARAMETERS.items():
        owner = parameters.engine if hasattr(parameters.engine, name) else parameters
        value = getattr(owner, name)
        assert value == spec.default_of('balanced') and type(value) is type(spec.default)


@pytest.mark.parametrize(
    ('mode', 'given', 'frames', 'freshest'),
    [('online', 0, 2, True), ('window', 0, 20, False), ('online', 5, 5, False)],
)
def test_how_many_frames_wait_depends_on_the_mode(read, mode, given, frames, freshest):
    parameters = read(f'mode:={mode}', f'queue_size:={given}')
    assert (parameters.frames_in_queue, parameters.freshest) == (frames, freshest)


def test_the_table_has_every_field_once():
    fields = {field.name for field in dataclasses.fields(NodeParameters)} - {'engine'}
    method = {field.name for field in dataclasses.fields(EngineConfig)}
    assert not fields & method
    assert set(PARAMETERS) == fields | method
    others = {'detector_confidence', 'overlay', 'quality'}
    assert set(RUNTIME) == {*live_parameters(EngineConfig), *others}


def test_descriptors_tell_type_range_and_meaning(make_node):
    node = make_node()
    declare_parameters(node)
    kinds = {bool: 1, int: 2, float: 3, str: 4, tuple: 9}
    for name, spec in PARAMETERS.items():
        descriptor = node.describe_parameter(name)
        assert descriptor.type == kinds[type(spec.default)], name
        assert descriptor.description.endswith('.'), name
        assert descriptor.read_only == (name not in RUNTIME), name
        assert not descriptor.dynamic_typing
        assert bool(descriptor.integer_range) == (type(spec.default) is int), name
        assert bool(descriptor.floating_point_range) == (type(spec.default) is float), name
        assert node.get_parameter(name).type_.value == descriptor.type, name
    objects = node.describe_parameter('max_objects').integer_range[0]
    assert (objects.from_value, objects.to_value) == (1, 65535)
    score = node.describe_parameter('new_object_score').floating_point_range[0]
    assert (score.from_value, score.to_value) == (0.0, 1.0)
    transport = node.describe_parameter('image_transport').additional_constraints
    assert transport == 'one of raw, compressed; set at start only'


# ---- quality


@pytest.mark.parametrize('quality', ['exact', 'balanced'])
def test_quality_gives_defaults_and_single_parameters_win(read, quality: str):
    assert BY_QUALITY == ('confirm_iou', 'early_stop_iou')
    assert read(f'quality:={quality}').engine == EngineConfig.of(quality)
    given = read(f'quality:={quality}', 'confirm_iou:=0.7').engine
    assert given == EngineConfig.of(quality, confirm_iou=0.7)


def test_a_change_of_quality_changes_what_nobody_set(make_node):
    node = make_node('-p', 'confirm_iou:=0.7')
    declare_parameters(node)

    def values_after(**changes: object) -> list[object]:
        done = node.set_parameters_atomically([
            Parameter(name, value=value) for name, value in changes.items()])
        assert done.successful, done.reason
        return [node.get_parameter(name).value for name in ('quality', *BY_QUALITY)]

    assert values_after(quality='exact') == ['exact', 0.7, 0.0]
    assert values_after(quality='balanced') == ['balanced', 0.7, 0.95]
    assert values_after(early_stop_iou=0.9) == ['balanced', 0.7, 0.9]
    assert values_after(quality='exact') == ['exact', 0.7, 0.9]
    # What was given is given, also where it is the default of a quality.
    assert values_after(early_stop_iou=0.0) == ['exact', 0.7, 0.0]
    assert values_after(quality='balanced') == ['balanced', 0.7, 0.0]


def test_a_quality_and_a_parameter_may_be_set_at_once(make_node):
    node = make_node()
    declare_parameters(node)
    changes = [Parameter('quality', value='exact'), Parameter('confirm_iou', value=0.7)]
    assert node.set_parameters_atomically(changes).successful
    assert node.get_parameter('confirm_iou').value == 0.7
    assert node.get_parameter('early_stop_iou').value == 0.0
    assert read_parameters(node).engine == EngineConfig.of('exact', confirm_iou=0.7)


def test_a_quality_that_there_is_not_is_refused(make_node, read):
    with pytest.raises(ParameterError, match="quality must be one of exact, balanced, got 'best'"):
        read('quality:=best')
    node = make_node()
    declare_parameters(node)
    current = read_parameters(node)
    with pytest.raises(ParameterError, match='quality must be one of'):
        check_changes(current, [Parameter('quality', value='best')])


# ---- what YAML files say
@pytest.mark.parametrize(('given', 'name', 'value'), [
    ('match_iou:=1', 'match_iou', 1.0),
    ('max_window_delay:=0', 'max_window_delay', 0.0),
    ('cameras:=[]', 'cameras', ()),
    ("cameras:=['']", 'cameras', ()),
    ('cameras:=[front, rear_2]', 'cameras', ('front', 'rear_2')),
    ('detector_classes:=[0, 3]', 'detector_classes', ('0', '3')),
    ('detector_model:=""', 'detector_model', ''),
    ('device:=cuda:1', 'device', 'cuda:1'),
    ('memory_bank:=kitchen/cups.safetensors', 'memory_bank', 'kitchen/cups.safetensors'),
    ('window_size:=20', 'window_size', 20),
    ('overlay:=false', 'overlay', False),
])
def test_given_values_are_taken(read, given: str, name: str, value: object):
    parameters = read(given)
    found = getattr(parameters.engine if hasattr(parameters.engine, name) else parameters, name)
    assert found == value and type(found) is type(value)


def test_a_list_is_a_list_of_strings_for_other_nodes_too(make_node):
    node = make_node('-p', 'cameras:=[]', '-p', 'detector_classes:=[0, 3]')
    declare_parameters(node)
    for name, value in (('cameras', []), ('detector_classes', ['0', '3'])):
        parameter = node.get_parameter(name)
        assert (parameter.type_, parameter.value) == (Parameter.Type.STRING_ARRAY, value)


@pytest.mark.parametrize(('given', 'message'), [
    ('window_size:=0', 'window_size must be >= 1, got 0'),
    ('window_size:=5.0', r'window_size must be a whole number, got 5\.0'),
    ('window_size:=[]', 'window_size must be a whole number, got None'),
    ('max_objects:=65536', r'max_objects must be in 1\.\.65535, got 65536'),
    ('merge_iou:=1.5', r'merge_iou must be in 0\.\.1, got 1\.5'),
    ('merge_iou:=.nan', r'merge_iou must be in 0\.\.1, got nan'),
    ('merge_iou:=high', "merge_iou must be a number, got 'high'"),
    ('merge_iou:=true', 'merge_iou must be a number, got True'),
    ('max_window_delay:=-1', r'max_window_delay must be in 0\.\.3600 s, got -1'),
    ('overlay:=1', 'overlay must be true or false, got 1'),
    ('cameras:=front', r"cameras must be a list of strings such as \[a, b\], got 'front'"),
    ('cameras:=[1.5]', r'cameras must be a list of strings such as \[a, b\], got '),
    ('memory_bank:=2026', r"memory_bank must be a string \(in YAML, put '' around"),
    ('image_transport:=theora', "image_transport must be one of raw, compressed, got '"),
    ('association:=best', "association must be one of instance, class, got 'best'"),
    ('dtype:=float16', "dtype must be one of auto, float32, bfloat16, got 'float16'"),
    ('queue_size:=-1', r'queue_size must be in 0\.\.10000 frames, got -1'),
])
def test_bad_values_are_refused_by_name_when_declared(make_node, given: str, message: str):
    with pytest.raises(ParameterError, match=f'^{message}'):
        declare_parameters(make_node('-p', given))


def test_all_bad_values_are_named_at_once(make_node):
    node = make_node('-p', 'window_size:=0', '-p', 'cameras:=front', '-p', 'overlay:=3')
    with pytest.raises(ParameterError, match=r'^cameras .*; window_size .*; overlay .*, got 3$'):
        declare_parameters(node)


def test_what_looks_misspelt_is_warned_of(make_node, capfd):
    given = ('windw_size:=3', 'max_object:=2', 'window_size:=5', 'speed:=3', 'use_sim_time:=true')
    declare_parameters(make_node(*[part for value in given for part in ('-p', value)]))
    said = capfd.readouterr().err
    assert "there is no parameter 'windw_size', it has no effect; was window_size meant?" in said
    assert "'max_object', it has no effect; was max_objects meant?" in said
    assert said.count('WARN') == 2


# ---- together
@pytest.mark.parametrize(('given', 'message'), [
    (['window_size:=50'], r'max_propagation \(40\) must be >= window_size \(50\)'),
    (['device:=gpu'], "device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got 'gpu'"),
    (['detector_image_size:=7'], 'detector_image_size must be 0 or at least 32 pixels, got 7'),
    (['sam2_model:=" "'], "sam2_model is empty; 'demo' is the shipped model"),
    (['cameras:=[a, b, a]'], "cameras: 'a' is there more than once"),
    (['cameras:=[masks]'], "cameras: 'masks' is a name of the node itself"),
    (['memory_bank_directory:=banks'], 'memory_bank_directory must be an absolute path or'),
    (['memory_bank:=/tmp/a'], 'memory_bank must be a path inside memory_bank_directory'),
    (['memory_bank:=a/../../b'], 'memory_bank must be a path inside memory_bank_directory'),
    (['memory_bank:=~/b'], 'memory_bank must be a path inside memory_bank_directory'),
    (['device:=gpu', 'window_size:=41', 'cameras:=[A]'],
     "cameras: 'A' cannot .*; device must .*; max_propagation .40. must"),
])
def test_values_that_do_not_fit_are_refused(read, given: list[str], message: str):
    with pytest.raises(ParameterError, match=f'^{message}'):
        read(*given)


@pytest.mark.parametrize('name', ['Front', '1a', 'a b', 'a/b', 'a__b', 'a_', '_a', 'a-b', 'é', ''])
def test_cameras_are_parts_of_topic_names(make_node, read, name: str):
    with pytest.raises(ParameterError, match='^cameras: .* cannot be part of a topic name'):
        read(f"cameras:=['{name}', other]")


@pytest.mark.parametrize('name', ['front', 'a', 'cam2', 'rear_left_2'])
def test_topics_of_an_allowed_camera_are_valid(make_node, read, name: str):
    assert read(f'cameras:=[{name}]').camera_names == (name,)
    make_node().create_publisher(Image, f'~/{name}/masks', 1)


def test_the_folder_of_the_banks(read, monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.delenv('ROS_HOME', raising=False)
    assert read().bank_directory == tmp_path / '.ros' / 'detsam2_banks'
    monkeypatch.setenv('ROS_HOME', str(tmp_path / 'ros'))
    assert read().bank_directory == tmp_path / 'ros' / 'detsam2_banks'
    assert read('memory_bank_directory:=~/b').bank_directory == tmp_path / 'b'
    assert read(f'memory_bank_directory:={tmp_path}/c').bank_directory == tmp_path / 'c'


# ---- changes while the node runs
@pytest.fixture
def running(make_node: MakeNode) -> Node:
    """A node that takes changes as the real one does; its parameters are in `current`."""
    node = make_node()
    declare_parameters(node)
    node.current = read_parameters(node)

    def on_set(changes: list[Parameter]) -> SetParametersResult:
        try:
            node.current = check_changes(node.current, changes)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
    return node


def set_one(node: Node, name: str, value: Any) -> SetParametersResult:
    return node.set_parameters([Parameter(name, value=value)])[0]


@pytest.mark.parametrize('name', RUNTIME)
def test_what_can_change_changes(running, name: str):
    spec = PARAMETERS[name]
    value = not spec.default if isinstance(spec.default, bool) else 1  # an int for a float too
    value = 'exact' if name == 'quality' else value
    result = set_one(running, name, value)
    assert result.successful, result.reason
    parameters = running.current
    found = getattr(parameters.engine if hasattr(parameters.engine, name) else parameters, name)
    assert found == value and type(found) is type(spec.default)
    assert running.get_parameter(name).value == value


@pytest.mark.parametrize('name', sorted(set(PARAMETERS) - set(RUNTIME)))
def test_what_cannot_change_does_not(running, name: str):
    before = running.current
    change = Parameter(name, value=running.get_parameter(name).value or ['a'])
    result = running.set_parameters([change])[0]
    assert not result.successful and name in result.reason
    # Without rclpy's own check too.
    with pytest.raises(ParameterError, match=f'^{name} is set at start only'):
        check_changes(before, [change])
    assert running.current is before


def test_bad_changes_are_refused_by_name_and_change_nothing(running):
    before = running.current
    assert 'match_iou' in set_one(running, 'match_iou', 2).reason
    assert not set_one(running, 'match_iou', 'a').successful
    assert not set_one(running, 'overlay', None).successful
    together = [Parameter('match_iou', value=0.1), Parameter('detect_interval', value=-1)]
    assert not running.set_parameters_atomically(together).successful
    assert running.current is before
    for change, message in (
        (Parameter('match_iou', value=2.0), r'^match_iou must be in 0\.\.1, got 2\.0'),
        (Parameter('detect_interval', value=-1), '^detect_interval must be >= 0, got -1'),
        (Parameter('overlay', Parameter.Type.NOT_SET), '^overlay must be true or false, got None'),
    ):
        with pytest.raises(ParameterError, match=message):
            check_changes(before, [change])


def test_parameters_of_others_pass(running):
    before = running.current
    assert set_one(running, 'use_sim_time', True).successful
    assert running.current == before
    assert running.get_parameter('use_sim_time').value is True


# ---- documented
def test_the_yaml_file_has_every_parameter_with_its_default(make_node, read):
    path = ROOT / 'config' / 'detsam2.yaml'
    assert path.read_text(encoding='utf-8') == parameter_docs.yaml(), (
        'run python -m detsam2_ros.ros.parameters.docs yaml > config/detsam2.yaml'
    )
    given = yaml.safe_load(path.read_text(encoding='utf-8'))['/**']['ros__parameters']
    for name, value in given.items():
        default = PARAMETERS[name].default
        default = list(default) if isinstance(default, tuple) else default
        assert value == default and type(value) is type(default), name
    # Those would win over quality, and stand as comments.
    assert set(given) == set(PARAMETERS) - set(BY_QUALITY)
    for name in BY_QUALITY:
        assert f'\n    # {name}: {PARAMETERS[name].balanced}  # ' in parameter_docs.yaml()
    assert from_yaml(make_node, path) == read()


def test_the_settings_of_the_demo_are_valid(make_node):
    parameters = from_yaml(make_node, ROOT / 'config' / 'demo.yaml')
    assert (parameters.sam2_model, parameters.detector_model) == ('demo', 'demo')
    assert parameters.device == 'cpu'
    given = yaml.safe_load((ROOT / 'config' / 'demo.yaml').read_text(encoding='utf-8'))
    assert set(given['/**']['ros__parameters']) <= set(PARAMETERS)
