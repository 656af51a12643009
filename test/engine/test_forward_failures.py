# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online when a detector, a forward step or a pass fails: no frame and no mask is lost."""

import numpy as np
import pytest
from fakes import BrokenDetector, ColourDetector, Run, ScriptedDetector, detections
from fault_engine import fail
from stream_cases import GOOD, RED, USUAL, fail_once, film, nothing_was_lost, same_results

from detsam2_ros.engine.sam2 import steps
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking import conditioning, forward_step
from detsam2_ros.engine.tracking.pass_runner import Pace
from detsam2_ros.engine.tracking.window_pass import WindowPass
from detsam2_ros.results.errors import DetectorError, EngineError, WindowError

ONLINE = {**USUAL, 'mode': 'online'}


# ---- detectors
def test_a_broken_detector_is_reported_with_the_masks_of_its_frame():
    detector = BrokenDetector(RuntimeError('CUDA out of memory'), working=1)
    run = Run(detector, **ONLINE)
    run.push(*[GOOD] * 4)
    with pytest.raises(DetectorError, match='the detector failed on frames 4 .*out of') as caught:
        run.push(GOOD)
    assert [(r.index, r.revision) for r in caught.value.results] == [(4, 0)]
    run.results += caught.value.results
    run.push(*[GOOD] * 3)  # it is not asked again for frame 4
    detector.answer = [detections([(0, RED)])]  # repaired
    run.push(*[GOOD] * 4)
    nothing_was_lost(run, 12)
    assert all(run.ids(i) == [1] for i in range(4, 12))
    stats = run.engine.stats()
    assert (stats.detector_failures, stats.detections, detector.calls) == (1, 1, 3)


def test_a_window_closes_though_the_detector_fails_on_its_last_frame():
    class Sometimes(ScriptedDetector):
        def detect(self, images):
            found = super().detect(images)
            if self.frames[-1] == 3:
                raise OSError('no')
            return found

    script = Sometimes({2: [(0, RED)]}, 1)
    run = Run(script, **{**ONLINE, 'detect_interval': 1})
    run.push(*[GOOD] * 3)
    with pytest.raises(DetectorError, match='failed on frames 3') as caught:
        run.push(GOOD)
    assert [(r.index, r.revision) for r in caught.value.results] == [(0, 1), (1, 1), (3, 0)]
    run.results += caught.value.results
    nothing_was_lost(run, 4)


def test_objects_are_tracked_through_a_failure_of_the_detector():
    run = Run(BrokenDetector([detections([(0, RED)])]), **ONLINE)
    run.push(*[GOOD] * 4)
    run.engine.detector.answer = RuntimeError('no')
    with pytest.raises(DetectorError) as caught:
        run.push(GOOD)
    run.results += caught.value.results
    run.push(*[GOOD] * 3)
    assert all(run.ids(i) == [1] for i in range(8))


# ---- forward steps
@pytest.mark.parametrize(
    ('module', 'stage'),
    [(forward_step, 'track_objects'), (steps, 'encode_memory'), (conditioning, 'decode_boxes')],
)
@pytest.mark.parametrize('at', [4, 6])
def test_a_frame_that_cannot_be_tracked_is_not_taken_and_may_come_again(
    module, stage, at, monkeypatch
):
    expected = Run(ColourDetector(['red', 'green']), **{**ONLINE, 'detect_interval': 1})
    run = Run(ColourDetector(['red', 'green']), **{**ONLINE, 'detect_interval': 1})
    # Red is hidden on frame 6, where green comes: tracked, conditioned and remembered.
    images = film(6) + film(10, ('green', 50, 10))[6:]
    images[6][:, :, 0] = 0
    expected.push(*images)
    run.push(*images[:at])
    with monkeypatch.context() as patch:
        patch.setattr(module, stage, fail)
        failed = False
        try:
            run.push(images[at])
        except MemoryError:
            failed = True
    assert failed == (stage != 'encode_memory' or at == 6)
    if failed:
        assert run.stream.backlog.frames == at % 4 and run.engine.stats().frames == at
        run.push(images[at])
    run.push(*images[at + 1 :])
    same_results(run.results, expected.results)
    assert run.engine.stats().encodings == len(images) + failed


