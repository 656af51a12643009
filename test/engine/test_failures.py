# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A detector, model, bank or disk that fails: one clear error, and no frame is lost."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from fakes import BrokenDetector, ColourDetector, Run, ScriptedDetector, colour_sam2, detections
from fault_engine import fail
from stream_cases import GOOD, RED, USUAL, nothing_was_lost

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.tracking import intake
from detsam2_ros.engine.tracking.window_pass import WindowPass
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.errors import BankError, DetectorError, EngineError, WindowError

# ---- detectors
BROKEN = [
    (RuntimeError('CUDA out of memory'), 'RuntimeError: CUDA out of memory'),
    (ValueError(), 'ValueError'),
    (None, 'detect must return a list of Detections, got NoneType'),
    ('boxes', 'got str'),
    ([], 'detect returned 0 Detections for 1 images'),
    ([Detections.empty()] * 2, 'detect returned 2 Detections for 1 images'),
    ([np.zeros((1, 4))], 'must return a list of Detections'),
    ([[(0, RED)]], 'must return a list of Detections'),
    (Detections.empty(), 'must return a list of Detections, got Detections'),
    (iter([Detections.empty()]), 'must return a list of Detections'),
]


@pytest.mark.parametrize(('answer', 'message'), BROKEN)
def test_a_broken_detector_is_reported_and_its_window_tracked_all_the_same(answer, message):
    detector = BrokenDetector(answer, working=1)
    run = Run(detector, **USUAL)
    run.push(*[GOOD] * 7)
    with pytest.raises(DetectorError) as caught:
        run.push(GOOD)
    text = str(caught.value)
    assert text.startswith("stream 'front': the detector failed on frames 4 (")
    assert message in text and 'they were tracked without it' in text
    assert [(r.index, r.revision) for r in caught.value.results] == [(i, 0) for i in range(4, 8)]
    run.results += caught.value.results
    detector.answer = [detections([(0, RED)])]  # repaired
    run.push(*[GOOD] * 4)
    nothing_was_lost(run, 12)
    assert run.ids(11) == [1]
    stats = run.engine.stats()
    assert (stats.detector_failures, stats.detections) == (1, 1)


def test_objects_are_tracked_through_a_failure_of_the_detector():
    class Sometimes(ScriptedDetector):
        def detect(self, images):
            found = super().detect(images)
            if self.frames[-1] == 4:
                raise OSError('the GPU fell off the bus')
            return found

    run = Run(Sometimes(lambda frame: [(0, RED)], 4), **USUAL)
    run.push(*[GOOD] * 7)
    with pytest.raises(DetectorError, match='fell off the bus') as caught:
        run.push(GOOD)
    run.results += caught.value.results
    run.push(*[GOOD] * 4)
    nothing_was_lost(run, 12)
    assert all(run.ids(i) == [1] for i in range(12))


def test_a_failing_detector_is_asked_once_for_each_frame():
    detector = BrokenDetector(RuntimeError('no'))
    run = Run(detector, **USUAL)
    for _ in range(3):
        with pytest.raises(DetectorError) as caught:
            run.push(*[GOOD] * 4)
        run.results += caught.value.results
    nothing_was_lost(run, 12)
    assert detector.calls == 3
    assert run.engine.stats().detector_failures == 3


def test_flush_reports_a_broken_detector_too():
    run = Run(BrokenDetector(RuntimeError('no')), **USUAL)
    run.push(*[GOOD] * 2)
    with pytest.raises(DetectorError) as caught:
        run.flush()
    assert [r.index for r in caught.value.results] == [0, 1]
    assert run.flush() == []


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(('mode', 'taken'), [('window', 4), ('online', 0)])
def test_a_detector_does_not_keep_a_program_from_ending(error, mode, taken):
    run = Run(BrokenDetector(error()), mode=mode, **USUAL)
    run.push(*[GOOD] * max(taken - 1, 0))  # it is asked with the window's last frame, or at once
    with pytest.raises(error):
        run.push(GOOD)
    assert (run.stream.backlog.frames, run.engine.stats().frames) == (taken, taken)


