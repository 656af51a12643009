# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The inference thread ends from every state: nobody is left waiting, no frame uncounted."""

import threading
import weakref

import numpy as np
import pytest
from fakes import ColourDetector, colour_sam2, scene
from fault_engine import PATIENCE, FaultEngine, Gate, fail, well
from worker_cases import MODES, Rig, running

from detsam2_ros.engine import Engine, EngineConfig, ModelError
from detsam2_ros.runtime.frame_queue import INACTIVE
from detsam2_ros.runtime.publish_queue import PublishQueue
from detsam2_ros.runtime.worker import INTERNAL, WorkerStoppedError


def stopped(call) -> bool:
    """Return whether a future was refused because the thread ended."""
    return isinstance(call.exception(PATIENCE), WorkerStoppedError)


# ---- stop, from every state
def test_stop_before_start_and_everything_after_it():
    rig = Rig()
    early = rig.worker.call(lambda _: 1)
    assert rig.worker.stop(0.0)
    assert stopped(early)
    assert stopped(rig.worker.call(lambda _: 1))
    assert stopped(rig.worker.reset()) and stopped(rig.worker.deactivate())
    rig.worker.activate()
    rig.send(0)
    assert rig.accounts[''].snapshot().dropped == {INACTIVE: 1}
    assert rig.worker.waiting() == {'': 0}
    assert rig.worker.stop(0.0)


def test_a_start_after_stop_loads_nothing():
    rig = Rig()
    rig.worker.stop(0.0)
    made = rig.worker.start(lambda: pytest.fail('it was loaded'))
    assert stopped(made)
    assert rig.worker.stop(PATIENCE)


def test_what_is_asked_for_before_start_waits_for_the_engine():
    rig = Rig()
    early = rig.worker.call(lambda engine: engine)
    rig.start()
    assert early.result(PATIENCE) is rig.engine
    rig.stop()


def test_stop_while_the_models_load_ends_the_thread_after_that():
    rig = Rig()
    entered, gate = threading.Event(), threading.Event()

    def make():
        rig.engine.thread = threading.get_ident()
        entered.set()
        assert gate.wait(PATIENCE)
        return rig.engine

    made = rig.worker.start(make)
    assert entered.wait(PATIENCE)
    waiting = rig.worker.call(lambda _: 1)
    assert not rig.worker.stop(0.0)
    assert stopped(waiting)  # at once, not after the models
    gate.set()
    assert rig.worker.stop(PATIENCE)
    assert made.result(PATIENCE) is rig.engine
    assert (rig.engine.closed, rig.worker.engine) == (1, None)


@MODES
def test_stop_with_frames_in_queue_window_and_pass_counts_them_all(mode):
    rig = Rig(cameras=('a', 'b'), mode=mode).start()
    rig.send(0, 1, camera='b')
    rig.settle()
    with rig.held() as gate:
        rig.send(*range(6), camera='a')
        calls = [rig.worker.call(lambda _: 1), rig.worker.reset()]
        assert not rig.worker.stop(0.0)
        assert all(stopped(call) for call in calls)
        gate.pass_on()
    rig.stop()
    assert rig.accounts['a'].snapshot().dropped == {INACTIVE: 6}
    lost = {INACTIVE: 2} if mode == 'window' else {}  # online both had masks
    assert rig.accounts['b'].snapshot().dropped == lost
    assert rig.engine.closed == 1
    assert rig.worker.stop(0.0)


def test_a_stuck_engine_keeps_nobody_waiting():
    rig = Rig().start()
    stuck = rig.engine.on_end = Gate()
    rig.send(*range(6))
    stuck.wait()
    calls = [rig.worker.call(lambda _: 1), rig.worker.deactivate(), rig.worker.reset()]
    assert not rig.worker.stop(0.01)
    assert all(stopped(call) for call in calls)
    assert stopped(rig.worker.call(lambda _: 1))
    now = rig.accounts[''].snapshot()
    assert (now.waiting, now.dropped) == (4, {INACTIVE: 2})
    stuck.pass_on()  # and if it ever comes back
    rig.stop()
    assert rig.heard.first() == [0, 1, 2, 3]


