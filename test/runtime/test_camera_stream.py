# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames through its stream: what restarts it, and what fails."""

import numpy as np
import pytest
from fakes import BrokenDetector, ColourDetector, colour_sam2, scene
from fault_engine import fail, well
from worker_cases import MODES, Film, image

from detsam2_ros.engine import Engine, EngineConfig, ImageError
from detsam2_ros.engine.tracking.window_pass import WindowPass
from detsam2_ros.runtime.camera_stream import FAILED, FAILURES_BEFORE_RESET, REFUSED, SAME_STAMP

SECOND = 10**9


def refuse(*_) -> None:
    raise ImageError('not like this')


def real(detector, mode: str) -> Engine:
    return Engine(colour_sam2(), detector, EngineConfig(
        window_size=4, detect_interval=4, max_propagation=8, mode=mode, confirm_detections=0,
        windows='plain'))


def restart(film: Film, cause: str) -> None:
    if cause == 'asked':
        film.stream.restart('it was asked to')
    else:
        shape = (8, 6, 3) if cause == 'size' else (4, 6, 3)
        film.push(50 if cause == 'size' else -2 * SECOND, picture=image(shape))
    film.check()


# ---- time and size
@MODES
def test_time_that_goes_back_publishes_what_waits_and_restarts(mode):
    film = Film(mode=mode)
    film.push(*(i * SECOND for i in range(6)))
    film.push(SECOND)
    shown = [] if mode == 'window' else [SECOND]
    assert film.heard.first() == [i * SECOND for i in range(6)] + shown
    assert film.heard.of('reset') == ['time went back by 4.000 s']
    film.push(*(i * SECOND for i in range(2, 5)))
    assert [(r.index, r.stamp) for r in film.heard.of('result') if r.revision == 0][6:] == [
        (i, (i + 1) * SECOND) for i in range(4)]
    assert film.dropped == {}


@MODES
def test_a_recording_that_loops_restarts_each_time(mode):
    film = Film(mode=mode)
    for _ in range(3):
        film.push(*(i * SECOND for i in range(5)))
    assert len(film.heard.of('reset')) == 2
    shown = 4 if mode == 'window' else 5  # of the unfinished window
    assert [stamp // SECOND for stamp in film.heard.first()] == [
        *range(5), *range(5), *range(shown)]


@MODES
def test_a_repeated_stamp_is_dropped_and_the_stream_goes_on(mode):
    film = Film(mode=mode)
    film.push(0, 1, 1, 1, 2, 2, 3)
    assert film.dropped == {SAME_STAMP: 3}
    assert film.heard.of('dropped') == [SAME_STAMP] * 3
    assert film.heard.first() == [0, 1, 2, 3]
    assert film.heard.of('reset') == []


def test_negative_stamps_are_in_order_too():
    film = Film()
    film.push(-3, -2, -1, 0)
    assert film.heard.first() == [-3, -2, -1, 0]


def test_stamps_that_are_all_zero_give_one_frame_not_endless_resets():
    film = Film()
    film.push(*[0] * 9)
    assert film.dropped == {SAME_STAMP: 8}


def test_a_stamp_may_come_again_after_a_reset():
    film = Film()
    film.push(5)
    film.stream.restart('it was asked to')
    film.push(5, 6)
    assert film.dropped == {}
    assert film.stream.waiting == 2


@MODES
@pytest.mark.parametrize('frames', [1, 3, 6])
def test_another_size_in_the_middle_of_a_window(frames, mode):
    film = Film(mode=mode)
    film.push(*range(frames))
    film.push(*range(frames, frames + 4), picture=image((8, 6, 3)))
    assert film.heard.first() == list(range(frames + 4))
    assert film.heard.of('reset') == ['the image size changed from 6x4 to 6x8']
    # Their masks first, then the reset, then the others.
    kinds = [event[0] for event in film.heard.events]
    assert kinds.index('reset') > kinds.index('result')
    assert film.dropped == {}