# ---- a model that fails
def test_a_window_that_failed_is_closed_later_without_losing_a_frame(monkeypatch):
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * 4)
    monkeypatch.setattr(WindowPass, 'finish', fail)
    for i in range(6):
        if i < 3:
            run.push(GOOD)
        else:
            with pytest.raises(MemoryError, match='full'):
                run.stream.push(GOOD, 0)
    assert run.stream.backlog.frames == 6
    monkeypatch.undo()
    run.flush()
    nothing_was_lost(run, 10)
    assert all(run.ids(i) == [1] for i in range(10))


def test_results_of_a_window_are_not_lost_when_the_next_one_fails(monkeypatch):
    run = Run(ColourDetector(['red']), **USUAL)
    original = WindowPass.finish
    failing = [True] * 3 + [False, True]  # frames 3, 4 and 5 are pushed in vain; then by window

    def finish(self, *args) -> None:
        (fail if failing.pop(0) else original)(self, *args)

    monkeypatch.setattr(WindowPass, 'finish', finish)
    for i in range(6):
        if i < 3:
            run.push(GOOD)
        else:
            with pytest.raises(MemoryError):
                run.stream.push(GOOD, 0)
    with pytest.raises(WindowError, match="'front': a later window failed: full") as caught:
        run.flush()
    assert [r.index for r in caught.value.results] == [0, 1, 2, 3]
    run.results += caught.value.results
    assert run.stream.backlog.frames == 2
    monkeypatch.undo()
    run.flush()
    nothing_was_lost(run, 6)


def test_frames_do_not_pile_up_when_every_window_fails(monkeypatch):
    run = Run(None, **USUAL)
    monkeypatch.setattr(WindowPass, 'finish', fail)
    with pytest.raises(EngineError, match='frames wait because their window failed each time'):
        for _ in range(100):
            try:
                run.stream.push(GOOD, 0)
            except MemoryError:
                continue
    assert run.stream.backlog.frames == 4 + 8
    monkeypatch.undo()
    run.flush()
    nothing_was_lost(run, 12)


def test_an_image_that_could_not_be_encoded_was_not_taken(monkeypatch):
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * 2)
    monkeypatch.setattr(intake, 'encode_image', fail)
    with pytest.raises(MemoryError):
        run.stream.push(GOOD, 0)
    monkeypatch.undo()
    assert run.stream.backlog.frames == 2
    run.push(*[GOOD] * 2)
    nothing_was_lost(run, 4)


# ---- memory banks
@pytest.fixture
def bank() -> MemoryBank:
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * 4)
    return run.stream.export_bank(1)


@pytest.mark.usefixtures('both_modes')
@pytest.mark.parametrize(
    'harm', ['cut', 'foreign', 'empty', 'missing', 'other model', 'too large'])
def test_a_bank_that_cannot_be_used_leaves_the_old_one_at_work(bank, harm, tmp_path: Path):
    path = tmp_path / 'bank.safetensors'
    bank.save(path)
    run = Run(None, model=colour_sam2(seed=5) if harm == 'other model' else None, **USUAL)
    own = Run(ColourDetector(['red']), run.engine.model, **USUAL)
    own.push(*[GOOD] * 4)
    old = own.stream.export_bank(1)
    run.stream.load_bank(old)
    run.push(*[GOOD] * 2)
    data = path.read_bytes()
    content = {'cut': data[:-9], 'foreign': b'PK\3\4' + data, 'empty': b''}
    if harm in content:
        path.write_bytes(content[harm])
    elif harm == 'missing':
        path.unlink()
    message = {
        'cut': 'cut short',
        'foreign': 'not a safetensors file',
        'empty': 'cut short',
        'missing': 'No such file',
        'other model': 'was made with colour-0 .* the loaded model is colour-5',
        'too large': r'the limit \(max_bank_bytes\) is 100 bytes',
    }[harm]
    with pytest.raises(BankError, match=message):
        run.stream.load_bank(
            MemoryBank.load(path, 100) if harm == 'too large' else MemoryBank.load(path))
    assert run.stream.bank is old
    run.push(*[GOOD] * 2)
    nothing_was_lost(run, 4)
    assert all(run.ids(i) == [1] for i in range(4))


@pytest.mark.usefixtures('both_modes')
def test_a_full_disk_when_saving_does_not_disturb_the_stream(tmp_path, monkeypatch):
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * 6)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(BankError, match='cannot save memory bank .* No space left on device'):
        run.stream.export_bank(5).save(tmp_path / 'bank')
    assert list(tmp_path.iterdir()) == []
    run.push(*[GOOD] * 2)
    nothing_was_lost(run, 8)
