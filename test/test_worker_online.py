# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The inference thread in mode online: frames first, windows part by part, none falls behind."""

from __future__ import annotations

import threading
import time

import pytest
from fakes import ColourDetector, Run, colour_sam2
from worker_cases import PATIENCE, FakeEngine, Rig, running

from detsam2_ros.engine import Engine, EngineConfig
from detsam2_ros.ros.worker import INACTIVE, QUEUE_FULL

LONG_AGO = 1000.0  # seconds; more than any delay below


class Steps(FakeEngine):
    """An engine that writes down what it does: (camera, 'take'), (camera, 'part'), ..."""

    def __init__(self, **more):
        super().__init__(**{'mode': 'online', **more})
        self.log: list[tuple[str, str]] = []
        self.fault = lambda stream: None
        self.on_push = lambda stream: self.note(stream, 'take')
        self.on_part = lambda stream: self.note(stream, 'part')
        self.on_window = lambda stream: self.note(stream, 'end')

    def note(self, stream, what: str) -> None:
        self.log.append((stream.name, what))
        assert stream.pending < 2 * self.window, 'corrections fell behind'
        if what == 'part':
            self.fault(stream)

    def kinds(self, camera: str = 'camera') -> list[str]:
        return [what for name, what in self.log if name == camera]


def take(count: int) -> list[str]:
    return ['take'] * count


PASS = ['part', 'part', 'part', 'end']  # with the 3 parts of FakeEngine


def fail(*_) -> None:
    raise MemoryError('full')


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
        assert rig.engine.kinds() == take(5) + PASS


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
            *take(4), 'part', 'take', 'part', 'take', 'part', 'end', 'take']


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
        assert rig.engine.kinds() == take(7) + PASS + take(4) + PASS + take(2) + PASS
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


# ---- max_window_delay


def test_the_window_of_a_stopped_camera_closes_in_parts():
    begin = time.monotonic()
    with running(Steps(), delay=0.05) as rig:
        rig.send(0, 1)
        rig.heard.wait_for(lambda: len(rig.heard.of('result')) == 4)
        assert time.monotonic() - begin >= 0.05
        assert rig.engine.kinds() == take(2) + PASS
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
        assert rig.engine.kinds()[:7] == [*take(2), 'part', 'take', 'part', 'part', 'end']


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


# ---- failures


def test_a_part_that_fails_is_tried_again_with_the_next_frame():
    with running(Steps()) as rig:
        rig.send(*range(3))
        rig.settle()
        rig.engine.fault = fail
        rig.send(3)
        rig.heard.wait_for(lambda: bool(rig.heard.of('failure')))
        rig.settle()
        assert rig.engine.kinds() == [*take(4), 'part']  # not again and again
        assert rig.heard.of('failure') == [
            'inference failed: MemoryError: full; its corrections wait for the next try']
        rig.engine.fault = lambda stream: None
        rig.send(4)
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])
        assert rig.engine.kinds()[5:] == [*take(1), *PASS]
        rig.settle()
        rig.check_books()
        assert rig.heard.of('reset') == []


@pytest.mark.parametrize('at', ['on_part', 'on_window'])
def test_a_window_that_always_fails_starts_the_stream_anew_and_blocks_no_frame(at):
    """Also where the failure is in its last part: parts that succeed do not make it forgotten."""
    with running(Steps()) as rig:
        setattr(rig.engine, at, fail)
        for i in range(20):
            rig.send(i)
            rig.heard.wait_for(lambda i=i: rig.heard.first()[-1:] == [i])
            rig.settle()
        rig.check_books()
        assert rig.accounts[''].snapshot().dropped == {}
        # Fails with frames 3, 4 and 5, then from anew.
        rig.heard.wait_for(lambda: len(rig.heard.of('reset')) == 3)
        assert set(rig.heard.of('reset')) == {'inference failed 3 times in a row'}
        assert [r.index for r in rig.heard.of('result')] == [*range(6)] * 3 + [0, 1]


def test_a_window_that_always_fails_under_load_blocks_no_frame():
    with running(Steps()) as rig:
        rig.engine.fault = fail
        with rig.held():
            rig.send(*range(20))
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 20)
        rig.settle()
        # It is tried three times when the second window is nearly full; then all starts anew.
        assert [r.index for r in rig.heard.of('result')] == [*range(7)] * 2 + [*range(6)]
        assert len(rig.heard.of('reset')) == 2


def test_an_overdue_window_that_cannot_be_closed_is_given_up_after_some_tries():
    with running(Steps(), delay=1.0) as rig:
        rig.engine.fault = fail
        with rig.held():
            rig.send(0, 1, ago=LONG_AGO)
        rig.heard.wait_for(lambda: bool(rig.heard.of('reset')))
        rig.settle()
        rig.check_books()
        assert rig.engine.kinds() == [*take(2), 'part', 'part', 'part']
        assert rig.accounts[''].snapshot().dropped_total == 0  # both have masks