def test_a_frame_of_another_size_and_an_earlier_time_is_reported_as_earlier():
    film = Film()
    film.push(5 * SECOND)
    film.push(4 * SECOND, picture=image((8, 6, 3)))
    assert film.heard.of('reset') == ['time went back by 1.000 s']


def test_size_and_time_are_handled_with_real_masks_too():
    film = Film(real(ColourDetector(['red']), 'window'))
    small, large = (scene(('red', 20, 20), size=size) for size in ((48, 64), (64, 48)))
    film.push(*range(6), picture=small)
    film.push(*range(6, 12), picture=large)
    film.push(*range(-SECOND, 3 - SECOND), picture=large)
    film.stream.finish()
    film.check()
    assert film.heard.first() == [*range(12), *range(-SECOND, 3 - SECOND)]
    labels = [r.labels for r in film.heard.of('result')]
    assert {image.shape for image in labels} == {(48, 64), (64, 48)}
    assert all(image.any() for image in labels)


@MODES
@pytest.mark.parametrize('cause', ['time', 'size', 'asked'])
@pytest.mark.parametrize('parts', [0, 1, 2])
def test_a_restart_amid_a_pass_ends_the_pass_first(parts, cause, mode):
    film = Film(mode=mode)
    film.push(*range(6))
    for _ in range(parts):
        film.stream.step()
    restart(film, cause)
    assert film.windows == [4, 2]
    assert len(film.heard.of('reset')) == 1 and film.dropped == {}
    reset = [event[0] for event in film.heard.events].index('reset')
    assert all(e[2].index == 0 for e in film.heard.events[reset:] if e[0] == 'result')


def test_finish_of_an_empty_window_restarts_nothing():
    film = Film()
    film.stream.finish()
    film.push(*range(4))
    film.stream.finish()
    assert film.heard.of('reset') == []


# ---- failures of frames
@MODES
def test_a_refused_image_leaves_the_stream_as_it_was(mode):
    film = Film(real(None, mode))
    picture = image((48, 64, 3))
    film.push(0, 1, picture=picture)
    film.push(2, picture=picture.astype(np.float32))
    assert film.dropped == {REFUSED: 1}
    assert film.heard.of('dropped') == [REFUSED]
    assert 'must be uint8' in film.heard.of('failure')[0]
    film.push(3, 4, picture=picture)
    assert film.heard.first() == [0, 1, 3, 4]
    assert film.heard.of('reset') == []


@MODES
@pytest.mark.parametrize(('fault', 'reason'), [(fail, FAILED), (refuse, REFUSED)])
def test_a_frame_that_cannot_be_taken_is_dropped_and_the_others_wait(fault, reason, mode):
    film = Film(mode=mode)
    film.push(0, 1)
    film.engine.on_add = fault
    film.push(2)
    assert (film.dropped, film.pending) == ({reason: 1}, 2)
    assert film.heard.of('failure') == [
        'inference failed: MemoryError: full' if fault is fail else 'not like this']
    film.engine.on_add = well
    film.push(2, 3)  # its stamp was not taken
    film.drain()
    assert film.heard.first() == [0, 1, 2, 3]


@MODES
def test_frames_that_fail_in_a_row_restart_the_stream_whatever_passes_do(mode):
    film = Film(mode=mode)
    film.push(*range(4))
    film.engine.on_add = fail
    for i in range(4, 7):
        film.push(i)
        if film.stream.due:
            film.stream.step()
    assert film.heard.of('reset') == ['inference failed 3 times in a row']
    assert film.dropped == {FAILED: 3}


@MODES
def test_a_failing_detector_costs_no_frame_and_is_reported(mode):
    film = Film(real(BrokenDetector(RuntimeError('gone'), working=1), mode))
    for i in range(16):
        film.push(i, picture=image((48, 64, 3)))
        film.drain()
    assert film.heard.first() == list(range(16))
    assert len(film.heard.of('failure')) == 3
    assert 'the detector failed on frames 4 (RuntimeError: gone)' in film.heard.of('failure')[0]
    assert film.heard.of('reset') == []
    # The masks came before the bad news.
    kinds = [event[0] for event in film.heard.events]
    assert kinds[:5] == ['result'] * 5


