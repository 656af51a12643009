# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The inference thread in mode online when a window fails, and when it is to end amid a pass."""

from __future__ import annotations

import threading

import pytest
from worker_cases import PASS, PATIENCE, Rig, Steps, running, takes

from detsam2_ros.runtime.worker import INACTIVE

LONG_AGO = 1000.0  # seconds; more than any delay below


def fail(*_) -> None:
    raise MemoryError('full')


# ---- failures


def test_a_part_that_fails_is_tried_again_with_the_next_frame():
    with running(Steps()) as rig:
        rig.send(*range(3))
        rig.settle()
        rig.engine.fault = fail
        rig.send(3)
        rig.heard.wait_for(lambda: bool(rig.heard.of('failure')))
        rig.settle()
        assert rig.engine.kinds() == [*takes(4), 'part']  # not again and again
        assert rig.heard.of('failure') == [
            'inference failed: MemoryError: full; its corrections wait for the next try']
        rig.engine.fault = lambda stream: None
        rig.send(4)
        rig.heard.wait_for(lambda: rig.engine.streams['camera'].windows == [4])
        assert rig.engine.kinds()[5:] == [*takes(1), *PASS]
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
        assert rig.engine.kinds() == [*takes(2), 'part', 'part', 'part']
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
    assert rig.engine.kinds() == [*takes(4), 'part']
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
    assert rig.engine.kinds() == [*takes(4), 'part']
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
    assert rig.engine.kinds() == [*takes(4), *PASS, *takes(2), 'part']
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