def test_one_camera_that_fails_does_not_touch_the_other():
    with running(Steps(), cameras=('a', 'b')) as rig:
        rig.engine.fault = lambda stream: fail() if stream.name == 'a' else None
        for i in range(12):
            rig.send(i, camera='a')
            rig.send(i, camera='b')
        rig.settle()
        rig.heard.wait_for(lambda: rig.engine.streams['b'].windows == [4, 4, 4])
        assert rig.heard.first('a') == rig.heard.first('b') == list(range(12))
        assert rig.heard.of('failure', 'b') == []


def test_a_library_that_wants_to_exit_amid_a_part_does_not_end_the_thread():
    def leave(stream):
        raise SystemExit(3)

    with running(Steps()) as rig:
        rig.engine.fault = leave
        rig.send(*range(4))
        rig.heard.wait_for(lambda: bool(rig.heard.of('reset')))
        rig.engine.fault = lambda stream: None
        assert rig.heard.of('failure') == ['SystemExit: 3']
        rig.send(*range(4, 8))
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])
        assert rig.heard.first() == list(range(8))


# ---- stop, deactivation, reset


def hanging() -> tuple[Rig, threading.Event, threading.Event]:
    """Return a rig whose engine is in the first part of a pass until an event is set."""
    gate, entered = threading.Event(), threading.Event()

    def hang(stream):
        entered.set()
        assert gate.wait(PATIENCE)

    rig = Rig(Steps()).start()
    rig.engine.fault = hang
    rig.send(*range(4))
    assert entered.wait(PATIENCE)
    return rig, gate, entered


def test_stop_amid_a_pass_ends_with_the_part_it_is_at():
    rig, gate, _ = hanging()
    rig.send(4, 5)
    assert not rig.worker.stop(0.0)
    gate.set()
    rig.stop()
    assert rig.engine.kinds() == [*take(4), 'part']
    now = rig.accounts[''].snapshot()
    assert (now.processed, now.dropped) == (4, {INACTIVE: 2})
    assert rig.engine.closed == 1


@pytest.mark.parametrize('how', ['deactivate', 'reset'])
def test_stop_does_not_wait_for_windows_that_are_being_closed_for_good(how):
    rig, gate, _ = hanging()
    getattr(rig.worker, how)()
    assert not rig.worker.stop(0.0)
    gate.set()
    rig.stop()
    assert rig.engine.kinds() == [*take(4), 'part']
    assert rig.accounts[''].snapshot().dropped == {}


def test_stop_amid_a_flush_ends_with_the_part_it_is_at():
    rig, gate, entered = hanging()
    gate.set()
    rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])
    rig.send(4, 5)
    rig.settle()
    gate.clear(), entered.clear()
    done = rig.worker.deactivate()
    assert entered.wait(PATIENCE)
    assert not rig.worker.stop(0.0)
    gate.set()
    rig.stop()
    assert done.result(PATIENCE) is None
    assert rig.engine.kinds() == [*take(4), *PASS, *take(2), 'part']
    assert rig.heard.of('reset') == []


def test_deactivation_ends_the_pass_and_closes_the_unfinished_window():
    rig, gate, _ = hanging()
    rig.send(4, 5)
    done = rig.worker.deactivate()  # drops the two
    gate.set()
    done.result(PATIENCE)
    assert rig.engine.streams['camera'].windows == [4]
    rig.worker.activate()
    rig.send(6, 7)
    rig.settle()
    rig.worker.deactivate().result(PATIENCE)
    assert rig.engine.streams['camera'].windows == [4, 2]
    rig.check_books()
    assert rig.accounts[''].snapshot().dropped == {INACTIVE: 2}
    assert rig.heard.of('reset') == []
    rig.stop()


def test_a_window_that_cannot_be_closed_at_deactivation_is_not_kept():
    with running(Steps()) as rig:
        rig.send(0, 1)
        rig.settle()
        rig.engine.fault = fail
        rig.worker.deactivate().result(PATIENCE)
        assert rig.heard.of('failure') == ['inference failed: MemoryError: full']
        assert rig.heard.of('reset') == ['its last window could not be closed']
        rig.check_books()
        assert rig.accounts[''].snapshot().dropped == {}  # both had masks
        assert rig.pending() == 0


def test_reset_closes_windows_first_and_counts_from_0():
    with running(Steps()) as rig:
        rig.send(*range(6))
        rig.settle()
        rig.worker.reset().result(PATIENCE)
        assert rig.engine.streams['camera'].windows == [4, 2]
        rig.send(0)
        rig.settle()
        results = [(r.index, r.revision) for r in rig.heard.of('result')]
        assert results[-1] == (0, 0)
        assert rig.heard.of('reset') == ['it was asked to']


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