# ---- failures of windows
def test_a_window_that_failed_closes_with_the_next_frame(monkeypatch):
    film = Film(real(ColourDetector(['red']), 'window'))
    picture = scene(('red', 20, 20), size=(48, 64))
    film.push(0, 1, 2, picture=picture)
    monkeypatch.setattr(WindowPass, 'steps', fail)
    film.push(3, 4, picture=picture)
    assert film.heard.of('failure') == [
        'inference failed: MemoryError: full; its frames wait for the next try'] * 2
    assert film.stream.waiting == 5
    monkeypatch.undo()
    film.push(5, picture=picture)
    assert film.heard.first() == list(range(4))
    assert film.stream.waiting == 2  # frames of the next window, which is not full yet
    film.push(6, 7, picture=picture)
    assert film.heard.first() == list(range(8))
    assert film.dropped == {}
    assert film.heard.of('reset') == []


def test_failures_in_a_row_restart_the_stream_and_are_counted():
    film = Film()
    film.push(*range(7))
    film.engine.on_end = fail
    film.push(*range(7, 7 + FAILURES_BEFORE_RESET))
    assert film.heard.of('reset') == ['inference failed 3 times in a row']
    assert film.heard.of('failure')[-1] == 'inference failed: MemoryError: full'
    assert film.dropped == {FAILED: 6}
    assert film.stream.waiting == 0
    film.engine.on_end = well
    film.push(*range(10, 14))
    assert film.heard.first() == [0, 1, 2, 3, 10, 11, 12, 13]


@MODES
def test_failures_of_windows_that_are_not_in_a_row_are_forgotten(mode):
    film = Film(mode=mode)
    for i in range(5):
        film.push(*range(10 * i, 10 * i + 3))
        film.engine.on_end = fail
        for stamp in (10 * i + 3, 10 * i + 4):
            film.push(stamp)
            film.drain()
        film.engine.on_end = well
        film.push(10 * i + 5)
        film.drain()
        assert film.pending == 2
        film.stream.finish()
    assert len(film.heard.of('failure')) == 10
    assert film.heard.of('reset') == []
    assert len(film.heard.first()) == 30


def test_masks_of_a_window_are_kept_when_a_later_one_fails():
    film = Film()
    film.push(0, 1, 2)
    film.engine.on_end = fail
    film.push(3, 4)
    film.engine.on_end = well
    film.push(5)
    assert film.heard.first() == [0, 1, 2, 3]
    assert film.stream.waiting == 2
    film.engine.on_end = fail
    film.step_while(lambda: len(film.heard.of('failure')) < 3)  # early
    assert film.heard.of('failure')[-1] == (
        'inference failed: MemoryError: full; its frames wait for the next try')
    assert film.stream.waiting == 2
    film.engine.on_end = well
    film.step_while(lambda: film.pending > 0)
    assert film.heard.first() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize('failures', range(3))
@pytest.mark.parametrize('cause', ['time', 'size', 'asked'])
def test_a_restart_is_reported_and_counted_once_whatever_fails_on_the_way(failures, cause):
    film = Film()
    film.push(0, 1, 2)
    film.engine.on_end = fail
    film.push(*range(3, 3 + failures))
    restart(film, cause)
    assert len(film.heard.of('reset')) == 1
    assert film.dropped == {FAILED: 3 + failures}
    assert film.stream.waiting == (0 if cause == 'asked' else 1)


def test_what_the_real_engine_corrects_has_its_own_header():
    film = Film(real(ColourDetector(['red']), 'online'))
    for i in range(14):  # found on frame 4, and so corrected on frames 0 to 3
        discs = [('red', 12 + i, 20)] if i != 0 else []
        film.push(1000 * i, picture=scene(*discs, size=(48, 64)))
        film.drain()
    film.stream.finish()
    film.check()
    assert len(film.heard.first()) == 14
    corrected = {r.stamp for r in film.heard.of('result') if r.revision}
    assert corrected == {1000, 2000, 3000}  # the recorder checks header and stamp of each
