# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The launch files, without the package `launch`: stand-ins record what they would start."""

import ast
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
NAMES = [path.name for path in LAUNCH_FILES]
MODULES = (
    'launch', 'launch.action', 'launch.actions', 'launch.event_handlers', 'launch.events',
    'launch.events.process',
    'launch.launch_context', 'launch.launch_description', 'launch.substitutions', 'launch_ros',
    'launch_ros.actions', 'launch_ros.event_handlers', 'launch_ros.events',
    'launch_ros.events.lifecycle', 'launch_ros.parameter_descriptions',
    'launch_ros.substitutions', 'lifecycle_msgs', 'lifecycle_msgs.msg',
)  # fmt: skip


class Recorded:
    """Stands for any action or substitution: keeps what it was made with."""

    kind = ''

    def __init__(self, *args: Any, **options: Any):
        self.args, self.options = args, options


class Recorder(types.ModuleType):
    """A module in which every name is a class of Recorded."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        made = type(name, (Recorded,), {'kind': name})
        setattr(self, name, made)
        return made


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, Recorder(name))
    yield


def loaded(name: str) -> types.ModuleType:
    """Run a launch file as a module; the modules of launch are those in sys.modules."""
    path = ROOT / 'launch' / name
    module = types.ModuleType(name.partition('.')[0])
    exec(compile(path.read_text(encoding='utf-8'), str(path), 'exec'), module.__dict__)
    return module


def entities(name: str) -> list[Recorded]:
    return loaded(name).generate_launch_description().args[0]


def of_kind(name: str, kind: str) -> list[Recorded]:
    return [entity for entity in entities(name) if entity.kind == kind]


def calls(path: Path, function: str) -> list[ast.Call]:
    tree = ast.parse(path.read_text(encoding='utf-8'))
    return [
        node for node in ast.walk(tree) if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name) and node.func.id == function
    ]


class Context:
    """A launch context: the values of the arguments."""

    def __init__(self, name: str, **given: str):
        self.launch_configurations = {}
        for argument in of_kind(name, 'DeclareLaunchArgument'):
            default = argument.options['default_value']
            self.launch_configurations[argument.args[0]] = default
        self.launch_configurations['params_file'] = str(ROOT / 'config' / 'detsam2.yaml')
        unknown = set(given) - set(self.launch_configurations)
        assert not unknown, f'no such launch arguments: {unknown}'
        self.launch_configurations.update(given)


def node(**given: str) -> dict[str, Any]:
    """What detsam2.launch.py starts with these arguments: the options of the one node."""
    name = 'detsam2.launch.py'
    (started,) = loaded(name).start_node(Context(name, **given))
    assert started.kind == 'LifecycleNode'
    return started.options


def overrides(**given: str) -> dict[str, Any]:
    """The parameters that arguments override, plain."""
    parameters = node(**given)['parameters']
    assert [p.kind for p in parameters[:-1]] == ['ParameterFile']
    return {k: v.args[0] if isinstance(v, Recorded) else v for k, v in parameters[-1].items()}


# ---- every launch file
def test_both_launch_files_are_there() -> None:
    assert NAMES == ['demo.launch.py', 'detsam2.launch.py']


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=NAMES)
def test_every_argument_is_described(path: Path) -> None:
    declared = calls(path, 'DeclareLaunchArgument')
    assert declared
    for call in declared:
        options = {keyword.arg: keyword.value for keyword in call.keywords}
        name = ast.literal_eval(call.args[0])
        assert 'default_value' in options, f'{path.name}: {name} has no default'
        text = ast.literal_eval(options['description'])
        assert len(text) > 10 and text.endswith('.'), f'{path.name}: {name}: {text!r}'


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=NAMES)
def test_importing_and_describing_have_no_side_effects(
    path: Path, stand_ins: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No file is opened, no process started, no variable set before launch executes actions."""
    code = compile(path.read_text(encoding='utf-8'), str(path), 'exec')
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError(f'a side effect: {args}')

    module = types.ModuleType('launch_file')
    with monkeypatch.context() as patch:
        for owner, name in ((os, 'stat'), (os, 'system'), (subprocess, 'Popen'), (os, 'makedirs')):
            patch.setattr(owner, name, refuse)
        patch.setattr('builtins.open', refuse)
        exec(code, module.__dict__)
        module.generate_launch_description()
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('name', NAMES)
def test_transports_are_set_unless_the_user_has(name: str, stand_ins: None) -> None:
    settings = dict(setting.args for setting in of_kind(name, 'SetEnvironmentVariable'))
    for variable, value in settings.items():
        assert value.kind == 'EnvironmentVariable' and value.args == (variable,)
    default = settings['FASTDDS_BUILTIN_TRANSPORTS'].options['default_value']
    # The same in both, and as the documentation says.
    assert default == loaded('detsam2.launch.py').TRANSPORTS_DEFAULT
    assert f'FASTDDS_BUILTIN_TRANSPORTS={default!r}' in (ROOT / 'docs/transport.md').read_text()


