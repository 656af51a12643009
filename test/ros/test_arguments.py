# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The command line of a node: help, what has no effect, and parameter files for somebody else."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
from detsam2_ros.ros.arguments import exit_status, unused_parameter_files


@pytest.mark.parametrize('given, said', [
    (['window_size:=5'], 'window_size:=5 has no effect; write --ros-args -p window_size:=5'),
    (['mode:=window'], 'write --ros-args -p mode:=window'),
    (['~/image:=/cam'], 'write --ros-args -r ~/image:=/cam'),
    (['--params-file', 'a.yaml', '--ros-args', '-p', 'a:=1'], 'write --ros-args --params-file a'),
    (['--foo', '--ros-args', '-p', 'a:=1'], 'the argument --foo is unknown'),
    (['--ros-args', '-p', 'a:=1', '--', 'b:=1'], 'write --ros-args -p b:=1'),
])
def test_what_has_no_effect_is_refused(given, said, capsys) -> None:
    assert exit_status('program', '', given) == 2
    out, err = capsys.readouterr()
    assert said in err and err.startswith('program: ') and err.count('\n') == 1 and not out


def test_what_ros_reads_goes_on(capsys) -> None:
    assert exit_status('program', '', ['--ros-args', '-p', 'a:=1', '-r', 'b:=c']) is None
    with pytest.raises(RuntimeError, match='does not know .*--foo'):
        exit_status('program', '', ['--ros-args', '--foo'])
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('program', ['detsam2_ros.ros.node', 'detsam2_ros.demo.camera'])
def test_the_programs_ask(program: str) -> None:
    command = [sys.executable, '-m', program]
    refused = subprocess.run([*command, 'rate:=5'], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and '--ros-args -p rate:=5' in refused.stderr
    helped = subprocess.run([*command, '--help'], capture_output=True, text=True, check=True)
    assert '--ros-args -p ' in helped.stdout and not helped.stderr


@pytest.mark.parametrize('text, held', [
    ('', 'none for any'),
    ('mode: window', 'none for any'),
    ('other: {ros__parameters: {mode: window}}', 'only some for /other'),
    ('detsam2: {ros__parameters: {mode: window}}', 'only some for /detsam2'),
    ('/*/other: {ros__parameters: {mode: window}}', 'only some for /*/other'),
    ('/**: {ros__parameters: {mode: window}}', None),
    ('/**: {ros__parameters: {}}', None),  # of ros2 launch, where nothing is set
    ('/**/detsam2: {ros__parameters: {mode: window}}', None),
    ('/*/detsam2: {ros__parameters: {mode: window}}', None),
    ('robot: {detsam2: {ros__parameters: {mode: window}}}', None),
    ('/robot/detsam2: {ros__parameters: {mode: window}}', None),
])
def test_a_file_for_somebody_else_is_named(text: str, held: str | None, tmp_path: Path) -> None:
    path = tmp_path / 'p.yaml'
    path.write_text(text)
    found = unused_parameter_files(['--ros-args', '--params-file', str(path)], '/robot/detsam2')
    expected = f'the parameter file {path} holds no parameters for /robot/detsam2, {held}'
    assert found == ([] if held is None else [expected])
