# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The inference thread: order, dropping, windows that close by time, activation."""

import threading
import time

import numpy as np
import pytest
from fakes import ColourDetector, Run, colour_sam2, scene
from fault_engine import PASS, PATIENCE, Steps, fail, takes, well
from worker_cases import LONG_AGO, MODES, Rig, image, running

from detsam2_ros.engine import Engine, EngineConfig
from detsam2_ros.runtime.frame_queue import INACTIVE, QUEUE_FULL


# ---- frames
def test_frames_come_out_in_order_once_and_are_corrected_later():
    with running() as rig:
        rig.send(*range(12))
        rig.settle()
        rig.check_books()
        assert rig.heard.first() == list(range(12))
        revisions = [(r.index, r.revision) for r in rig.heard.of('result')]
        assert revisions[4:12] == [(i, 1) for i in range(4)] + [(i, 0) for i in range(4, 8)]
        assert rig.accounts[''].snapshot().waiting == 0


def test_an_unfinished_window_waits_and_is_dropped_at_the_end():
    with running() as rig:
        rig.send(*range(6))
        rig.settle()
        rig.check_books()
        assert rig.accounts[''].snapshot().waiting == 2
    assert rig.accounts[''].snapshot().dropped == {INACTIVE: 2}
    assert rig.heard.of('reset') == []


@MODES
def test_the_oldest_frames_are_dropped_when_the_queue_is_full(mode):
    with running(queue=3, mode=mode) as rig:
        with rig.held():
            rig.send(*range(8))
            assert rig.worker.waiting() == {'': 3}
            rig.check_books()
            assert rig.heard.of('dropped') == [QUEUE_FULL] * 5
        rig.settle()
        rig.send(8)
        rig.settle()
        assert rig.heard.first() == [5, 6, 7, 8]
        assert rig.accounts[''].snapshot().dropped == {QUEUE_FULL: 5}


@MODES
def test_a_full_queue_of_one_camera_costs_the_other_nothing(mode):
    with running(cameras=('a', 'b'), queue=4, mode=mode) as rig:
        with rig.held():
            rig.send(*range(10), camera='a')
            rig.send(*range(4), camera='b')
        rig.settle()
        rig.check_books()
        assert rig.heard.first('a') == [6, 7, 8, 9]
        assert rig.heard.first('b') == [0, 1, 2, 3]
        assert rig.heard.of('dropped', 'b') == []


@MODES
def test_the_camera_that_has_waited_longest_for_a_turn_is_next(mode):
    order = []
    with running(cameras=('a', 'b'), mode=mode) as rig:
        rig.engine.on_add = lambda stream: order.append(stream.name)
        with rig.held():
            rig.send(0, camera='a', ago=2.0)
            rig.send(0, camera='b', ago=5.0)
            rig.send(1, camera='b', ago=1.0)
            rig.send(1, camera='a', ago=3.0)  # it waits since the turn of the one before
        rig.settle()
    assert order == ['b', 'a', 'b', 'a']


# ---- max_window_delay
@MODES
def test_the_window_of_a_stopped_camera_closes_in_parts(mode):
    begin = time.monotonic()
    with running(Steps(mode=mode), delay=0.05) as rig:
        rig.send(0, 1)
        rig.heard.wait_for(lambda: rig.windows() == [2] and len(rig.heard.first()) == 2)
        assert time.monotonic() - begin >= 0.05
        assert rig.engine.kinds() == takes(2) + PASS
        rig.settle()
        assert len(rig.heard.of('result')) == (2 if mode == 'window' else 4)
        rig.check_books()
        rig.send(2)  # the camera returns
        rig.wait_for_windows(2, 1)
        rig.settle()
        rig.check_books()
        assert rig.heard.first() == [0, 1, 2]
        assert rig.heard.of('reset') == []


@MODES
def test_a_window_is_not_closed_early_while_frames_of_its_camera_wait(mode):
    with running(delay=1.0, mode=mode) as rig:
        with rig.held():
            rig.send(*range(7), ago=LONG_AGO)
        # 4 that were full, then 3 when nothing waited any more; not 1 + 1 + ...
        rig.wait_for_windows(4, 3)
        rig.settle()
        assert len(rig.heard.first()) == 7


def test_a_stopped_camera_is_not_kept_waiting_by_a_busy_one():
    with running(cameras=('a', 'b'), delay=1.0) as rig:
        with rig.held():
            rig.send(0, camera='a', ago=LONG_AGO)
            rig.send(*range(8), camera='b')
        rig.settle()
        first = next(e for e in rig.heard.events if e[0] == 'result')
        assert first[1] == 'a'
        assert rig.windows('b') == [4, 4]


