# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The rules of the repository: style, types, licence headers, what may import what."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = ('# Copyright 2026 detsam2_ros maintainers', '# SPDX-License-Identifier: Apache-2.0')
MAX_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_ARGUMENTS = 7
NOT_OURS = {'.git', '.venv', 'build', 'install', 'log', 'out', 'demo_out', 'runs', '__pycache__'}
ROS_PACKAGES = {
    'ament_index_python', 'builtin_interfaces', 'cv_bridge', 'detsam2_msgs', 'diagnostic_msgs',
    'geometry_msgs', 'launch', 'launch_ros', 'lifecycle_msgs', 'rcl_interfaces', 'rclpy',
    'sensor_msgs', 'std_msgs', 'std_srvs', 'vision_msgs', 'visualization_msgs',
}  # fmt: skip


def our_files() -> list[Path]:
    """List the files of the repository: those in git and new ones that git does not ignore."""
    try:
        listed = subprocess.run(
            ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard'],
            cwd=ROOT, capture_output=True, check=True, text=True,
        ).stdout.split('\0')  # fmt: skip
        paths = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        paths = []
        for folder, folders, names in os.walk(ROOT):
            ours = set(folders) - NOT_OURS
            folders[:] = [n for n in ours if not n.endswith(('_cache', '-kilted'))]
            paths += [Path(folder) / name for name in names]
    return sorted(path for path in paths if path.is_file())


def our_texts() -> list[tuple[Path, str]]:
    texts = []
    for path in our_files():
        data = path.read_bytes()
        if b'\0' not in data:
            texts.append((path.relative_to(ROOT), data.decode('utf-8', 'replace')))
    return texts


def python_files() -> list[Path]:
    return [path for path in our_files() if path.suffix == '.py']


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment in the checkout."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_ruff() -> None:
    result = run('-m', 'ruff', 'check', '--output-format', 'concise', '.')
    assert result.returncode == 0, f'ruff check found\n{result.stdout}{result.stderr}'


@pytest.mark.slow
def test_mypy() -> None:
    result = run('-m', 'mypy')
    assert result.returncode == 0, f'mypy found\n{result.stdout}{result.stderr}'


def test_headers() -> None:
    without = []
    for path, text in our_texts():
        is_script = path.parts[0] in ('scripts', '.ci')
        if path.suffix in ('.py', '.msg', '.srv') or path.name == 'CMakeLists.txt' or is_script:
            first = text.splitlines()[:5]
            if first and first[0].startswith('#!'):
                del first[0]
            if tuple(first[:2]) != HEADER:
                without.append(str(path))
    assert not without, f'these files do not begin with the copyright and SPDX lines: {without}'


def test_shell_scripts_parse() -> None:
    bash = shutil.which('bash')
    if bash is None:
        pytest.skip('there is no bash')
    for path in [*(ROOT / 'scripts').iterdir(), ROOT / '.ci' / 'run']:
        if path.is_file() and path.suffix == '':
            subprocess.run([bash, '-n', str(path)], check=True)
            sourced = path.name == 'env'
            assert os.access(path, os.X_OK) != sourced, f'{path.name}: wrong mode'


def test_no_machine_is_named() -> None:
    """Paths of somebody's machine and hosts of package registries have no place in the files."""
    folders = '|'.join(('work', 'root', 'home'))
    hosts = ('pypi' + '.org', 'python' + 'hosted', 'deb.' + 'debian', 'registry.' + 'npmjs')
    pattern = re.compile(rf'(?<![\w.$}}~/-])/(?:{folders})/|{"|".join(map(re.escape, hosts))}')
    found = [
        f'{path}:{number}: {line.strip()}' for path, text in our_texts()
        for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)
    ]
    assert not found, '\n'.join(found)


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count for path in python_files()
        if (count := len(path.read_text(encoding='utf-8').splitlines())) > MAX_LINES
    }
    assert not long, f'files of more than {MAX_LINES} lines: {long}'


