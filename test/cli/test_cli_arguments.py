# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The arguments of segment_video: what cannot be used is refused in one line that names it."""

from pathlib import Path

import cli_cases
import cv2
import numpy as np
import pytest
from cli_cases import SMALL, frames_of

from detsam2_ros.cli import options, segment_video
from detsam2_ros.engine import ConfigError, EngineConfig

folder, engine = cli_cases.folder, cli_cases.engine


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """Run the command, expect exit code 2 and one line that says why; returns the line."""
    assert segment_video.main([*arguments, *SMALL]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith('segment_video: ')]
    assert len(lines) == 1 and 'Traceback' not in err, err
    assert not out
    return lines[0]


def test_an_output_with_something_in_it_needs_force(engine, folder, tmp_path, capsys) -> None:
    out = tmp_path / 'out'
    (out / 'masks').mkdir(parents=True)
    (out / 'masks' / '999999.png').write_text('old')
    (out / 'mine.txt').write_text('keep me')
    message = refused(capsys, str(folder), '-o', str(out))
    assert str(out) in message and '--force' in message
    assert not engine  # found out before a model was loaded
    # A mistake later on does not cost the earlier results either.
    message = refused(capsys, str(folder), '-o', str(out), '--force', '--bank-in', 'no.such')
    assert 'no.such' in message and (out / 'masks' / '999999.png').exists()
    run = [str(folder), '-o', str(out), '--force', '--max-frames', '3', *SMALL]
    assert segment_video.main(run) == 0
    assert (out / 'mine.txt').read_text() == 'keep me'
    assert len(list((out / 'masks').iterdir())) == 3


def test_bad_inputs_are_named(engine, folder, tmp_path, capsys) -> None:
    out = str(tmp_path / 'out')
    missing, empty, text = (tmp_path / name for name in ('no.mp4', 'empty.mp4', 'text.mp4'))
    empty.touch()
    text.write_text('this is not a video\n' * 100)
    bare = tmp_path / 'bare'
    bare.mkdir()
    for path, part in (
        (missing, 'does not exist'),
        (empty, 'is empty'),
        (text, 'is no video that OpenCV can read'),
        (bare, 'holds no images'),
    ):
        message = refused(capsys, str(path), '-o', out)
        assert str(path) in message and part in message
    file = tmp_path / 'file'
    file.touch()
    assert 'is a file' in refused(capsys, str(folder), '-o', str(file))
    assert 'cannot make' in refused(capsys, str(folder), '-o', str(file / 'below'))
    assert not engine and not Path(out).exists()


def test_bad_parameters_are_named(engine, folder, tmp_path, capsys) -> None:
    start = (str(folder), '-o', str(tmp_path / 'out'))
    for more, part in (
        (('--match-iou', '2'), 'match_iou'),
        (('--max-objects', '0'), 'max_objects'),
        (('--max-frames', '0'), '--max-frames'),
        (('--fps', '-3'), '--fps'),
        (('--bank-entries', '0'), '--bank-entries'),
        (('--no-detector',), '--bank-in'),
        (('--bank-in', str(tmp_path / 'no.safetensors')), 'no.safetensors'),
        (('--bank-out', str(tmp_path / 'no' / 'b.safetensors')), 'no such folder'),
    ):
        assert part in refused(capsys, *start, *more)
    with pytest.raises(SystemExit) as error:
        segment_video.main([*start, '--window-size', 'ten'])
    assert error.value.code == 2
    assert not engine


def test_models_that_are_not_there_are_named(folder, tmp_path, capsys) -> None:
    message = refused(capsys, str(folder), '-o', str(tmp_path / 'out'), '--sam2', 'no/such.pt')
    assert 'no/such.pt' in message


def test_a_broken_image_ends_the_run_with_what_is_there(engine, folder, tmp_path, capsys) -> None:
    (folder / '12.png').write_text('broken')
    out = tmp_path / 'out'
    assert '12.png cannot be read' in refused(capsys, str(folder), '-o', str(out))
    assert len(frames_of(out / 'overlay.mp4')) == len(list((out / 'masks').iterdir())) == 12
    assert (out / 'report.html').is_file()


def test_an_input_among_the_results_is_not_overwritten(engine, folder, tmp_path, capsys) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(folder), '-o', str(out), '--max-frames', '3', *SMALL]) == 0
    for name in ('overlay.mp4', 'masks'):
        message = refused(capsys, str(out / name), '-o', str(out), '--force')
        assert str(out / name) in message and 'would be overwritten' in message
        assert (out / name).exists()


def test_an_image_of_another_size_is_named(engine, folder, tmp_path, capsys) -> None:
    cv2.imwrite(str(folder / '6.png'), np.zeros((50, 60, 3), np.uint8))
    message = refused(capsys, str(folder), '-o', str(tmp_path / 'out'))
    assert '6.png is 60x50 pixels but the first frame is 160x120' in message


def test_every_parameter_of_the_engine_has_an_option() -> None:
    given = options.parser().parse_args(
        ['in.mp4', '-o', 'out', '-K', '4', '--max-propagation', '9', '--association', 'class'])
    assert options.engine_config(given) == EngineConfig(
        window_size=4, max_propagation=9, association='class')
    with pytest.raises(ConfigError, match='association'):
        given.association = 'nonsense'
        options.engine_config(given)
    text = options.parser().format_help()
    for name in EngineConfig.__dataclass_fields__:
        assert '--' + name.replace('_', '-') in text
