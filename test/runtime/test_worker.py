# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The inference thread: order, dropping, windows that close by time, activation, calls."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from fakes import ColourDetector, Run, colour_sam2, scene
from worker_cases import PATIENCE, Rig, image, running

from detsam2_ros.engine import Engine, EngineConfig
from detsam2_ros.runtime.worker import INACTIVE, QUEUE_FULL

LONG_AGO = 1000.0  # seconds; more than any delay below


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


def test_the_oldest_frames_are_dropped_when_the_queue_is_full():
    with running(queue=3) as rig:
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


def test_a_full_queue_of_one_camera_costs_the_other_nothing():
    with running(cameras=('a', 'b'), queue=4) as rig:
        with rig.held():
            rig.send(*range(10), camera='a')
            rig.send(*range(4), camera='b')
        rig.settle()
        rig.check_books()
        assert rig.heard.first('a') == [6, 7, 8, 9]
        assert rig.heard.first('b') == [0, 1, 2, 3]
        assert rig.heard.of('dropped', 'b') == []


def test_the_camera_whose_frame_has_waited_longest_is_next():
    order = []
    with running(cameras=('a', 'b')) as rig:
        rig.engine.on_push = lambda stream: order.append(stream.name)
        with rig.held():
            rig.send(0, camera='a', ago=2.0)
            rig.send(0, camera='b', ago=5.0)
            rig.send(1, camera='b', ago=1.0)
            rig.send(1, camera='a', ago=3.0)  # behind one that is younger: order is kept
        rig.settle()
    assert order == ['b', 'a', 'a', 'b']


# ---- calls


def test_calls_run_before_the_frames_that_wait_and_between_two_passes():
    order = []
    with running() as rig:
        rig.engine.on_push = lambda stream: order.append('frame')
        with rig.held():
            rig.send(0, 1)
            calls = [rig.worker.call(lambda _, i=i: order.append(i)) for i in range(3)]
        for call in calls:
            call.result(PATIENCE)
        rig.settle()
        assert order == [0, 1, 2, 'frame', 'frame']
        late = []
        rig.engine.on_push = lambda stream: late or late.append(
            rig.worker.call(lambda _: order.append(stream.backlog.frames)))
        with rig.held():
            rig.send(2, 3)
        rig.settle()
        # Asked for while frame 2 was taken: it ran after that one and before frame 3.
        assert order[-1] == 3


def test_a_call_is_given_the_engine_and_its_outcome_comes_back():
    with running() as rig:
        assert rig.worker.call(lambda engine: engine).result(PATIENCE) is rig.engine
        assert rig.worker.engine is rig.engine

        def fail(_):
            raise KeyError('bank')

        with pytest.raises(KeyError, match='bank'):
            rig.worker.call(fail).result(PATIENCE)

        def leave(_):
            raise SystemExit

        with pytest.raises(SystemExit):
            rig.worker.call(leave).result(PATIENCE)
        rig.send(*range(4))
        rig.settle()
        assert rig.heard.first() == [0, 1, 2, 3]


def test_a_call_that_was_cancelled_is_not_done_and_harms_nothing():
    done = []
    with running() as rig:
        with rig.held():
            calls = [rig.worker.call(lambda _, i=i: done.append(i)) for i in range(3)]
            assert calls[1].cancel()
        rig.barrier()
        assert done == [0, 2]


# ---- max_window_delay


def test_the_window_of_a_stopped_camera_closes():
    begin = time.monotonic()
    with running(delay=0.05) as rig:
        rig.send(0, 1)
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 2)
        assert time.monotonic() - begin >= 0.05
        rig.settle()
        rig.check_books()
        assert rig.engine.streams['camera'].windows == [2]
        rig.send(2)  # the camera returns
        rig.heard.wait_for(lambda: rig.heard.first() == [0, 1, 2])
        assert rig.heard.of('reset') == []


def test_a_window_is_not_closed_early_while_frames_of_its_camera_wait():
    with running(delay=1.0) as rig:
        with rig.held():
            rig.send(*range(7), ago=LONG_AGO)
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 7)
        # 4 that were full, then 3 when nothing waited any more; not 1 + 1 + ...
        assert rig.engine.streams['camera'].windows == [4, 3]


def test_a_stopped_camera_is_not_kept_waiting_by_a_busy_one():
    with running(cameras=('a', 'b'), delay=1.0) as rig:
        with rig.held():
            rig.send(0, camera='a', ago=LONG_AGO)
            rig.send(*range(8), camera='b')
        rig.settle()
        first = next(e for e in rig.heard.events if e[0] == 'result')
        assert first[1] == 'a'
        assert rig.engine.streams['b'].windows == [4, 4]


@pytest.mark.parametrize('delay', [0.0, 3600.0])
def test_windows_stay_open_before_the_delay_or_without_one(delay):
    with running(delay=delay) as rig:
        rig.send(0, 1, ago=0.0 if delay else LONG_AGO)
        for _ in range(20):
            rig.settle()
        assert rig.heard.first() == []
        assert rig.pending() == 2