def package_files() -> list[Path]:
    return sorted((ROOT / 'detsam2_ros').rglob('*.py'))


def test_functions_stay_short() -> None:
    long = [
        f'{path.relative_to(ROOT)}: {node.name}, {node.end_lineno - node.lineno + 1} lines'
        for path in package_files()
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert not long, f'functions of more than {MAX_FUNCTION_LINES} lines: {long}'


def own_names(tree: ast.Module) -> set[str]:
    """Name what a file defines itself or imports from the package; `self` counts too."""
    names = {'self', 'cls'}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and under(node.module or '', 'detsam2_ros'):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def long_calls(tree: ast.Module) -> list[tuple[int, str, int]]:
    """Return line, callee and number of arguments of the calls of ours that have too many."""
    own, found = own_names(tree), []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        callee = ast.unparse(node.func)
        count = len(node.args) + len(node.keywords)
        is_record = not node.args and callee.rpartition('.')[2].lstrip('_')[:1].isupper()
        if callee.partition('.')[0] in own and count > MAX_ARGUMENTS and not is_record:
            found.append((node.lineno, callee, count))
    return found


def test_calls_have_few_arguments() -> None:
    """Ours are functions and classes that a file defines or imports from the package.

    A record that is made with every field by its name is exempt: each value stands beside its
    name, so nobody counts places, and a second record only to hold half of the fields would say
    less. Calls of libraries are theirs.
    """
    found = [
        f'{path.relative_to(ROOT)}:{line} {callee} has {count} arguments'
        for path in package_files()
        for line, callee, count in long_calls(ast.parse(path.read_text(encoding='utf-8')))
    ]
    assert not found, '\n'.join(found)


def test_the_check_of_calls_sees_what_it_looks_for() -> None:
    eight = ', '.join('abcdefgh')
    named = ', '.join(f'{name}={name}' for name in 'abcdefgh')
    source = (
        'import cv2\nfrom detsam2_ros.bags import Job, segment\n'
        f'segment({eight})\nJob({eight})\nsegment({named})\nself.take({eight})\n'
        f'Job({named})\ncv2.putText({eight})\nsegment(a, b)\n'
    )
    assert [line for line, _, _ in long_calls(ast.parse(source))] == [3, 4, 5, 6]


def imported(path: Path) -> set[str]:
    """Name the modules that a Python file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = '.'.join(path.relative_to(ROOT).parts[: -node.level]) if node.level else ''
            module = '.'.join(part for part in (package, node.module) if part)
            names |= {module, *(f'{module}.{alias.name}' for alias in node.names)}
    return names


def under(name: str, package: str) -> bool:
    """Tell whether a module is a package or lies in it."""
    return name == package or name.startswith(package + '.')


# What the modules of a room never import, the room itself excepted: other rooms, or libraries.
NEVER = {
    'results': ('torch', 'detsam2_ros'),
    'engine': (*ROS_PACKAGES, 'detsam2_ros.ros', 'detsam2_ros.runtime', 'detsam2_ros.media'),
    'engine.sam2': ('detsam2_ros.engine.tracking', 'detsam2_ros.engine.bank'),
    'engine.detector': ('detsam2_ros.engine.tracking', 'detsam2_ros.engine.sam2'),
    'engine.bank': ('detsam2_ros.engine.tracking',),
    'runtime': (*ROS_PACKAGES, 'detsam2_ros.ros', 'torch'),
    'messages': (*ROS_PACKAGES, 'torch', 'detsam2_ros.engine', 'detsam2_ros.ros'),
    'client': ('torch', 'detsam2_ros.engine', 'detsam2_ros.ros'),
    'space': (*ROS_PACKAGES, 'torch', 'detsam2_ros.engine', 'detsam2_ros.ros'),
    'ros.space': ('torch', 'detsam2_ros.engine', 'detsam2_ros.runtime', 'detsam2_ros.scene'),
    'viewer': ('torch', 'detsam2_ros.engine', 'detsam2_ros.ros'),
    'quality': (
        *ROS_PACKAGES, 'torch', 'detsam2_ros.engine', 'detsam2_ros.runtime', 'detsam2_ros.banks',
        'detsam2_ros.cli', 'detsam2_ros.ros',
    ),
    'media': (*ROS_PACKAGES, 'torch', 'detsam2_ros.engine', 'detsam2_ros.cli'),
    'scene': (*ROS_PACKAGES, 'torch', 'detsam2_ros.engine', 'detsam2_ros.media'),
    'banks': (*ROS_PACKAGES, 'detsam2_ros.cli', 'detsam2_ros.ros', 'detsam2_ros.runtime'),
    'bags': (*ROS_PACKAGES, 'detsam2_ros.cli', 'detsam2_ros.ros'),
    'cli': (*ROS_PACKAGES, 'detsam2_ros.demo', 'detsam2_ros.ros'),
    'ros': ('torch.nn', 'sam2', 'ultralytics', 'detsam2_ros.cli', 'detsam2_ros.bags'),
}
OF_NOBODY = 'detsam2_ros.demo'  # only the demo itself imports it
NO_TORCH = (
    'results.frames', 'results.detections', 'messages.result_fields', 'messages.pixels', 'client',
    'space.stream', 'ros.space.node',
    'client.recorder', 'viewer.main', 'viewer.follow', 'media.overlay', 'media.video',
    'quality.evaluation', 'quality.revisions', 'quality.formats', 'cli.evaluate.main',
)  # fmt: skip


def room_files(room: str) -> list[Path]:
    files = sorted((ROOT / 'detsam2_ros').joinpath(*room.split('.')).rglob('*.py'))
    assert files, f'there is no room {room}'
    return files


@pytest.mark.parametrize('room', NEVER)
def test_no_arrow_leads_back(room: str) -> None:
    own = f'detsam2_ros.{room}'
    found = [
        f'{path.relative_to(ROOT)} imports {name}' for path in room_files(room)
        for name in sorted(imported(path)) if not under(name, own)
        and any(under(name, other) for other in NEVER[room])
    ]
    assert not found, '\n'.join(found)


def test_nobody_imports_the_demo() -> None:
    found = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in sorted((ROOT / 'detsam2_ros').rglob('*.py'))
        if path.relative_to(ROOT).parts[1] != 'demo' for name in sorted(imported(path))
        if under(name, OF_NOBODY)
    ]
    assert not found, '\n'.join(found)


def module_graph() -> dict[str, set[str]]:
    """Return which modules of the package each of them imports, anywhere in it."""
    paths = {}
    for path in (ROOT / 'detsam2_ros').rglob('*.py'):
        parts = path.relative_to(ROOT).with_suffix('').parts
        paths['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return {name: (imported(path) & paths.keys()) - {name} for name, path in paths.items()}


def test_no_imports_go_in_a_circle() -> None:
    left = module_graph()
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, f'these modules import one another, or lead to some that do: {sorted(left)}'


@pytest.mark.parametrize('module', NO_TORCH)
def test_what_needs_no_torch_loads_none(module: str) -> None:
    """Also not through something else that it imports."""
    program = f"""
import importlib, sys
importlib.import_module('detsam2_ros.{module}')
print([n for n in ('torch', 'sam2', 'ultralytics', 'detsam2_ros.engine') if n in sys.modules])
"""
    result = run('-c', program)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == '[]'


def test_engine_loads_no_ros() -> None:
    """Also not through something else that it imports."""
    program = (
        'import sys, detsam2_ros.engine, detsam2_ros.runtime.worker, detsam2_ros.bags\n'
        f'ros = {sorted(ROS_PACKAGES)!r}\n'
        'own = [n for n in sys.modules if n.startswith("detsam2_ros.ros")]\n'
        'print(own + [n for n in sys.modules if n.split(".")[0] in ros])'
    )
    result = run('-c', program)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == '[]'