@MODES
@pytest.mark.parametrize('delay', [0.0, 3600.0])
def test_windows_stay_open_before_the_delay_or_without_one(delay, mode):
    with running(delay=delay, mode=mode) as rig:
        rig.send(0, 1, ago=0.0 if delay else LONG_AGO)
        for _ in range(20):
            rig.settle()
        assert rig.heard.first() == ([] if mode == 'window' else [0, 1])
        assert rig.pending() == 2


@MODES
@pytest.mark.parametrize('delay', [0.0, 3600.0])
@pytest.mark.parametrize('failed', [False, True])
def test_a_thread_with_nothing_to_do_sleeps(failed, delay, mode, monkeypatch):
    """Also after a window that failed, which waits for the next frame."""
    with running(Steps(mode=mode), delay=delay) as rig:
        rig.engine.fault = fail
        rig.send(*range(4 if failed else 1), ago=LONG_AGO if delay == 0.0 else 0.0)
        rig.settle()
        assert len(rig.heard.of('failure')) == failed
        rounds = threading.Semaphore(0)
        look = rig.worker._next_window
        monkeypatch.setattr(rig.worker, '_next_window', lambda: rounds.release() or look())
        rig.barrier()
        assert rounds.acquire(timeout=PATIENCE)  # that of the barrier
        assert not rounds.acquire(timeout=0.05)
        assert rig.pending() == (4 if failed else 1)


@MODES
def test_the_delay_counts_from_the_arrival_of_the_oldest_frame(mode):
    with running(delay=500.0, mode=mode) as rig:
        rig.send(0, ago=499.95)
        rig.send(1)
        rig.wait_for_windows(2)
        rig.settle()
        assert rig.heard.first() == [0, 1]


@MODES
def test_how_far_corrections_lag_is_accounted(mode):
    with running(Steps(mode=mode)) as rig:
        with rig.held():
            rig.send(*range(3), ago=100.0)
            rig.send(3, ago=50.0)
        rig.wait_for_windows(4)
        rig.settle()
        assert 50.0 <= rig.accounts[''].snapshot().lag(0.5) < 50.0 + PATIENCE


# ---- activation and reset
def test_frames_before_activation_are_dropped_and_counted():
    rig = Rig()
    rig.send(0)
    rig.start()
    rig.send(*range(4))
    rig.settle()
    assert rig.heard.first() == [0, 1, 2, 3]
    assert rig.accounts[''].snapshot().dropped == {INACTIVE: 1}
    rig.stop()


@MODES
def test_deactivation_drops_what_waits_and_publishes_unfinished_windows(mode):
    with running(cameras=('a', 'b'), mode=mode) as rig:
        rig.send(*range(5), camera='a')
        rig.send(*range(2), camera='b')
        rig.settle()
        with rig.held():
            rig.send(5, 6, camera='a')
            done = rig.worker.deactivate()
            assert rig.worker.waiting() == {'a': 0, 'b': 0}
            assert not done.done()
            rig.send(7, camera='a')
        done.result(PATIENCE)
        rig.check_books()
        assert rig.heard.first('a') == [0, 1, 2, 3, 4]
        assert rig.heard.first('b') == [0, 1]
        assert (rig.windows('a'), rig.windows('b')) == ([4, 1], [2])
        now = rig.accounts['a'].snapshot()
        assert (now.waiting, now.dropped) == (0, {INACTIVE: 3})
        assert rig.heard.of('dropped', 'a') == []  # expected: nothing to warn of


@MODES
def test_activation_goes_on_where_deactivation_ended(mode):
    with running(mode=mode) as rig:
        rig.send(*range(5))
        rig.settle()
        rig.worker.deactivate().result(PATIENCE)
        rig.worker.activate()
        rig.send(*range(5, 9))
        rig.settle()
        rig.check_books()
        results = rig.heard.of('result')
        assert [r.index for r in results if r.revision == 0] == list(range(9))
        assert (2, 2) in [(r.index, r.revision) for r in results]
        assert rig.heard.of('reset') == []


@MODES
def test_a_window_that_cannot_be_closed_at_deactivation_is_not_kept(mode):
    with running(mode=mode) as rig:
        rig.send(0, 1)
        rig.settle()
        rig.engine.on_end = fail
        rig.worker.deactivate().result(PATIENCE)
        rig.check_books()
        lost = {'inference_failed': 2} if mode == 'window' else {}  # online both had masks
        assert rig.accounts[''].snapshot().dropped == lost
        assert rig.heard.of('reset') == ['its last window could not be closed']
        assert rig.pending() == 0
        # Nothing waits for a next try.
        assert rig.heard.of('failure') == ['inference failed: MemoryError: full']
        rig.engine.on_end = well
        rig.worker.activate()
        rig.send(*range(4))
        rig.settle()
        assert rig.heard.first()[-4:] == [0, 1, 2, 3]