@pytest.mark.parametrize('path', LAUNCH_FILES, ids=NAMES)
def test_what_is_started_is_installed(path: Path) -> None:
    """Executables are entry points of setup.py, and shipped files exist."""
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    installed = set(re.findall(r"'(\w+) = [\w.]+:\w+'", setup))
    text = path.read_text(encoding='utf-8')
    started = set(re.findall(r"executable='(\w+)'", text))
    assert started and started <= installed, started - installed
    for name in re.findall(r"'(\w+\.(?:yaml|rviz))'", text):
        assert (ROOT / 'config' / name).is_file(), name
    assert "'launch'" in setup and "'config'" in setup


def test_arguments_are_documented() -> None:
    """The table of the quick start has every argument of detsam2.launch.py, and no other."""
    text = (ROOT / 'docs' / 'quick_start.md').read_text(encoding='utf-8')
    section = text.partition('<!-- launch arguments -->')[2].partition('<!-- end -->')[0]
    listed = re.findall(r'^\| `(\w+)` \|', section, re.MULTILINE)
    path = ROOT / 'launch' / 'detsam2.launch.py'
    declared = [ast.literal_eval(c.args[0]) for c in calls(path, 'DeclareLaunchArgument')]
    assert listed == declared


# ---- detsam2.launch.py
def test_nothing_is_overridden_unless_given(stand_ins: None) -> None:
    options = node()
    assert overrides() == {}
    assert options['parameters'][0].args == (ROOT / 'config' / 'detsam2.yaml',)
    assert options['remappings'] == []
    assert (options['package'], options['executable']) == ('detsam2_ros', 'detsam2_node')
    assert (options['name'], options['namespace']) == ('detsam2', '')
    assert options['respawn'] is False


def test_given_arguments_override_with_the_type_of_the_parameter(stand_ins: None) -> None:
    from detsam2_ros.ros.parameters.table import PARAMETERS

    given = {
        'autostart': 'false', 'bond': 'true', 'use_sim_time': 'True',
        'image_transport': 'compressed', 'image_reliability': 'best_effort',
        'sam2_model': '1', 'detector': 'topic', 'detector_model': 'yolo11n.pt', 'device': 'cpu',
        'mode': 'window', 'quality': 'exact', 'window_size': '5', 'detect_interval': '0',
        'max_propagation': '15', 'memory_bank_directory': '/tmp/banks',
    }  # fmt: skip
    assert set(given) == set(loaded('detsam2.launch.py').OVERRIDES)
    found = overrides(**given, cameras=' front, rear ')
    assert found['cameras'] == ['front', 'rear']
    assert found['autostart'] is False and found['use_sim_time'] is True
    assert found['sam2_model'] == '1'  # text, although it looks like a number
    assert (found['window_size'], found['detect_interval']) == (5, 0)
    for name in set(found) - {'cameras', 'use_sim_time'}:
        assert type(found[name]) is type(PARAMETERS[name].default), name
    # Text is marked as such for launch_ros, which would parse it as YAML.
    raw = node(sam2_model='1')['parameters'][-1]['sam2_model']
    assert raw.kind == 'ParameterValue' and raw.options == {'value_type': str}