def test_a_flush_that_a_stop_cannot_wait_for_ends_with_the_camera_it_is_at():
    rig = Rig(cameras=('a', 'b')).start()
    for camera in 'ab':
        rig.send(0, camera=camera)
    rig.settle()
    gate, flushed = Gate(), []
    rig.engine.on_end = lambda stream: flushed.append(stream.name) or gate()
    rig.worker.deactivate()
    gate.wait()
    assert not rig.worker.stop(0.0)
    gate.pass_on()
    rig.stop()
    assert flushed == ['a']
    assert rig.accounts['b'].snapshot().dropped == {INACTIVE: 1}


def test_a_cancelled_call_does_not_keep_stop_from_refusing_the_others():
    rig = Rig().start()
    with rig.held():
        calls = [rig.worker.call(lambda _: 1) for _ in range(3)]
        assert calls[0].cancel()
        rig.worker.stop(0.0)
        assert [stopped(call) for call in calls[1:]] == [True, True]
    rig.stop()


def test_stop_while_a_result_waits_for_a_full_publish_queue():
    gate = threading.Event()
    queue = PublishQueue(1)
    rig = Rig()
    rig.heard.on_event = lambda event: queue.post(lambda: gate.wait(PATIENCE))
    rig.start()
    rig.send(*range(4))
    rig.heard.wait_for(lambda: len(rig.heard.events) >= 3)  # one runs, one waits, one is blocked
    call = rig.worker.call(lambda _: 1)
    assert not rig.worker.stop(0.01)
    assert stopped(call)
    assert not queue.stop(0.01)  # gives the blocked result up
    rig.stop()
    gate.set()
    assert queue.stop(PATIENCE)


@pytest.mark.parametrize('seed', range(3))
def test_stop_races_with_calls_frames_and_transitions(seed):
    for round_ in range(20):
        rig = Rig(cameras=('a', 'b'), queue=3).start()
        calls, ready = [], threading.Barrier(3)

        def ask(rig=rig, calls=calls, ready=ready, kind=(seed + round_) % 3):
            ready.wait(PATIENCE)
            for i in range(50):
                calls.append((rig.worker.reset, rig.worker.deactivate,
                              lambda: rig.worker.call(lambda _: 1))[(kind + i) % 3]())
                rig.worker.activate()

        def offer(rig=rig, ready=ready):
            ready.wait(PATIENCE)
            for i in range(50):
                rig.send(i, camera='ab'[i % 2])

        threads = [threading.Thread(target=ask), threading.Thread(target=offer)]
        for thread in threads:
            thread.start()
        ready.wait(PATIENCE)
        assert rig.worker.stop(PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)
        for call in calls:
            assert call.exception(PATIENCE) is None or stopped(call)
        rig.stop()


# ---- the engine's end
def test_no_model_is_held_when_the_engine_closes():
    """Its memory is given back to the driver there: what still holds the model prevents it."""
    freed = []

    class Watched(Engine):
        def close(self):
            model = weakref.ref(self.model)
            super().close()
            freed.append(model() is None)

    rig = Rig(cameras=('a', 'b'))
    settings = EngineConfig(window_size=4, detect_interval=4, max_propagation=8, mode='window')
    made = rig.worker.start(lambda: Watched(colour_sam2(), ColourDetector(['red']), settings))
    made.result(PATIENCE)
    rig.engine = made.result()
    rig.worker.activate()
    for camera in 'ab':
        rig.send(*range(6), camera=camera, picture=scene(('red', 20, 20), size=(48, 64)))
    rig.settle()
    rig.stop()
    assert freed == [True]


def test_what_did_load_is_freed_when_the_rest_cannot_be():
    models = []

    def make():
        model = colour_sam2()
        models.append(weakref.ref(model))
        raise ModelError('no such detector')

    rig = Rig()
    made = rig.worker.start(make)
    error = made.exception(PATIENCE)
    assert isinstance(error, ModelError)
    assert models[0]() is None
    assert rig.worker.stop(PATIENCE)


@pytest.mark.parametrize('error', [ModelError('no such file'), MemoryError(), SystemExit(1)])
def test_an_engine_that_cannot_be_made_is_reported_and_ends_the_thread(error):
    rig = Rig()

    def make():
        raise error

    made = rig.worker.start(make)
    assert made.exception(PATIENCE) is error
    rig.worker.activate()
    rig.send(*range(3))
    assert stopped(rig.worker.call(lambda engine: engine.streams))
    assert rig.worker.engine is None
    assert rig.worker.stop(PATIENCE)
    assert rig.accounts[''].snapshot().dropped == {INACTIVE: 3}