@pytest.mark.parametrize('delay', [0.0, 3600.0])
def test_a_thread_with_nothing_to_do_sleeps(delay, monkeypatch):
    with running(delay=delay) as rig:
        rig.send(0)
        rig.settle()
        rounds = threading.Semaphore(0)
        monkeypatch.setattr(rig.worker, '_close_overdue', rounds.release)
        rig.barrier()
        assert rounds.acquire(timeout=PATIENCE)  # that of the barrier
        assert not rounds.acquire(timeout=0.05)


def test_the_delay_counts_from_the_arrival_of_the_oldest_frame():
    with running(delay=500.0) as rig:
        rig.send(0, ago=499.95)
        rig.send(1)
        rig.heard.wait_for(lambda: rig.heard.first() == [0, 1])


def test_a_window_that_cannot_be_closed_in_time_is_given_up_after_some_tries():
    tries = []

    def fail(stream):
        tries.append(stream.backlog.frames)
        raise MemoryError('full')

    with running(delay=1.0) as rig:
        rig.engine.on_window = fail
        rig.send(0, 1, ago=LONG_AGO)
        rig.heard.wait_for(lambda: bool(rig.heard.of('reset')))
        rig.settle()
        rig.check_books()
        # Frame 1 may have come after a first try with frame 0 alone.
        assert 3 <= len(tries) <= 6
        assert rig.accounts[''].snapshot().dropped_total == 2


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


def test_deactivation_drops_what_waits_and_publishes_unfinished_windows():
    with running(cameras=('a', 'b')) as rig:
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
        now = rig.accounts['a'].snapshot()
        assert (now.waiting, now.dropped) == (0, {INACTIVE: 3})
        assert rig.heard.of('dropped', 'a') == []  # expected: nothing to warn of


def test_activation_goes_on_where_deactivation_ended():
    with running() as rig:
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


def test_a_window_that_cannot_be_closed_at_deactivation_is_dropped_not_kept():
    with running() as rig:
        rig.send(0, 1)
        rig.settle()
        rig.engine.on_window = lambda stream: (_ for _ in ()).throw(MemoryError('full'))
        rig.worker.deactivate().result(PATIENCE)
        rig.check_books()
        assert rig.accounts[''].snapshot().dropped == {'inference_failed': 2}
        assert len(rig.heard.of('reset')) == 1
        # Nothing waits for a next try.
        assert rig.heard.of('failure') == ['inference failed: MemoryError: full']
        rig.engine.on_window = lambda stream: None
        rig.worker.activate()
        rig.send(*range(4))
        rig.settle()
        assert rig.heard.first() == [0, 1, 2, 3]


def test_reset_publishes_unfinished_windows_and_counts_from_0():
    with running(cameras=('a', 'b')) as rig:
        rig.send(*range(6), camera='a')
        rig.settle()
        rig.worker.reset().result(PATIENCE)
        rig.send(0, 1, camera='a')  # an earlier stamp, which is fine now
        rig.settle()
        rig.check_books()
        assert rig.heard.first('a') == list(range(6))
        assert rig.heard.of('reset', 'a') == rig.heard.of('reset', 'b') == ['it was asked to']
        assert rig.pending('a') == 2
        assert rig.accounts['a'].snapshot().resets == 1


@pytest.mark.parametrize('failures', [0, 1, 2])
def test_reset_is_told_once_also_when_the_window_cannot_be_closed(failures):
    """Also when it is the last of the failures in a row that reset a stream by themselves."""
    with running() as rig:
        rig.engine.on_window = lambda stream: (_ for _ in ()).throw(MemoryError('full'))
        rig.send(*range(3 + failures))
        rig.settle()
        rig.worker.reset().result(PATIENCE)
        assert rig.heard.of('reset') == ['it was asked to']
        assert rig.accounts[''].snapshot().resets == 1
        assert rig.accounts[''].snapshot().dropped == {'inference_failed': 3 + failures}


# ---- with the real engine


def film(count: int, size=(48, 64)) -> list[np.ndarray]:
    return [scene(('red', 12 + i, 20), ('green', 50 - i, 30), size=size) for i in range(count)]


def test_what_comes_out_is_what_the_engine_gives_for_each_camera():
    settings = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 8, 'mode': 'window'}
    films = {'a': film(14), 'b': film(14)[::-1]}
    engine = Engine(colour_sam2(), ColourDetector(['red', 'green']), EngineConfig(**settings))
    with running(engine, cameras=('a', 'b')) as rig:
        for i in range(14):
            for camera, pictures in films.items():
                rig.send(1000 * i, camera=camera, picture=pictures[i])
        rig.settle()
        rig.check_books()
        rig.worker.deactivate().result(PATIENCE)
        for camera, pictures in films.items():
            alone = Run(ColourDetector(['red', 'green']), **settings)
            alone.push(*pictures)
            alone.flush()
            got = rig.heard.of('result', camera)
            assert [(r.index, r.revision) for r in got] == [
                (r.index, r.revision) for r in alone.results]
            for ours, theirs in zip(got, alone.results, strict=True):
                assert np.array_equal(ours.labels, theirs.labels)
                assert ours.objects == theirs.objects
            assert got[-1].labels.any()


def test_images_are_held_only_where_they_are_wanted():
    with running() as rig:
        rig.send(0, 1)
        rig.send(2, 3, keep=True, picture=image())
        rig.settle()
        assert [i is not None for i in rig.heard.images[:4]] == [False, False, True, True]
        assert all(t.image is None for t in rig.heard.tickets)


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
