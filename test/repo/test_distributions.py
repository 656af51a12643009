# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The distributions of ROS 2 that come as wheels: what is installed and what is sourced."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ['jazzy', 'kilted']
EACH = pytest.mark.parametrize('distribution', DISTRIBUTIONS)


def lines(name: str) -> list[str]:
    """Read what a list of packages names, without comments."""
    text = (ROOT / name).read_text(encoding='utf-8')
    return [found for line in text.splitlines() if (found := line.partition('#')[0].strip())]


def pins(name: str) -> dict[str, str]:
    """Read the versions of a list of constraints, by package."""
    pairs = [line.partition(';')[0].strip().split('==') for line in lines(name)]
    found: dict[str, str] = dict(pairs)
    assert len(found) == len(pairs), f'{name} names a package twice'
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout without its packages."""
    for path in [*ROOT.glob('constraints*.txt'), *ROOT.glob('requirements*.txt')]:
        shutil.copy(path, tmp_path)
    shutil.copytree(ROOT / 'scripts', tmp_path / 'scripts')
    return tmp_path


def bash(folder: Path, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that knows nothing of this environment."""
    return subprocess.run(
        ['bash', '-c', command], cwd=folder, capture_output=True, text=True, check=False,
        env={'PATH': os.defpath, 'HOME': str(folder), **variables},
    )


def set_up(folder: Path, suffix: str, ros: str) -> None:
    """Write what scripts/setup leaves behind for scripts/env."""
    libraries = f'.venv{suffix}/lib/python3.11/site-packages'
    for name in (f'install{suffix}', f'.venv{suffix}/bin', libraries):
        (folder / name).mkdir(parents=True)
    (folder / f'.venv{suffix}' / 'bin' / 'activate').write_text('')
    (folder / f'install{suffix}' / 'local_setup.bash').write_text('')
    (folder / f'install{suffix}' / '.detsam2_setup').write_text(
        f'venv={folder}/.venv{suffix}\nros={ros}\n')


@EACH
def test_each_package_has_one_version(distribution: str) -> None:
    own, common = pins(f'constraints-{distribution}.txt'), pins('constraints.txt')
    assert not own.keys() & common.keys()
    assert list(own) == sorted(own) and all(name.startswith('ros-') for name in own)
    wanted = [x.replace('${ROS_DISTRO}', distribution) for x in lines('requirements-ros.txt')]
    assert set(wanted) <= own.keys() | common.keys()
    prefix = f'ros-{distribution}-'
    named = {name: version for name, version in own.items() if name.startswith(prefix)}
    assert len(named) == len([name for name in wanted if name.startswith(prefix)])
    for name, version in named.items():  # it stands for the package without the name
        assert own[name.replace(prefix, 'ros-')] == version, name
    for other in set(DISTRIBUTIONS) - {distribution}:
        assert not [name for name in own if f'-{other}-' in name]


def test_what_is_installed_is_what_is_pinned() -> None:
    distribution = os.environ.get('DETSAM2_ROS_WHEELS')
    if not distribution:
        pytest.skip('ROS 2 is not from wheels here')
    assert os.environ['ROS_DISTRO'] == distribution
    for name, version in pins(f'constraints-{distribution}.txt').items():
        assert importlib.metadata.version(name) == version, name


@pytest.mark.parametrize('command', ['scripts/setup', '. scripts/env'])
def test_another_distribution_is_refused(checkout: Path, command: str) -> None:
    set_up(checkout, '', 'jazzy wheels')
    result = bash(checkout, command, DETSAM2_ROS_WHEELS='humble')
    assert result.returncode == 1 and result.stdout == ''
    (line,) = result.stderr.splitlines()
    assert all(word in line for word in ('DETSAM2_ROS_WHEELS', 'humble', 'jazzy', 'kilted'))


@pytest.mark.parametrize('made, wanted, folder', [
    ('kilted wheels', 'jazzy wheels', '.venv'),
    ('jazzy installed', 'jazzy wheels', '.venv'),
    ('jazzy wheels', 'kilted wheels', 'own'),
    ('jazzy wheels', 'jazzy wheels', '.venv'),
])
def test_an_environment_of_another_distribution_is_made_anew(
    checkout: Path, made: str, wanted: str, folder: str,
) -> None:
    """Run the function of scripts/setup that makes the environment, with pip and venv left out."""
    script = (ROOT / 'scripts' / 'setup').read_text(encoding='utf-8')
    functions = [re.search(rf'^{name}\(\) .*?}}$', script, re.MULTILINE | re.DOTALL)
                 for name in ('stamped', 'say')]
    make = re.search(r'^make_environment\(\) \{\n.*?\n\}$', script, re.MULTILINE | re.DOTALL)
    assert make and all(functions)
    venv = checkout / folder
    (venv / 'bin').mkdir(parents=True)
    (venv / '.detsam2_setup').write_text(f'venv={venv}\nros={made}\n')
    python = venv / 'bin' / 'python'
    python.write_text('#!/bin/sh\necho 3.11\n')
    python.chmod(0o755)
    distribution, kind = wanted.split()
    result = bash(checkout, '\n'.join([
        'set -euo pipefail',
        f'venv={venv} venv_stamp={venv}/.detsam2_setup version=3.11.7 python=echo ros_setup=',
        f'distro={distribution} kind={kind} wanted=new pins=() root={checkout}',
        *(found[0] for found in functions if found),
        'install() { :; }; relocate() { :; }; has() { :; }',
        make[0],
        'make_environment',
    ]))
    assert result.returncode == 0, result.stderr
    anew = f'making {venv} anew: it was made for ROS 2 {made}, now it is to be {wanted}'
    cleared = f'-m venv --clear {venv}'
    assert (anew in result.stdout) == (cleared in result.stdout) == (made != wanted)
    assert (venv / '.detsam2_setup').read_text() == 'new\n'


@EACH
def test_env_takes_the_distribution_that_was_asked_for(checkout: Path, distribution: str) -> None:
    set_up(checkout, '', 'jazzy wheels')
    set_up(checkout, '-kilted', 'kilted wheels')
    show = 'echo "$ROS_DISTRO $DETSAM2_ROS_WHEELS $AMENT_PREFIX_PATH ${PYTHONPATH-none}"'
    result = bash(
        checkout, f'. scripts/env && . scripts/env && {show}', DETSAM2_ROS_WHEELS=distribution,
        ROS_DISTRO='rolling', AMENT_PREFIX_PATH='/opt/of/another', PYTHONPATH='/opt/of/another',
    )
    venv = checkout / ('.venv-kilted' if distribution == 'kilted' else '.venv')
    assert result.stdout == f'{distribution} {distribution} {venv} none\n', result.stderr


def test_env_refuses_what_was_set_up_for_another_distribution(checkout: Path) -> None:
    set_up(checkout, '', 'kilted installed')
    result = bash(checkout, '. scripts/env', DETSAM2_ROS_WHEELS='jazzy')
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1 and 'kilted' in line and 'scripts/setup' in line


def test_a_deprecated_call_of_ours_fails_its_test() -> None:
    with pytest.raises(DeprecationWarning):
        warnings.warn_explicit('old', DeprecationWarning, 'x.py', 1, 'detsam2_ros.engine.engine')
    with pytest.warns(DeprecationWarning):
        warnings.warn_explicit('old', DeprecationWarning, 'x.py', 1, 'a_library.of_others')
