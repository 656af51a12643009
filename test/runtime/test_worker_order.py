# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the inference thread does first, when a window fails, and when it ends amid a pass."""

import threading
import time

import pytest
from fault_engine import PASS, PATIENCE, Gate, Steps, fail, takes, well
from worker_cases import LONG_AGO, MODES, Rig, running

from detsam2_ros.runtime.camera_stream import FAILED
from detsam2_ros.runtime.frame_queue import INACTIVE, QUEUE_FULL


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
        rig.wait_for_windows(4)
        rig.settle()
        assert rig.engine.kinds() == takes(5) + PASS


def test_a_frame_that_comes_amid_a_pass_waits_for_one_part_at_most():
    gate = Gate()
    with running(Steps()) as rig:
        rig.engine.fault = gate
        rig.send(*range(4))
        for part in range(1, 4):  # a frame during each part
            gate.wait()
            rig.send(3 + part)
            gate.pass_on()
            rig.heard.wait_for(lambda part=part: rig.heard.first()[-1:] == [3 + part])
            assert rig.engine.kinds().count('part') <= part + 1
        rig.wait_for_windows(4)
        assert rig.engine.kinds() == [
            *takes(4), 'part', 'take', 'part', 'take', 'part', 'end', 'take']


# ---- no pass falls behind
def test_a_window_is_closed_before_the_next_one_is_full():
    with running(Steps()) as rig:
        with rig.held():
            rig.send(*range(13))
        rig.wait_for_windows(4, 4, 4)
        rig.settle()
        assert rig.engine.kinds() == takes(7) + PASS + takes(4) + PASS + takes(2) + PASS
        assert rig.heard.first() == list(range(13))


def test_in_mode_window_a_window_is_closed_before_the_next_frame_is_taken():
    with running(Steps(mode='window')) as rig:
        with rig.held():
            rig.send(*range(13))
        rig.wait_for_windows(4, 4, 4)
        rig.settle()
        assert rig.engine.kinds() == (takes(4) + PASS) * 3 + takes(1)
        assert rig.heard.first() == list(range(12))