@MODES
def test_reset_publishes_unfinished_windows_and_counts_from_0(mode):
    with running(cameras=('a', 'b'), mode=mode) as rig:
        rig.send(*range(6), camera='a')
        rig.settle()
        rig.worker.reset().result(PATIENCE)
        assert rig.windows('a') == [4, 2]
        assert rig.heard.first('a') == list(range(6))
        rig.send(0, 1, camera='a')  # an earlier stamp, which is fine now
        rig.settle()
        rig.check_books()
        shown = [] if mode == 'window' else [0, 1]
        assert rig.heard.first('a') == [*range(6), *shown]
        assert [r.index for r in rig.heard.of('result', 'a') if r.revision == 0][6:] == shown
        assert rig.heard.of('reset', 'a') == rig.heard.of('reset', 'b') == ['it was asked to']
        assert rig.pending('a') == 2
        assert rig.accounts['a'].snapshot().resets == 1


@pytest.mark.parametrize('failures', [0, 1, 2])
def test_reset_is_reported_once_also_when_the_window_cannot_be_closed(failures):
    """Also when it is the last of the failures in a row that reset a stream by themselves."""
    with running() as rig:
        rig.engine.on_end = fail
        rig.send(*range(3 + failures))
        rig.settle()
        rig.worker.reset().result(PATIENCE)
        assert rig.heard.of('reset') == ['it was asked to']
        assert rig.accounts[''].snapshot().resets == 1
        assert rig.accounts[''].snapshot().dropped == {'inference_failed': 3 + failures}


# ---- with real masks
def film(count: int, size=(48, 64)) -> list[np.ndarray]:
    return [scene(('red', 12 + i, 20), ('green', 50 - i, 30), size=size) for i in range(count)]


@MODES
@pytest.mark.parametrize('at_once', [True, False])
def test_what_comes_out_is_what_the_engine_gives_for_each_camera(at_once, mode):
    settings = {
        'window_size': 4, 'detect_interval': 3, 'max_propagation': 8, 'mode': mode,
        'confirm_detections': 0,  # else states tell what came while a window was closed
    }
    films = {'a': film(22), 'b': film(22)[::-1]}
    engine = Engine(colour_sam2(), ColourDetector(['red', 'green']), EngineConfig(**settings))
    with running(engine, cameras=('a', 'b')) as rig:
        for i in range(22):
            for camera, pictures in films.items():
                rig.send(1000 * i, camera=camera, picture=pictures[i])
            if not at_once:
                rig.settle()
        rig.settle()
        rig.check_books()
        rig.worker.deactivate().result(PATIENCE)
        for camera, pictures in films.items():
            alone = Run(ColourDetector(['red', 'green']), **settings)
            alone.push(*pictures)
            alone.flush()
            key = lambda r: (r.index, r.revision)  # noqa: E731
            got, wanted = rig.heard.of('result', camera), alone.results
            if mode == 'online':  # frames may go before windows
                got, wanted = sorted(got, key=key), sorted(wanted, key=key)
            assert list(map(key, got)) == list(map(key, wanted))
            for ours, theirs in zip(got, wanted, strict=True):
                assert np.array_equal(ours.labels, theirs.labels)
                assert ours.objects == theirs.objects
            assert got[-1].labels.any()


def test_images_are_held_only_where_they_are_wanted():
    with running() as rig:
        rig.send(0, 1)
        rig.send(2, 3, keep=True, picture=image())
        rig.settle()
        assert [i is not None for i in rig.heard.images[:4]] == [False, False, True, True]
        assert all(frame.image is None for frame in rig.heard.frames)


def test_waiting_can_be_asked_while_inference_runs():
    with running() as rig, rig.held():
        begin = time.monotonic()
        rig.send(0)
        rig.worker.waiting()
        rig.worker.activate()
        call = rig.worker.call(lambda _: None)
        assert not call.done()
        # An order of magnitude above what it takes, and below what a pass takes.
        assert time.monotonic() - begin < 5.0


def test_the_thread_is_named_and_a_daemon():
    with running() as rig:
        thread = rig.worker.call(lambda _: threading.current_thread()).result(PATIENCE)
        assert (thread.name, thread.daemon) == ('inference', True)
