# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The inference thread in mode online: frames first, windows part by part, none falls behind."""

from __future__ import annotations

import threading
import time

import pytest
from fakes import ColourDetector, Run, colour_sam2
from worker_cases import PASS, PATIENCE, Steps, running, takes

from detsam2_ros.engine import Engine, EngineConfig
from detsam2_ros.runtime.worker import QUEUE_FULL

LONG_AGO = 1000.0  # seconds; more than any delay below


# ---- order


def test_a_frame_has_masks_at_once_and_corrections_when_its_window_closes():
    with running(Steps()) as rig:
        for i in range(4):
            rig.send(i)
            rig.heard.wait_for(lambda i=i: rig.heard.first() == list(range(i + 1)))
        rig.heard.wait_for(lambda: len(rig.heard.of('result')) == 8)
        results = [(r.index, r.revision) for r in rig.heard.of('result')]
        assert results == [(i, 0) for i in range(4)] + [(i, 1) for i in range(4)]
        rig.settle()
        rig.check_books()
        assert rig.accounts[''].snapshot().waiting == 0


def test_frames_go_before_the_parts_of_a_pass():
    with running(Steps()) as rig:
        with rig.held():
            rig.send(*range(5))
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])
        rig.settle()
        assert rig.engine.kinds() == takes(5) + PASS


def test_a_frame_that_comes_amid_a_pass_waits_for_one_part_at_most():
    gate, entered = threading.Semaphore(0), threading.Semaphore(0)

    def wait(stream):
        entered.release()
        assert gate.acquire(timeout=PATIENCE)

    with running(Steps()) as rig:
        rig.engine.fault = wait
        rig.send(*range(4))
        for part in range(1, 4):  # a frame during each part
            assert entered.acquire(timeout=PATIENCE)
            rig.send(3 + part)
            gate.release()
            rig.heard.wait_for(lambda part=part: rig.heard.first()[-1:] == [3 + part])
            assert rig.engine.kinds().count('part') <= part + 1
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])
        assert rig.engine.kinds() == [
            *takes(4), 'part', 'take', 'part', 'take', 'part', 'end', 'take']


def test_calls_are_served_between_two_parts():
    gate, entered = threading.Semaphore(0), threading.Semaphore(0)

    def wait(stream):
        entered.release()
        assert gate.acquire(timeout=PATIENCE)

    with running(Steps()) as rig:
        rig.engine.fault = wait
        rig.send(*range(4))
        assert entered.acquire(timeout=PATIENCE)
        rig.send(4)
        call = rig.worker.call(lambda engine: list(engine.log))
        gate.release()
        assert call.result(PATIENCE)[-1] == ('camera', 'part')  # before the frame too
        gate.release(10)
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])


# ---- no pass falls behind


def test_a_window_is_closed_before_the_next_one_is_full():
    with running(Steps()) as rig:
        with rig.held():
            rig.send(*range(13))
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4, 4, 4])
        rig.settle()
        assert rig.engine.kinds() == takes(7) + PASS + takes(4) + PASS + takes(2) + PASS
        assert rig.heard.first() == list(range(13))


@pytest.mark.parametrize('window, reach', [(1, 1), (1, 3), (2, 2), (5, 12)])
def test_other_windows_do_not_fall_behind_either(window, reach):
    with running(Steps(window=window, reach=reach)) as rig:
        with rig.held():
            rig.send(*range(40))
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 40)
        rig.settle()
        rig.heard.wait_for(
            lambda: rig.engine.streams['camera'].windows == [window] * (40 // window))


def test_frames_queue_behind_a_pass_that_must_end_first_and_the_oldest_are_dropped():
    with running(Steps(parts=10**9), queue=3) as rig:  # a pass that takes for ever
        rig.engine.fault = lambda stream: time.sleep(0.001)
        for i in range(7):
            rig.send(i)
            rig.heard.wait_for(lambda i=i: rig.heard.first() == list(range(i + 1)))
        rig.send(*range(7, 12))
        assert rig.heard.of('dropped') == [QUEUE_FULL] * 2
        rig.barrier()
        rig.check_books()
        assert rig.worker.waiting() == {'': 3}
        rig.engine.parts = 3
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 10)
        assert rig.heard.first() == [*range(7), 9, 10, 11]
        assert rig.accounts[''].snapshot().dropped == {QUEUE_FULL: 2}


def test_a_camera_that_must_wait_keeps_no_other_one_waiting():
    with running(Steps(), cameras=('a', 'b')) as rig:
        with rig.held():
            rig.send(*range(9), camera='a', ago=50.0)  # longest, but its second window is full
            rig.send(*range(3), camera='b', ago=10.0)
        rig.settle()
        assert rig.engine.log[:10] == [('a', 'take')] * 7 + [('b', 'take')] * 3
        assert rig.heard.first('a') == list(range(9))


def test_the_window_that_has_waited_longest_is_closed_first_and_as_a_whole():
    with running(Steps(), cameras=('a', 'b')) as rig:
        with rig.held():
            rig.send(*range(4), camera='a', ago=1.0)
            rig.send(*range(4), camera='b', ago=2.0)
        rig.heard.wait_for(lambda: rig.engine.streams['a'].windows == [4])
        parts = [camera for camera, what in rig.engine.log if what == 'part']
        assert parts == ['b'] * 3 + ['a'] * 3


def test_a_busy_camera_does_not_keep_the_corrections_of_another_from_coming():
    with running(Steps(), cameras=('a', 'b'), delay=500.0) as rig:
        with rig.held():
            rig.send(*range(2), camera='a', ago=LONG_AGO)  # and then it stops
            rig.send(*range(40), camera='b', ago=10.0)  # as if without end
        rig.heard.wait_for(lambda: len(rig.heard.first('b')) == 40)
        log = rig.engine.log
        assert log.index(('a', 'end')) < log.index(('b', 'end'))
        assert rig.engine.streams['a'].windows == [2]


def test_calls_that_undo_a_pass_again_and_again_do_not_keep_frames_waiting():
    """As memory banks do that are swapped faster than a pass can end."""
    calls = []

    def swap(engine):
        engine.streams['camera'].begin_anew()

    with running(Steps()) as rig:
        rig.engine.fault = lambda stream: calls.append(rig.worker.call(swap))
        with rig.held():
            rig.send(*range(20))
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 20)
        rig.engine.fault = lambda stream: None
        for call in calls:
            call.result(PATIENCE)
        rig.heard.wait_for(lambda: sum(rig.engine.streams['camera'].windows) == 20)
        # Once undone, then done as a whole, each time.
        assert rig.engine.kinds()[7:12] == ['part', *PASS]


