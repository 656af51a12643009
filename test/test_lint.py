# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The rules of the repository: style, types, licence headers, what may import what."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADER = (
    '# Copyright 2026 detsam2_ros maintainers',
    '# SPDX-License-Identifier: Apache-2.0',
)
MOST_LINES = 400
NOT_OURS = {'.git', '.venv', 'build', 'install', 'log', 'out', 'demo_out', 'runs', '__pycache__'}
ROS_PACKAGES = {
    'ament_index_python', 'builtin_interfaces', 'cv_bridge', 'detsam2_msgs', 'diagnostic_msgs',
    'launch', 'launch_ros', 'lifecycle_msgs', 'rcl_interfaces', 'rclpy', 'sensor_msgs', 'std_msgs',
    'std_srvs', 'vision_msgs',
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
            folders[:] = [n for n in folders if n not in NOT_OURS and not n.endswith('_cache')]
            paths += [Path(folder) / name for name in names]
    return sorted(path for path in paths if path.is_file())


def our_texts() -> list[tuple[Path, str]]:
    """Read the files of the repository that are text."""
    texts = []
    for path in our_files():
        data = path.read_bytes()
        if b'\0' not in data:
            texts.append((path.relative_to(ROOT), data.decode('utf-8', 'replace')))
    return texts


def python_files() -> list[Path]:
    """List the Python files of the repository."""
    return [path for path in our_files() if path.suffix == '.py']


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment in the checkout."""
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )


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
        f'{path}:{number}: {line.strip()}'
        for path, text in our_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, '\n'.join(found)


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in python_files()
        if (count := len(path.read_text(encoding='utf-8').splitlines())) > MOST_LINES
    }
    assert not long, f'files of more than {MOST_LINES} lines: {long}'


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


def test_engine_files_import_no_ros() -> None:
    files = sorted((ROOT / 'detsam2_ros' / 'engine').rglob('*.py'))
    assert files
    found = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in files
        for name in sorted(imported(path))
        if name.split('.')[0] in ROS_PACKAGES or under(name, 'detsam2_ros.ros')
    ]
    assert not found, '\n'.join(found)


def test_engine_loads_no_ros() -> None:
    """Also not through something else that it imports."""
    program = (
        'import sys, detsam2_ros.engine, detsam2_ros.paths\n'
        f'ros = {sorted(ROS_PACKAGES)!r}\n'
        'own = [n for n in sys.modules if n.startswith("detsam2_ros.ros")]\n'
        'print(own + [n for n in sys.modules if n.split(".")[0] in ros])'
    )
    result = run('-c', program)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().splitlines()[-1] == '[]'


def test_ros_side_has_no_tensor_maths() -> None:
    found = [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in sorted((ROOT / 'detsam2_ros' / 'ros').rglob('*.py'))
        for name in sorted(imported(path))
        if under(name, 'torch.nn') or under(name, 'sam2') or under(name, 'ultralytics')
    ]
    assert not found, '\n'.join(found)
