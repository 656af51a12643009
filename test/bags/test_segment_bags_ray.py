# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The Ray example: its actor alone, and, where Ray is installed, two of them on this machine."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import bag_recordings as made
import numpy as np
import pytest
from example_scripts import EXAMPLES, example

FILE = EXAMPLES / 'segment_bags_ray.py'
SMALL = ['-K', '3', '-D', '6', '-M', '6', '--device', 'cpu']


@pytest.fixture
def ray_example(monkeypatch: pytest.MonkeyPatch):
    module = example('segment_bags_ray')
    options = module.bag_command.command_line
    monkeypatch.setattr(options, 'build_engine', lambda _, config: made.engine(config))
    return module


def bags_of(folder: Path, count: int = 3) -> list[Path]:
    """Write bags of four frames a camera, and one that is none."""
    paths = [made.write(folder / f'bag{i}', made.two_cameras(4)) for i in range(count - 1)]
    broken = folder / 'broken.mcap'
    broken.write_bytes(b'no bag')
    return [*paths, broken]


def test_a_bag_that_fails_does_not_end_the_others(ray_example, tmp_path) -> None:
    out = tmp_path / 'out'
    out.mkdir()
    todo, there = ray_example.plan(bags_of(tmp_path), out, False)
    assert len(todo) == 3 and not there
    actor = ray_example.Segmenter(SMALL)
    batch = {name: np.array([entry[name] for entry in todo]) for name in ('bag', 'output')}
    columns = actor(batch)
    assert columns['state'] == ['done', 'done', 'failed']
    assert columns['segmented'] == columns['read'] == [8, 8, 0]
    assert 'cannot be read' in columns['why'][2]
    assert sorted(path.name for path in out.iterdir()) == ['bag0.mcap', 'bag1.mcap']
    rows = [{name: values[i] for name, values in columns.items()} for i in range(3)]
    text = ray_example.table(rows)
    assert text.splitlines()[-1] == '3 bags, 1 failed, 16 frames with masks, 1 actors'
    # The same command again leaves alone what is there.
    todo, there = ray_example.plan([tmp_path / 'bag0', tmp_path / 'broken.mcap'], out, False)
    assert [entry['bag'] for entry in todo] == [str(tmp_path / 'broken.mcap')]
    assert [row['state'] for row in there] == ['there already']
    assert len(ray_example.plan([tmp_path / 'bag0'], out, True)[0]) == 1


def test_an_unexpected_error_is_a_row_too(ray_example, tmp_path, monkeypatch) -> None:
    actor = ray_example.Segmenter(SMALL)

    def broken(*_):
        raise RuntimeError('a driver is gone')

    monkeypatch.setattr(ray_example.bags, 'segment', broken)
    row = actor.segment(str(bags_of(tmp_path)[0]), str(tmp_path / 'x.mcap'))
    assert row['state'] == 'failed' and row['why'] == 'RuntimeError: a driver is gone'


def test_bags_of_one_name_do_not_overwrite_each_other(ray_example, tmp_path) -> None:
    todo, _ = ray_example.plan([Path('/a/one/x.mcap'), Path('/a/two/x.mcap')], tmp_path, False)
    assert [Path(entry['output']).name for entry in todo] == ['x.mcap', 'two_x.mcap']


def test_options_after_the_dashes_are_those_of_segment_bag(ray_example, capsys) -> None:
    given, rest = ray_example.parse(['a', 'b', '-o', 'c', '--actors', '3', '--', '-K', '5'])
    assert (len(given.bags), given.actors, rest) == (2, 3, ['-K', '5'])
    with pytest.raises(SystemExit):
        ray_example.parse(['a', '-o', 'c', '--', '--no-such-option'])
    with pytest.raises(SystemExit):
        ray_example.parse(['a', '-o', 'c', '--actors', '0'])


def test_without_ray_one_sentence(ray_example, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert ray_example.main(['a', '-o', str(tmp_path / 'out')]) == 2
    said = capsys.readouterr().err
    assert "pip install 'ray[data]'" in said and said.count('\n') == 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec('ray') is None, reason='Ray is not installed')
def test_two_actors_on_this_machine(tmp_path) -> None:
    out = tmp_path / 'out'
    command = [sys.executable, str(FILE), *map(str, bags_of(tmp_path)), '-o', str(out)]
    done = subprocess.run(
        [*command, '--actors', '2', '--', *SMALL, '--topics', '/front/image_raw'],
        capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(p for p in sys.path if p)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == '3 bags, 1 failed, 8 frames with masks, 2 actors'
    for name in ('bag0', 'bag1'):
        assert len(made.read(out / f'{name}.mcap')['/front/image_raw/masks']) == 4