def test_a_first_frame_that_fails_does_not_fix_the_size(monkeypatch):
    run = Run(ColourDetector(['red']), **ONLINE)
    with monkeypatch.context() as patch:
        patch.setattr(conditioning, 'decode_boxes', fail)
        with pytest.raises(MemoryError):
            run.stream.push(GOOD, 0)
    run.push(*[np.zeros((32, 32, 3), np.uint8)] * 4)
    assert run.latest()[3].labels.shape == (32, 32)


# ---- passes
def test_the_masks_of_a_new_frame_come_though_its_window_fails(monkeypatch):
    run = Run(ScriptedDetector({2: [(0, RED)]}, 2), **{**ONLINE, 'detect_interval': 2})
    run.push(*[GOOD] * 3)
    monkeypatch.setattr(WindowPass, 'finish', fail)
    with pytest.raises(WindowError, match="'front': a later window failed: full") as caught:
        run.push(GOOD)
    assert [(r.index, r.revision) for r in caught.value.results] == [(3, 0)]
    assert run.stream.backlog.frames == 4
    run.results += caught.value.results
    monkeypatch.undo()
    results = run.push(GOOD)
    assert [(r.index, r.revision) for r in results] == [(0, 1), (1, 1), (4, 0)]
    run.flush()
    nothing_was_lost(run, 5)


@pytest.mark.parametrize('after', [0, 2])
def test_a_pass_that_fails_amid_its_parts_begins_anew(after, monkeypatch):
    runs = [Run(ScriptedDetector({4: [(0, RED)]}, 4), **ONLINE) for _ in range(2)]
    for run in runs:
        run.push(*film(7))
        run.take(film(8)[7], 0)
    monkeypatch.setattr(steps, 'track', fail_once(steps.track, after))
    with pytest.raises(MemoryError):
        runs[1].work()
    assert runs[1].stream.backlog.frames == 4
    for run in runs:
        run.work()
    same_results(*(run.results for run in runs))


@pytest.mark.parametrize('mode', ['window', 'online'])
@pytest.mark.parametrize('call', [(Pace, 'keep'), (StatsRecorder, 'settle')])
def test_no_result_is_lost_when_the_device_reports_a_failed_kernel_late(call, mode, monkeypatch):
    where, name = call
    expected, run = [Run(ColourDetector(['red']), **{**USUAL, 'mode': mode}) for _ in range(2)]
    asked, failures = [0], [0]
    original = getattr(where, name)

    def fails_sometimes(self):
        asked[0] += 1
        if asked[0] in (2, 3, 9):
            raise RuntimeError('CUDA error: an illegal memory access was encountered')
        original(self)

    def insist(call):
        while True:
            try:
                run.results += call()
                return
            except RuntimeError:
                failures[0] += 1

    expected.push(*film(12))
    monkeypatch.setattr(where, name, fails_sometimes)
    for i, image in enumerate(film(12)):
        insist(lambda i=i, image=image: run.stream.add(image, 1000 * i))
        while run.stream.backlog.due:
            insist(run.stream.step)
    assert failures[0] > 1
    same_results(run.results, expected.results)


def test_frames_do_not_pile_up_when_nobody_closes_windows():
    run = Run(ColourDetector(['red']), **ONLINE)
    with pytest.raises(EngineError, match='12 frames wait because .* or was not closed'):
        for i in range(100):
            run.results += run.stream.add(GOOD, i)
    assert run.stream.backlog.frames == 4 + 8
    run.flush()
    nothing_was_lost(run, 12)
    run.push(GOOD)
    assert run.ids(12) == [1]
