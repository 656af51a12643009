# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What segment_video tells of its detector, and of a bank that cannot be written."""

from __future__ import annotations

import cli_cases
import fakes
import pytest
from cli_cases import SMALL, late_detector

from detsam2_ros.cli import options, segment_video
from detsam2_ros.engine import Engine, MemoryBank

folder = cli_cases.folder
LOUD = [part for part in SMALL if part != '--quiet']
LEAN = ['--no-overlay', '--no-masks', '--no-report']
SIZES = RuntimeError('bad input:\n index: 0 Got: 4 Expected: 1\n fix it')


@pytest.fixture
def run_with(folder, tmp_path, monkeypatch):
    """Return a function that runs the command with a detector; it returns the exit code."""

    def run(detector, *more: str) -> int:
        def build(_: object, config: object) -> Engine:
            return Engine(fakes.colour_sam2(128), detector, config)

        monkeypatch.setattr(options, 'build_engine', build)
        out = ['-o', str(tmp_path / 'out'), *LEAN]
        return segment_video.main([str(folder), *out, *more])

    return run


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_detector_that_failed_every_time_is_a_failure(mode, run_with, capsys, caplog) -> None:
    assert run_with(fakes.BrokenDetector(SIZES), '--mode', mode, *LOUD) == 1
    said = capsys.readouterr()
    assert 'segment_video: the detector failed every time' in said.err
    # frames 0, 10 and 20 are detection frames: three calls, whether by window or by frame
    assert 'detections       0 on 0 frames; the detector failed 3 times' in said.out
    assert 'the detector failed 3 times and found nothing: the warning above says why' in said.out
    assert 'a lower --confidence' not in said.out
    (warning,) = [text for text in caplog.messages if 'the detector failed on frames' in text]
    assert 'bad input: index: 0 Got: 4 Expected: 1 fix it' in warning and '\n' not in warning


def test_a_detector_that_failed_at_times_is_counted(run_with, capsys) -> None:
    assert run_with(fakes.BrokenDetector(SIZES, working=2), '--mode', 'online', *LOUD) == 0
    said = capsys.readouterr()
    assert 'detections       0 on 2 frames; the detector failed once' in said.out
    assert 'every time' not in said.err
    assert run_with(late_detector(), '--force', *SMALL, '--mode', 'online') == 0
    assert capsys.readouterr().err == ''


def test_the_summary_comes_before_a_bank_that_cannot_be_written(
    run_with, tmp_path, monkeypatch, capsys
) -> None:
    bank = tmp_path / 'bank.safetensors'
    bank.mkdir()
    assert run_with(late_detector(), '--bank-out', str(bank), *LOUD) == 2
    said = capsys.readouterr()
    assert 'frames           23' in said.out and 'written' in said.out
    assert str(bank) in said.err


def test_names_of_classes_reach_a_bank_without_blanks(run_with, tmp_path) -> None:
    detector = late_detector()
    detector.class_names = {0: 'red\r', 1: ' green '}
    bank = tmp_path / 'bank.safetensors'
    assert run_with(detector, '--bank-out', str(bank), *SMALL) == 0
    assert {o.class_name for o in MemoryBank.load(bank).objects().values()} == {'red', 'green'}


def test_the_image_size_reaches_the_detector(folder, tmp_path, monkeypatch) -> None:
    asked = []

    def yolo(*_: object, **given: object) -> fakes.ScriptedDetector:
        asked.append(given['image_size'])
        return late_detector()

    monkeypatch.setattr(options, 'YoloDetector', yolo)
    for more in ([], ['--image-size', '256']):
        out = ['-o', str(tmp_path / f'out{len(more)}'), *LEAN, '--max-frames', '2']
        assert segment_video.main([str(folder), *out, *more, *SMALL]) == 0
    assert asked == [None, 256]