@MODES
@pytest.mark.parametrize('window, reach', [(1, 1), (1, 3), (2, 2), (5, 12)])
def test_other_windows_do_not_fall_behind_either(window, reach, mode):
    with running(Steps(window=window, reach=reach, mode=mode)) as rig:
        with rig.held():
            rig.send(*range(40))
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 40)
        rig.settle()
        rig.wait_for_windows(*[window] * (40 // window))


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
        turns = [('a', 'take'), ('b', 'take')] * 3
        assert rig.engine.log[:10] == turns + [('a', 'take')] * 4
        assert rig.heard.first('a') == list(range(9))


def test_a_camera_that_must_close_a_window_shares_the_turns_with_others():
    with running(Steps(), cameras=('a', 'b')) as rig:
        with rig.held():
            rig.send(*range(7), camera='a')
        rig.settle()
        rig.engine.log.clear()
        with rig.held():
            rig.send(*range(7, 12), camera='a', ago=50.0)  # the last one waits for a window
            rig.send(*range(6), camera='b', ago=10.0)
        rig.settle()
        turns = [what for turn in (('a', 'b'),) * 4 for what in turn]
        assert [camera for camera, what in rig.engine.log if what != 'end'][:8] == turns
        assert [what for camera, what in rig.engine.log if camera == 'a'][3:5] == ['take', 'part']


@MODES
def test_the_window_that_has_waited_longest_is_closed_first_and_as_a_whole(mode):
    with running(Steps(mode=mode), cameras=('a', 'b')) as rig:
        with rig.held():
            rig.send(*range(4), camera='a', ago=1.0)
            rig.send(*range(4), camera='b', ago=2.0)
        rig.wait_for_windows(4, camera='a')
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
        assert rig.windows('a') == [2]


# ---- max_window_delay
def test_a_frame_goes_between_the_parts_of_a_window_that_closes_early():
    with running(Steps(), delay=1.0) as rig:
        rig.engine.fault = lambda stream: (
            rig.send(2) if rig.engine.kinds()[-2:] == ['take', 'part'] else None)
        with rig.held():
            rig.send(0, 1, ago=LONG_AGO)
        rig.heard.wait_for(lambda: 2 in rig.windows())
        # Frame 2 is not of that window.
        assert rig.engine.kinds()[:7] == [*takes(2), 'part', 'take', 'part', 'part', 'end']


# ---- windows that fail
@MODES
def test_a_window_that_failed_is_tried_again_with_the_next_frame(mode):
    with running(Steps(mode=mode)) as rig:
        rig.send(*range(3))
        rig.settle()
        rig.engine.fault = fail
        rig.send(3)
        rig.heard.wait_for(lambda: bool(rig.heard.of('failure')))
        rig.settle()
        assert rig.engine.kinds() == [*takes(4), 'part']  # not again and again
        what = 'frames' if mode == 'window' else 'corrections'
        assert rig.heard.of('failure') == [
            f'inference failed: MemoryError: full; its {what} wait for the next try']
        rig.engine.fault = well
        rig.send(4)
        rig.wait_for_windows(4)
        assert rig.engine.kinds()[5:] == [*takes(1), *PASS]
        rig.settle()
        rig.check_books()
        assert rig.heard.of('reset') == []


@pytest.mark.parametrize('at', ['on_part', 'on_end'])
def test_a_window_that_always_fails_restarts_the_stream_and_blocks_no_frame(at):
    """Also where the failure is in its last part: parts that succeed do not make it forgotten."""
    with running(Steps()) as rig:
        setattr(rig.engine, at, fail)
        for i in range(20):
            rig.send(i)
            rig.heard.wait_for(lambda i=i: rig.heard.first()[-1:] == [i])
            rig.settle()
        rig.check_books()
        assert rig.accounts[''].snapshot().dropped == {}
        # Fails with frames 3, 4 and 5, then after the restart again.
        rig.heard.wait_for(lambda: len(rig.heard.of('reset')) == 3)
        assert set(rig.heard.of('reset')) == {'inference failed 3 times in a row'}
        assert [r.index for r in rig.heard.of('result')] == [*range(6)] * 3 + [0, 1]


@MODES
def test_a_window_that_always_fails_under_load_blocks_no_frame(mode):
    with running(Steps(mode=mode)) as rig:
        rig.engine.fault = fail
        with rig.held():
            rig.send(*range(20))
        rig.settle()
        if mode == 'window':  # tried with the fourth frame and the next two
            assert rig.accounts[''].snapshot().dropped == {FAILED: 18}
            assert len(rig.heard.of('reset')) == 3
        else:  # tried three times when the second window is nearly full
            assert len(rig.heard.first()) == 20
            assert [r.index for r in rig.heard.of('result')] == [*range(7)] * 2 + [*range(6)]
            assert len(rig.heard.of('reset')) == 2


@MODES
def test_an_overdue_window_that_cannot_be_closed_is_given_up_after_some_tries(mode):
    with running(Steps(mode=mode), delay=1.0) as rig:
        rig.engine.fault = fail
        with rig.held():
            rig.send(0, 1, ago=LONG_AGO)
        rig.heard.wait_for(lambda: bool(rig.heard.of('reset')))
        rig.settle()
        rig.check_books()
        assert rig.engine.kinds() == [*takes(2), 'part', 'part', 'part']
        lost = 2 if mode == 'window' else 0  # online both have masks
        assert rig.accounts[''].snapshot().dropped_total == lost


@MODES
def test_one_camera_that_fails_does_not_touch_the_other(mode):
    with running(Steps(mode=mode), cameras=('a', 'b')) as rig:
        rig.engine.fault = lambda stream: fail() if stream.name == 'a' else None
        for i in range(12):
            rig.send(i, camera='a')
            rig.send(i, camera='b')
        rig.settle()
        rig.wait_for_windows(4, 4, 4, camera='b')
        assert rig.heard.first('a') == ([] if mode == 'window' else list(range(12)))
        assert rig.heard.first('b') == list(range(12))
        assert rig.heard.of('failure', 'b') == []


# ---- stop, deactivation, reset amid a pass
def hanging(mode: str) -> tuple[Rig, Gate]:
    """Return a rig whose engine is in the first part of a pass until the gate lets it go on."""
    rig, gate = Rig(Steps(mode=mode)).start(), Gate()
    rig.engine.fault = gate
    rig.send(*range(4))
    gate.wait()
    return rig, gate


@MODES
def test_stop_amid_a_pass_ends_with_the_part_it_is_at(mode):
    rig, gate = hanging(mode)
    rig.send(4, 5)
    assert not rig.worker.stop(0.0)
    gate.pass_on()
    rig.stop()
    assert rig.engine.kinds() == [*takes(4), 'part']
    now = rig.accounts[''].snapshot()
    assert (now.processed, now.dropped) == (
        (0, {INACTIVE: 6}) if mode == 'window' else (4, {INACTIVE: 2}))
    assert rig.engine.closed == 1


@MODES
@pytest.mark.parametrize('how', ['deactivate', 'reset'])
def test_stop_does_not_wait_for_windows_that_are_being_closed_for_good(how, mode):
    rig, gate = hanging(mode)
    getattr(rig.worker, how)()
    assert not rig.worker.stop(0.0)
    gate.pass_on()
    rig.stop()
    assert rig.engine.kinds() == [*takes(4), 'part']
    lost = {INACTIVE: 4} if mode == 'window' else {}  # none that failed
    assert rig.accounts[''].snapshot().dropped == lost


@MODES
def test_stop_amid_a_flush_ends_with_the_part_it_is_at(mode):
    rig, gate = hanging(mode)
    gate.pass_on(3)
    rig.wait_for_windows(4)
    rig.send(4, 5)
    rig.settle()
    gate.entered = threading.Semaphore(0)
    done = rig.worker.deactivate()
    gate.wait()
    assert not rig.worker.stop(0.0)
    gate.pass_on()
    rig.stop()
    assert done.result(PATIENCE) is None
    assert rig.engine.kinds() == [*takes(4), *PASS, *takes(2), 'part']
    assert rig.heard.of('reset') == []


@MODES
def test_deactivation_ends_the_pass_and_closes_the_unfinished_window(mode):
    rig, gate = hanging(mode)
    rig.send(4, 5)
    done = rig.worker.deactivate()  # drops the two
    gate.pass_on(99)
    done.result(PATIENCE)
    assert rig.windows() == [4]
    rig.worker.activate()
    rig.send(6, 7)
    rig.settle()
    rig.worker.deactivate().result(PATIENCE)
    assert rig.windows() == [4, 2]
    rig.check_books()
    assert rig.accounts[''].snapshot().dropped == {INACTIVE: 2}
    assert rig.heard.of('reset') == []
    rig.stop()
