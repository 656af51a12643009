# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bad input gives one clear error; the stream goes on and no frame is lost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from fakes import (
    BrokenDetector,
    ColourDetector,
    Run,
    ScriptedDetector,
    colour_mask,
    colour_sam2,
    detections,
    disc_box,
    iou,
    mask,
    scene,
)

from detsam2_ros.engine import stream as stream_module
from detsam2_ros.engine.bank import MemoryBank
from detsam2_ros.engine.detection import Detections
from detsam2_ros.engine.errors import (
    BankError,
    DetectorError,
    EngineError,
    ImageError,
    WindowError,
)

SIZE = (48, 64)
USUAL = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 8}
GOOD = scene(('red', 14, 24), size=SIZE)
RED = disc_box(14, 24)


def nothing_was_lost(run: Run, frames: int) -> None:
    """Check that every pushed frame was published once, and that the counts add up."""
    assert sorted(run.first()) == list(range(frames))
    stats = run.engine.stats()
    assert stats.frames == stats.encodings == stats.published_frames == frames
    assert stats.dropped_frames == 0
    assert run.stream.pending == 0


# ---- images


BAD_IMAGES = [
    (None, 'must be a numpy array uint8 [H, W, 3] RGB, got NoneType'),
    ([[[0, 0, 0]]], 'got list'),
    ('image.png', 'got str'),
    (GOOD.astype(np.float32), 'must be uint8 [H, W, 3] RGB, got float32 [48, 64, 3]'),
    (GOOD.astype(np.int16), 'got int16'),
    (GOOD.astype(bool), 'got bool'),
    (GOOD[:, :, 0], 'got uint8 [48, 64]'),
    (GOOD[:, :, :2], 'got uint8 [48, 64, 2]'),
    (np.zeros((48, 64, 4), np.uint8), 'got uint8 [48, 64, 4]'),
    (GOOD.transpose(2, 0, 1), 'got uint8 [3, 48, 64]'),
    (GOOD[None], 'got uint8 [1, 48, 64, 3]'),
    (GOOD[:0], 'the image is empty (64x0)'),
    (GOOD[:, :0], 'the image is empty (0x48)'),
    (GOOD[:40], "the image is 64x40 but the stream's frames are 64x48"),
    (GOOD[:, :60], 'the image is 60x48'),
]


@pytest.mark.parametrize(('image', 'message'), BAD_IMAGES)
@pytest.mark.parametrize('before', [1, 3, 4])
def test_a_bad_image_is_refused_and_the_stream_is_as_before(image, message, before):
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * before)
    with pytest.raises(ImageError) as caught:
        run.stream.push(image, 0)
    assert str(caught.value).startswith("stream 'front': ") and message in str(caught.value)
    run.push(*[GOOD] * (8 - before))
    nothing_was_lost(run, 8)
    assert all(run.ids(i) == [1] for i in range(8))


@pytest.mark.parametrize('image', [GOOD[:0], GOOD[0], GOOD.astype(float)])
def test_a_bad_first_image_does_not_fix_the_size(image):
    run = Run(None, **USUAL)
    with pytest.raises(ImageError):
        run.stream.push(image, 0)
    run.push(*[np.zeros((32, 32, 3), np.uint8)] * 4)
    nothing_was_lost(run, 4)


@pytest.mark.parametrize('stamp', [1.5, None, '1', True, float('nan')])
def test_a_stamp_that_is_no_whole_number_is_refused(stamp):
    run = Run(None, **USUAL)
    with pytest.raises(ImageError, match='a stamp must be int nanoseconds, got'):
        run.stream.push(GOOD, stamp)
    run.push(*[GOOD] * 4)
    nothing_was_lost(run, 4)


def test_stamps_are_kept_as_they_are():
    run = Run(None, **USUAL)
    stamps = [np.int64(7), -5, 2**62, 0]
    results = [r for stamp in stamps for r in run.stream.push(GOOD, stamp)]
    assert [r.stamp for r in results] == [7, -5, 2**62, 0]
    assert all(type(r.stamp) is int for r in results)


def test_images_of_any_memory_layout_are_taken():
    rgb = scene(('red', 14, 24), size=SIZE)
    wide = np.zeros((48, 128, 3), np.uint8)
    wide[:, ::2] = rgb
    frozen = rgb.copy()
    frozen.flags.writeable = False
    layouts = [np.asfortranarray(rgb), wide[:, ::2], rgb[::-1][::-1], frozen]
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*layouts)
    assert [run.ids(i) for i in range(4)] == [[1]] * 4
    assert all((r.labels == run.results[0].labels).all() for r in run.results)


def test_a_camera_may_reuse_its_buffer():
    """What was pushed is what is segmented, whatever becomes of the array afterwards."""
    run = Run(ColourDetector(['red']), **USUAL, encode_batch=4)
    buffer = np.empty_like(GOOD)
    for i in range(4):
        buffer[:] = scene(('red', 14 + 8 * i, 24), size=SIZE)
        run.push(buffer)
    for i in range(4):
        expected = colour_mask(scene(('red', 14 + 8 * i, 24), size=SIZE), 'red')
        assert iou(mask(run.latest()[i], 1), expected) > 0.5


@pytest.mark.parametrize('size', [(1, 1), (1, 500), (500, 1), (7, 3)])
def test_tiny_images_are_segmented_all_the_same(size):
    run = Run(ScriptedDetector(lambda frame: [(0, (0.0, 0.0, *size[::-1]))], 4), **USUAL)
    run.push(*[np.full((*size, 3), 200, np.uint8)] * 8)
    nothing_was_lost(run, 8)
    assert all(r.masks.shape[1:] == size for r in run.results)