def test_image_topics_are_remapped_raw_and_compressed(stand_ins: None) -> None:
    assert node(image='/camera/image_raw')['remappings'] == [
        ('~/image', '/camera/image_raw'),
        ('~/image/compressed', '/camera/image_raw/compressed'),
    ]
    several = node(cameras='front,rear', image='/f/image,/r/image')['remappings']
    assert dict(several) == {
        '~/front/image': '/f/image', '~/front/image/compressed': '/f/image/compressed',
        '~/rear/image': '/r/image', '~/rear/image/compressed': '/r/image/compressed',
    }


def test_detections_are_remapped_beside_the_images(stand_ins: None) -> None:
    assert node(detections='/yolo')['remappings'] == [('~/detections', '/yolo')]
    several = node(cameras='front,rear', detections='/f,/r')['remappings']
    assert several == [('~/front/detections', '/f'), ('~/rear/detections', '/r')]


@pytest.mark.parametrize(('given', 'told'), [
    ({'cameras': 'a,b', 'detections': '/d'}, "'detections' names 1 topics .* for 2 cameras"),
    ({'window_size': 'ten'}, "'window_size' must be a whole number, got 'ten'"),
    ({'autostart': 'perhaps'}, "'autostart' must be true or false, got 'perhaps'"),
    ({'respawn': '2'}, "'respawn' must be true or false"),
    ({'image': '/a,/b'}, 'names 2 topics .* for 1 cameras'),
    ({'cameras': 'front,rear', 'image': '/a'}, 'names 1 topics .* for 2 cameras'),
    ({'params_file': '/nowhere/x.yaml'}, "'params_file': there is no file /nowhere/x.yaml"),
])
def test_a_wrong_argument_is_named(stand_ins: None, given: dict[str, str], told: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        node(**given)


def test_space_is_started_beside_the_node_if_asked_for(stand_ins: None) -> None:
    name = 'detsam2.launch.py'
    assert loaded(name).start_space(Context(name)) == []
    given = {
        'space': 'true', 'namespace': 'robot', 'window_size': '5',
        'rectified': 'true', 'depth': '/d', 'camera_info': '/i', 'sam2_model': 'demo',
    }  # fmt: skip
    context = Context(name, **given)
    context.launch_configurations['name'] = 'eyes'
    (started,) = loaded(name).start_space(context)
    options = started.options
    assert options['executable'] == 'detsam2_space'
    assert (options['name'], options['namespace']) == ('eyes_space', 'robot')
    assert options['remappings'] == [('~/depth', '/d'), ('~/camera_info', '/i')]
    parameters = options['parameters'][1].items()
    own = {k: v.args[0] if isinstance(v, Recorded) else v for k, v in parameters}
    assert own == {'detsam2': 'eyes', 'window_size': 5, 'rectified': True}
    from detsam2_ros.ros.space.table import SPECS

    assert set(own) <= {spec.name for spec in SPECS}
    shared = {*loaded(name).SHARED, *loaded(name).OF_SPACE}
    assert shared - {'use_sim_time'} <= {spec.name for spec in SPECS}


def test_rviz_shows_what_the_node_publishes() -> None:
    config = yaml.safe_load((ROOT / 'config' / 'detsam2.rviz').read_text(encoding='utf-8'))
    displays = config['Visualization Manager']['Displays']
    topics = {d['Topic']['Value']: d for d in displays if 'Topic' in d}
    assert set(topics) == {
        '/detsam2/overlay', '/detsam2/masks', '/detsam2_space/points', '/detsam2_space/markers'}
    reliability = {name: d['Topic']['Reliability Policy'] for name, d in topics.items()}
    # An overlay is published best effort: a reliable display would get none.
    assert reliability['/detsam2/overlay'] == 'Best Effort'
    assert {name: d['Class'].partition('/')[2] for name, d in topics.items()} == {
        '/detsam2/overlay': 'Image', '/detsam2/masks': 'Image',
        '/detsam2_space/points': 'PointCloud2', '/detsam2_space/markers': 'MarkerArray',
    }
