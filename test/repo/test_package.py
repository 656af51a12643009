# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The packages as such: versions, manifests, interfaces, entry points, shipped files, scripts."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import detsam2_ros
from detsam2_ros.paths import shared_file, shared_folders

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = [ROOT / 'package.xml', ROOT / 'detsam2_msgs' / 'package.xml']
INTERFACES = sorted((ROOT / 'detsam2_msgs').glob('*/*.[ms][sr][gv]'))


def setup_arguments() -> dict[str, ast.expr]:
    """Read the arguments of setup() in setup.py without running it."""
    tree = ast.parse((ROOT / 'setup.py').read_text(encoding='utf-8'))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == 'setup':
            return {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
    raise AssertionError('setup.py does not call setup()')


def entry_points() -> list[str]:
    """List the console scripts that setup.py declares."""
    return ast.literal_eval(setup_arguments()['entry_points'])['console_scripts']


def test_versions_agree() -> None:
    changelog = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    newest = re.search(r'^## \[(\d+\.\d+\.\d+)\]', changelog, re.MULTILINE)
    assert newest, 'CHANGELOG.md has no entry like "## [1.2.3]"'
    versions = {
        'CHANGELOG.md': newest[1],
        'setup.py': ast.literal_eval(setup_arguments()['version']),
        'detsam2_ros.__version__': detsam2_ros.__version__,
    }
    for path in MANIFESTS:
        found = ElementTree.parse(path).findtext('version')
        versions[str(path.relative_to(ROOT))] = found or ''
    assert len(set(versions.values())) == 1, versions


@pytest.mark.parametrize('path', MANIFESTS, ids=lambda path: path.parent.name)
def test_manifest(path: Path) -> None:
    text = path.read_text(encoding='utf-8')
    assert text.startswith('<?xml version="1.0"?>\n')
    package = ElementTree.fromstring(text)
    assert package.tag == 'package' and package.get('format') == '3'
    for name in ('name', 'version', 'description', 'maintainer', 'license'):
        assert (package.findtext(name) or '').strip(), f'{path} has no {name}'
    assert re.fullmatch(r'\d+\.\d+\.\d+', package.findtext('version') or '')
    assert package.findtext('license') == 'Apache-2.0'
    maintainer = package.find('maintainer')
    assert maintainer is not None and '@' in maintainer.get('email', '')
    depends = [(e.tag, e.text) for e in package if e.tag.endswith('depend')]
    assert len(depends) == len(set(depends)), 'a dependency is declared twice'
    if shutil.which('xmllint'):
        subprocess.run(['xmllint', '--noout', '--nonet', str(path)], check=True)


def test_manifest_is_what_catkin_reads() -> None:
    package = pytest.importorskip('catkin_pkg.package')
    ours, messages = (package.parse_package(str(path)) for path in MANIFESTS)
    assert ours.get_build_type() == 'ament_python'
    assert messages.get_build_type() == 'ament_cmake'
    assert [group.name for group in messages.member_of_groups] == ['rosidl_interface_packages']
    assert 'detsam2_msgs' in {depend.name for depend in ours.exec_depends}


def test_interfaces_are_built_and_explained() -> None:
    """Every interface is in CMakeLists.txt, and every field has a comment above its block."""
    cmake = (ROOT / 'detsam2_msgs' / 'CMakeLists.txt').read_text(encoding='utf-8')
    assert len(INTERFACES) == 11
    for path in INTERFACES:
        assert f'"{path.parent.name}/{path.name}"' in cmake
        blocks = re.split(r'\n\s*\n|^---$', path.read_text(encoding='utf-8'), flags=re.MULTILINE)
        for block in blocks:
            lines = [line for line in block.splitlines() if line.strip()]
            fields = [line for line in lines if not line.startswith('#')]
            assert not fields or lines[0].startswith('#'), f'{path.name}: {fields} has no comment'


def test_interfaces_hold_no_arrays_of_messages() -> None:
    """Converting those would make rclpy slow; arrays of numbers and strings are quick.

    Objects in space are few and have many parts: eight of them take 0.2 ms.
    """
    primitive = re.compile(r'(bool|string|u?int(8|16|32|64)|float(32|64)|Object3D)\[')
    for path in INTERFACES:
        for line in path.read_text(encoding='utf-8').splitlines():
            if '[' in line and not line.startswith('#'):
                assert primitive.match(line), f'{path.name}: {line}'


@pytest.mark.parametrize('entry', entry_points())
def test_entry_point_exists(entry: str) -> None:
    match = re.fullmatch(r'(\w+) = ([\w.]+):(\w+)', entry)
    assert match, entry
    assert callable(getattr(importlib.import_module(match[2]), match[3]))


def test_every_folder_of_code_is_a_package() -> None:
    """A folder without __init__.py would be left out of an installation."""
    for path in (ROOT / 'detsam2_ros').rglob('*.py'):
        assert (path.parent / '__init__.py').is_file(), f'{path.parent} has no __init__.py'


def test_shared_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / 'prefix'
    there = prefix / 'share' / 'detsam2_ros' / 'config' / 'only_here.yaml'
    there.parent.mkdir(parents=True)
    there.write_text('')
    monkeypatch.setenv('AMENT_PREFIX_PATH', os.pathsep.join(['', '/nowhere', str(prefix)]))
    assert shared_folders()[0] == ROOT
    assert shared_file('package.xml') == ROOT / 'package.xml'
    assert shared_file('config/only_here.yaml') == there
    with pytest.raises(FileNotFoundError) as caught:
        shared_file('config/nowhere.yaml')
    for place in (ROOT, prefix, sys.prefix):
        assert str(place) in str(caught.value)
    for outside in ('', '../package.xml', 'config/../../x', '/etc/hosts'):
        with pytest.raises(ValueError, match='inside the package'):
            shared_file(outside)


@pytest.mark.slow
def test_installed_copy_works_without_the_checkout(tmp_path: Path) -> None:
    """Build and install a copy as colcon does without links, then use it from elsewhere."""
    source = tmp_path / 'source'
    source.mkdir()
    for name in ('package.xml', 'setup.py', 'setup.cfg', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    hidden = shutil.ignore_patterns('__pycache__')
    for name in ('detsam2_ros', 'resource', 'models', 'config', 'launch'):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=hidden)
    (source / 'config').mkdir(exist_ok=True)
    (source / 'config' / 'of_the_test.yaml').write_text('answer: 42\n')

    colcon = (
        'import sys; from colcon_core.command import main; '
        'sys.exit(main(argv=["--log-base", "log", "build", "--base-paths", "source"]))'
    )
    built = subprocess.run(
        [sys.executable, '-c', colcon], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    shutil.rmtree(source)

    prefix = tmp_path / 'install' / 'detsam2_ros'
    site = next(prefix.glob('lib/python3*/site-packages'))
    program = (
        'import detsam2_ros, detsam2_ros.paths as p;'
        'print(detsam2_ros.__file__); print(p.shared_file("config/of_the_test.yaml"))'
    )
    environment = {**os.environ, 'PYTHONPATH': str(site), 'AMENT_PREFIX_PATH': str(prefix)}
    used = subprocess.run(
        [sys.executable, '-c', program],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    module, shipped = used.stdout.split()[-2:]
    assert Path(module).is_relative_to(prefix)
    assert Path(shipped) == prefix / 'share' / 'detsam2_ros' / 'config' / 'of_the_test.yaml'
    assert (prefix / 'share/ament_index/resource_index/packages/detsam2_ros').is_file()
    for entry in entry_points():
        assert os.access(prefix / 'lib' / 'detsam2_ros' / entry.split(' = ')[0], os.X_OK)


@pytest.mark.ros
def test_messages_cross_a_topic() -> None:
    """Typesupport of the built interfaces: one message with every field through the middleware."""
    rclpy = pytest.importorskip('rclpy')
    messages = pytest.importorskip('detsam2_msgs.msg')
    sent = messages.MaskCorrection(frame_index=2**40, revision=3, final=True)
    sent.changed_ids, sent.withdrawn_ids = [7, 9, 65535], [9]
    sent.header.frame_id = 'camera'
    sent.roi.width = 2
    sent.patch.encoding = 'mono16'
    sent.patch.data = b'\x07\x00\xff\xff'
    sent.objects = messages.ObjectArray(
        frame_index=2**40, ids=[7, 65535], class_ids=[-1, 80], class_names=['ball', 'Köln'],
        scores=[0.5, 1.0], boxes=[0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0],
        visible=[True, False], conditioned=[False, True], states=[1, 2],
    )  # fmt: skip
    context = rclpy.Context()
    rclpy.init(context=context)
    received: list[object] = []
    try:
        node = rclpy.create_node('interface_test', context=context)
        node.create_subscription(messages.MaskCorrection, '~/corrections', received.append, 10)
        publisher = node.create_publisher(messages.MaskCorrection, '~/corrections', 10)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        executor.add_node(node)
        for _ in range(100):
            publisher.publish(sent)
            executor.spin_once(timeout_sec=0.1)
            if received:
                break
        executor.shutdown()
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert received and received[0] == sent


@pytest.mark.parametrize('lacking', ['cmake', 'cc', 'both'])
def test_setup_names_what_is_missing(tmp_path: Path, lacking: str) -> None:
    """Without cmake or a compiler, setup says so and how to get it, and makes nothing."""
    tools = tmp_path / 'bin'
    tools.mkdir()
    compilers = ['cc', 'gcc', 'c++', 'g++']
    wanted = ['bash', 'cat', 'cut', 'dirname', 'find', 'flock', 'sed', 'sha256sum', 'sort']
    wanted += ['tr', 'xargs']
    wanted += compilers if lacking == 'cmake' else []
    wanted += ['cmake'] if lacking == 'cc' else []
    for name in wanted:
        found = shutil.which(name) or shutil.which('true')
        if found:
            (tools / name).symlink_to(found)
    source = tmp_path / 'checkout'
    source.mkdir()
    for name in ('package.xml', 'setup.py', 'setup.cfg'):
        shutil.copy(ROOT / name, source)
    for path in [*ROOT.glob('constraints*.txt'), *ROOT.glob('requirements*.txt')]:
        shutil.copy(path, source)
    shutil.copytree(ROOT / 'scripts', source / 'scripts')
    base = Path(sys.base_prefix) / 'bin' / f'python3.{sys.version_info.minor}'
    if not base.exists():
        pytest.skip('the base interpreter is not where it is expected')
    result = subprocess.run(
        [str(tools / 'bash'), 'scripts/setup'],
        cwd=source, env={'PATH': str(tools), 'PYTHON': str(base), 'HOME': str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout + result.stderr
    assert ('- cmake' in result.stderr) == (lacking != 'cc')
    assert ('- a C compiler' in result.stderr) == (lacking != 'cmake')
    line = next(line for line in result.stderr.splitlines() if 'apt-get install' in line)
    assert ('cmake' in line, 'build-essential' in line) == (lacking != 'cc', lacking != 'cmake')
    assert not (source / '.venv').exists()


@pytest.mark.ros
@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_env_works_from_anywhere(tmp_path: Path, shell: str) -> None:
    """Sourcing twice, from another folder, with unset variables refused, adds everything once."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f'there is no {shell}')
    chosen = {k: v for k, v in os.environ.items() if k == 'DETSAM2_ROS_WHEELS'}
    suffix = '-kilted' if 'kilted' in chosen.values() else ''
    if not (ROOT / f'install{suffix}' / '.detsam2_setup').is_file():
        pytest.skip('this checkout was not set up by scripts/setup')
    source = f'. "{ROOT}/scripts/env"'
    command = (
        f'set -u; {source} && {source} && memory_bank --help >/dev/null && '
        'echo "$AMENT_PREFIX_PATH" && '
        'python -c "import rclpy, detsam2_msgs.msg, detsam2_ros; print(detsam2_ros.__file__)"'
    )
    result = subprocess.run(
        [program, '-c', command],
        cwd=tmp_path, env={'PATH': os.defpath, 'HOME': str(tmp_path), **chosen},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    prefixes, module = result.stdout.splitlines()[-2:]
    listed = prefixes.split(':')
    assert len(listed) == len(set(listed)), prefixes
    assert Path(module).resolve() == Path(detsam2_ros.__file__).resolve()