# ---- defects
def test_a_defect_in_a_step_is_reported_and_the_stream_restarts(caplog):
    with running(cameras=('a', 'b')) as rig:
        rig.send(0, 1, camera='b')
        rig.settle()
        rig.heard.on_event = lambda event: 1 / 0 if event[0] == 'result' else None
        rig.send(*range(4), camera='a')
        rig.settle()
        rig.heard.on_event = lambda event: None
        assert rig.heard.of('failure', 'a') == ['ZeroDivisionError: division by zero']
        assert rig.heard.of('reset', 'a') == ['of an internal error']
        # The first result counts as processed, the others as lost.
        assert rig.accounts['a'].snapshot().dropped == {INTERNAL: 3}
        assert 'ZeroDivisionError' in caplog.text
        rig.send(*range(4), camera='a')
        rig.send(2, 3, camera='b')
        rig.settle()
        assert rig.heard.first('a') == [0, 0, 1, 2, 3]
        assert rig.heard.first('b') == [0, 1, 2, 3]
        assert rig.heard.of('reset', 'b') == []


@MODES
@pytest.mark.parametrize('where', ['on_add', 'on_part', 'on_end'])
def test_a_library_that_wants_to_exit_does_not_end_the_thread(where, mode):
    def leave(stream):
        raise SystemExit(3)

    with running(mode=mode) as rig:
        setattr(rig.engine, where, leave)
        rig.send(*range(4))
        rig.settle()
        setattr(rig.engine, where, well)
        assert rig.heard.of('failure')[0] == 'SystemExit: 3'
        assert len(rig.heard.of('failure')) == (4 if where == 'on_add' else 1)
        rig.send(*range(4, 8))
        rig.settle()
        assert rig.heard.first()[-4:] == [4, 5, 6, 7]
        assert rig.windows() == [4]
        assert len(rig.heard.first()) == (8 if mode == 'online' and where != 'on_add' else 4)


def test_a_thread_that_ends_for_another_reason_leaves_nobody_waiting(caplog):
    rig = Rig().start()
    with rig.held():
        rig.heard.on_event = lambda event: 1 / 0  # also when it hears of the failure
        rig.send(*range(8))
    rig.heard.wait_for(lambda: bool(rig.heard.of('failure')))
    assert stopped(rig.worker.call(lambda _: 1))
    assert rig.worker.stop(PATIENCE)
    assert 'the inference thread ends' in caplog.text
    now = rig.accounts[''].snapshot()
    assert (now.waiting, now.received) == (0, 8)
    assert rig.engine.closed == 1


def test_an_engine_that_cannot_be_closed_ends_the_thread_all_the_same(caplog):
    class Broken(FaultEngine):
        def close(self):
            raise RuntimeError('CUDA error: an illegal memory access was encountered')

    rig = Rig(Broken()).start()
    rig.send(0)
    rig.settle()
    call = None
    with rig.held():
        call = rig.worker.call(lambda _: 1)
        rig.worker.stop(0.0)
    rig.stop()
    assert stopped(call)
    assert rig.worker.engine is None
    assert 'illegal memory access' in caplog.text


def test_a_stream_that_cannot_be_reset_at_the_end_takes_no_frame_of_another_with_it(caplog):
    rig = Rig(cameras=('a', 'b')).start()
    for camera in 'ab':
        rig.send(0, camera=camera)
    rig.settle()
    for stream in rig.engine.streams.values():
        stream.reset = fail
    rig.stop()
    assert rig.engine.closed == 1
    assert caplog.text.count('a stream could not be reset') == 2


def test_images_of_dropped_frames_are_let_go():
    rig = Rig(queue=2).start()
    with rig.held():
        pictures = [np.zeros((4, 6, 3), np.uint8) for _ in range(5)]
        alive = [weakref.ref(p) for p in pictures]
        for i, picture in enumerate(pictures):
            rig.send(i, picture=picture)
        del picture, pictures
        assert [a() is not None for a in alive] == [False, False, False, True, True]
        rig.worker.deactivate()
        assert not any(a() for a in alive[:3])
    rig.barrier()
    assert [a() for a in alive] == [None] * 5
    rig.stop()