# ---- detections


def all_found(boxes: list) -> Run:
    run = Run(ScriptedDetector({0: [(0, RED)], 4: boxes, 8: [(0, RED)]}, 4), **USUAL)
    run.push(*[GOOD] * 12)
    nothing_was_lost(run, 12)
    return run


@pytest.mark.parametrize(
    'box',
    [
        (np.nan, 0, 9, 9),
        (np.nan,) * 4,
        (0, 0, np.inf, 9),
        (-np.inf, -np.inf, np.inf, np.inf),
        (500, 500, 600, 600),
        (-90, -90, -10, -10),
        (20, 20, 20, 20),
        (30, 30, 10, 10),
        (5, 5, 5.5, 40),
    ],
)
def test_boxes_that_cannot_be_a_prompt_are_dropped_and_counted(box):
    run = all_found([(0, box), (0, RED)])
    assert all(run.ids(i) == [1] for i in range(12))
    stats = run.engine.stats()
    assert (stats.detections, stats.rejected_detections, stats.objects) == (4, 1, 1)
    assert stats.conditioned_frames == 3


def test_a_score_that_is_no_number_is_dropped_and_counted():
    run = all_found([(0, RED, float('nan'))])
    assert run.engine.stats().rejected_detections == 1
    assert run.stream.conditioned_frames(1) == (0, 8)


def test_boxes_are_clipped_to_the_image():
    run = Run(ScriptedDetector({0: [(0, (-1e4, -1e4, 1e4, 1e4))]}, 4), **USUAL)
    run.push(*[scene(('red', 32, 24, 20), size=SIZE)] * 4)
    assert run.ids(0) == [1]


@pytest.mark.parametrize('count', [0, 60])
def test_any_number_of_detections(count):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, (count, 2))
    boxes = [(int(i), (x, y, x + 15, y + 15)) for i, (x, y) in enumerate(corners)]
    run = Run(ScriptedDetector(lambda frame: boxes, 4), **USUAL, max_objects=10)
    run.push(*[scene(('white', 32, 24, 40), size=SIZE)] * 12)
    nothing_was_lost(run, 12)
    stats = run.engine.stats()
    assert stats.detections == 3 * count
    assert stats.objects == min(count, 10)
    assert all(len(run.ids(i, visible=False)) == min(count, 10) for i in range(4, 12))


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
def test_a_detector_does_not_keep_a_program_from_ending(error):
    run = Run(BrokenDetector(error()), **USUAL)
    run.push(*[GOOD] * 3)
    with pytest.raises(error):
        run.push(GOOD)
    assert run.stream.pending == 4


# ---- a model that fails


def test_a_window_that_failed_is_closed_later_without_losing_a_frame(monkeypatch):
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * 4)
    monkeypatch.setattr(
        stream_module.WindowRun, 'run', lambda self: (_ for _ in ()).throw(MemoryError('full'))
    )
    for i in range(6):
        if i < 3:
            run.push(GOOD)
        else:
            with pytest.raises(MemoryError, match='full'):
                run.stream.push(GOOD, 0)
    assert run.stream.pending == 6
    monkeypatch.undo()
    run.flush()
    nothing_was_lost(run, 10)
    assert all(run.ids(i) == [1] for i in range(10))


def test_results_of_a_window_are_not_lost_when_the_next_one_fails(monkeypatch):
    run = Run(ColourDetector(['red']), **USUAL)
    original = stream_module.WindowRun.run
    failing = [True] * 3 + [False, True]  # frames 3, 4 and 5 are pushed in vain; then by window

    def fail(self) -> None:
        if failing.pop(0):
            raise MemoryError('full')
        original(self)

    monkeypatch.setattr(stream_module.WindowRun, 'run', fail)
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
    assert run.stream.pending == 2
    monkeypatch.undo()
    run.flush()
    nothing_was_lost(run, 6)


def test_frames_do_not_pile_up_when_every_window_fails(monkeypatch):
    run = Run(None, **USUAL)
    monkeypatch.setattr(
        stream_module.WindowRun, 'run', lambda self: (_ for _ in ()).throw(MemoryError('full'))
    )
    with pytest.raises(EngineError, match='frames wait because their window failed each time'):
        for _ in range(100):
            try:
                run.stream.push(GOOD, 0)
            except MemoryError:
                continue
    assert run.stream.pending == 4 + 8
    monkeypatch.undo()
    run.flush()
    nothing_was_lost(run, 12)


def test_an_image_that_could_not_be_encoded_was_not_taken(monkeypatch):
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * 2)
    monkeypatch.setattr(
        stream_module, 'encode_image', lambda *_: (_ for _ in ()).throw(MemoryError('full'))
    )
    with pytest.raises(MemoryError):
        run.stream.push(GOOD, 0)
    monkeypatch.undo()
    assert run.stream.pending == 2
    run.push(*[GOOD] * 2)
    nothing_was_lost(run, 4)


# ---- memory banks


@pytest.fixture
def bank() -> MemoryBank:
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * 4)
    return run.stream.export_bank(1)


@pytest.mark.parametrize(
    'harm', ['cut', 'foreign', 'empty', 'missing', 'other model', 'too large']
)
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
            MemoryBank.load(path, 100) if harm == 'too large' else MemoryBank.load(path)
        )
    assert run.stream.bank is old
    run.push(*[GOOD] * 2)
    nothing_was_lost(run, 4)
    assert all(run.ids(i) == [1] for i in range(4))


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
