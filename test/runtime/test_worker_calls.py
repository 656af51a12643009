# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What other threads ask of the inference thread is done between two steps."""

import time

import pytest
from fakes import colour_sam2, detections, disc_box
from fault_engine import PASS, PATIENCE, Gate, Steps, takes, well
from stream_cases import USUAL, film
from worker_cases import LONG_AGO, MODES, running

from detsam2_ros.engine import Engine, EngineConfig, Prompt


@MODES
def test_calls_run_before_the_frames_that_wait_and_between_two_steps(mode):
    order = []
    with running(mode=mode) as rig:
        rig.engine.on_add = lambda stream: order.append('frame')
        with rig.held():
            rig.send(0, 1)
            calls = [rig.worker.call(lambda _, i=i: order.append(i)) for i in range(3)]
        for call in calls:
            call.result(PATIENCE)
        rig.settle()
        assert order == [0, 1, 2, 'frame', 'frame']
        late = []
        rig.engine.on_add = lambda stream: late or late.append(
            rig.worker.call(lambda _: order.append(stream.backlog.frames)))
        with rig.held():
            rig.send(2, 3)
        rig.settle()
        # Asked for while frame 2 was taken: it ran after that one and before frame 3.
        assert order[-1] == 3


@MODES
def test_calls_are_served_between_two_parts(mode):
    gate = Gate()
    with running(Steps(mode=mode)) as rig:
        rig.engine.fault = gate
        rig.send(*range(4))
        gate.wait()
        rig.send(4)
        call = rig.worker.call(lambda engine: list(engine.log))
        gate.pass_on()
        assert call.result(PATIENCE)[-1] == ('camera', 'part')  # before the frame too
        gate.pass_on(10)
        rig.wait_for_windows(4)


@pytest.mark.parametrize('frames', [4, 7])  # the next one would have to wait, or not
def test_a_call_that_undoes_a_pass_for_which_nothing_waits_is_not_kept_waiting(frames):
    gate = Gate()
    with running(Steps()) as rig:
        rig.engine.fault = gate
        with rig.held():
            rig.send(*range(frames))
        for _ in range(5):
            gate.wait()
            call = rig.worker.call(lambda engine: engine.streams['camera'].unload_bank())
            gate.pass_on()
            call.result(PATIENCE)
        gate.pass_on(10)
        rig.wait_for_windows(4)


@MODES
def test_calls_that_undo_a_pass_again_and_again_do_not_keep_frames_waiting(mode):
    """As memory banks do that are swapped faster than a pass can end."""
    calls = []

    def swap(engine):
        engine.streams['camera'].unload_bank()

    with running(Steps(mode=mode)) as rig:
        rig.engine.fault = lambda stream: calls.append(rig.worker.call(swap))
        with rig.held():
            rig.send(*range(20))
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 20)
        rig.engine.fault = well
        for call in calls:
            call.result(PATIENCE)
        rig.heard.wait_for(lambda: sum(rig.windows()) == 20)
        # Once undone, then done as a whole, each time.
        begin = 7 if mode == 'online' else 4
        assert rig.engine.kinds()[begin : begin + 5] == ['part', *PASS]


def test_calls_that_undo_a_window_of_a_stopped_camera_do_not_keep_its_frames_waiting():
    calls = []

    def swap(engine):
        engine.streams['camera'].unload_bank()

    with running(Steps(mode='window'), delay=1.0) as rig:
        rig.engine.fault = lambda stream: calls.append(rig.worker.call(swap))
        with rig.held():
            rig.send(0, 1, ago=LONG_AGO)
        rig.heard.wait_for(lambda: len(rig.heard.first()) == 2)
        rig.engine.fault = well
        for call in calls:
            call.result(PATIENCE)
        assert rig.engine.kinds() == [*takes(2), 'part', *PASS]


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


# ---- prompts
@MODES
def test_a_prompt_that_no_frame_follows_acts_after_max_window_delay(mode):
    engine = Engine(colour_sam2(), None, EngineConfig(mode=mode, windows='plain', **USUAL))
    with running(engine, delay=0.2) as rig:
        for index, picture in enumerate(film(12)):
            rig.send(1000 * index, picture=picture)
        rig.settle()
        before = len(rig.heard.of('result'))
        assert before >= 12

        def prompt(engine: Engine) -> float:
            engine.streams['camera'].prompt(9, Prompt(box=disc_box(21, 24)), 'ball')
            return time.monotonic()

        begin = rig.worker.call(prompt).result(PATIENCE)
        rig.heard.wait_for(lambda: len(rig.heard.of('result')) >= before + 4)
        assert time.monotonic() - begin > 0.15
        assert {r.index for r in rig.heard.of('result')[before:]} == {8, 9, 10, 11}
        time.sleep(0.5)  # and once is enough
        assert len(rig.heard.of('result')) == before + 4
        rig.worker.call(lambda engine: engine.streams['camera'].add_detections(
            11, detections([(0, disc_box(23, 24))]))).result(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while rig.worker.call(
            lambda engine: engine.streams['camera'].backlog.corrections
        ).result(PATIENCE):
            assert time.monotonic() < deadline
            time.sleep(0.02)


@MODES
def test_a_prompt_amid_a_pass_is_part_of_it_and_costs_no_frame(mode):
    gate = Gate()
    with running(Steps(mode=mode), delay=0.2) as rig:
        rig.engine.fault = gate
        for index, picture in enumerate(film(4)):
            rig.send(1000 * index, picture=picture)
        gate.wait()
        call = rig.worker.call(lambda engine: engine.streams['camera'].prompt(
            2, Prompt(box=disc_box(14, 24)), 'ball'))
        gate.pass_on()
        assert call.result(PATIENCE).object.mask
        rig.engine.fault = well
        gate.pass_on(9)
        rig.wait_for_windows(4)
        rig.settle()
        rig.check_books()
        assert len(rig.heard.first()) == 4
        last = {r.index: r for r in rig.heard.of('result')}
        assert all(last[index].labels.any() for index in range(4))
        assert not rig.engine.streams['camera'].backlog.corrections