def test_a_call_that_undoes_a_pass_for_which_nothing_waits_is_not_kept_waiting():
    gate, entered = threading.Semaphore(0), threading.Semaphore(0)

    def wait(stream):
        entered.release()
        assert gate.acquire(timeout=PATIENCE)

    with running(Steps()) as rig:
        rig.engine.fault = wait
        rig.send(*range(4))
        for _ in range(5):
            assert entered.acquire(timeout=PATIENCE)
            call = rig.worker.call(lambda engine: engine.streams['camera'].begin_anew())
            gate.release()
            call.result(PATIENCE)
        gate.release(10)
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])


# ---- max_window_delay


def test_the_window_of_a_stopped_camera_closes_in_parts():
    begin = time.monotonic()
    with running(Steps(), delay=0.05) as rig:
        rig.send(0, 1)
        rig.heard.wait_for(lambda: len(rig.heard.of('result')) == 4)
        assert time.monotonic() - begin >= 0.05
        assert rig.engine.kinds() == takes(2) + PASS
        rig.send(2)  # the camera returns
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [2, 1])
        rig.settle()
        rig.check_books()
        assert rig.heard.of('reset') == []


def test_a_frame_goes_between_the_parts_of_a_window_that_closes_early():
    with running(Steps(), delay=1.0) as rig:
        rig.engine.fault = lambda stream: (
            rig.send(2) if rig.engine.kinds()[-2:] == ['take', 'part'] else None)
        with rig.held():
            rig.send(0, 1, ago=LONG_AGO)
        rig.heard.wait_for(lambda: 2 in rig.engine.streams['camera'].windows)
        # Frame 2 is not of that window.
        assert rig.engine.kinds()[:7] == [*takes(2), 'part', 'take', 'part', 'part', 'end']


@pytest.mark.parametrize('delay', [0.0, 3600.0])
def test_a_thread_with_nothing_to_do_sleeps(delay, monkeypatch):
    with running(Steps(), delay=delay) as rig:
        rig.send(0, ago=LONG_AGO if delay == 0.0 else 0.0)
        rig.settle()
        rounds = threading.Semaphore(0)
        monkeypatch.setattr(rig.worker, '_close_overdue', rounds.release)
        rig.barrier()
        assert rounds.acquire(timeout=PATIENCE)  # that of the barrier
        assert not rounds.acquire(timeout=0.05)
        assert rig.pending() == 1


def test_how_far_corrections_lag_is_accounted():
    with running(Steps()) as rig:
        with rig.held():
            rig.send(*range(3), ago=100.0)
            rig.send(3, ago=50.0)
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])
        rig.settle()
        assert 50.0 <= rig.accounts[''].snapshot().lag(0.5) < 50.0 + PATIENCE


# ---- with the real engine


@pytest.mark.parametrize('at_once', [True, False])
def test_what_comes_out_is_what_the_engine_gives(at_once):
    from test_worker import film

    settings = {'window_size': 4, 'detect_interval': 3, 'max_propagation': 8, 'mode': 'online'}
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
            got = rig.heard.of('result', camera)
            key = lambda r: (r.index, r.revision)  # noqa: E731
            got, wanted = sorted(got, key=key), sorted(alone.results, key=key)
            assert list(map(key, got)) == list(map(key, wanted))
            for ours, theirs in zip(got, wanted, strict=True):
                assert (ours.labels == theirs.labels).all()
                assert ours.objects == theirs.objects
