# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The publishing thread: order, back pressure, failures, and an end in bounded time."""

import threading
import time
import weakref

import pytest
from fault_engine import PATIENCE, together

from detsam2_ros.runtime.publish_queue import PublishQueue


class Gate:
    """An action that runs until it is opened."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.open.wait(PATIENCE)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


def blocked(queue: PublishQueue, gate: Gate, more: int = 0) -> None:
    """Keep the thread busy, with some posts waiting behind."""
    queue.post(gate)
    assert gate.entered.wait(PATIENCE)
    for _ in range(more):
        queue.post(lambda: None)


def test_posts_are_done_in_order_on_one_thread():
    queue, done = PublishQueue(5), []
    for i in range(200):
        assert queue.post(lambda i=i: done.append((i, threading.get_ident())))
    assert queue.stop(PATIENCE)
    assert [i for i, _ in done] == list(range(200))
    assert len({thread for _, thread in done} - {threading.get_ident()}) == 1


def test_an_action_that_fails_is_logged_and_keeps_nothing_back(caplog):
    queue, done = PublishQueue(5), []

    def fail(i):
        raise RuntimeError(f'no such publisher {i // 2}')

    for i in range(3):
        queue.post(lambda i=i: fail(i))
        queue.post(lambda i=i: done.append(i))
    assert queue.drain(PATIENCE)
    assert done == [0, 1, 2]
    # The same is not said again for every message.
    assert caplog.text.count('RuntimeError: no such publisher 0') == 1
    assert caplog.text.count('RuntimeError: no such publisher 1') == 1
    assert queue.stop(PATIENCE)


def test_a_library_that_wants_to_exit_does_not_end_the_thread(caplog):
    """Inference would wait for ever for room in the queue."""
    queue, done = PublishQueue(10), []

    def leave():
        raise SystemExit(3)

    for i in range(3):
        queue.post(leave)
        queue.post(lambda i=i: done.append(i))
    assert queue.stop(PATIENCE)
    assert done == [0, 1, 2]
    assert caplog.text.count('SystemExit: 3') == 1


def test_post_waits_while_as_many_wait_as_there_is_room(gate):
    queue, done = PublishQueue(3), []
    blocked(queue, gate, 3)
    begun, ended = threading.Event(), threading.Event()

    def post():
        begun.set()
        queue.post(lambda: done.append(gate.open.is_set()))
        ended.set()

    poster = threading.Thread(target=post)
    poster.start()
    assert begun.wait(PATIENCE)
    assert not ended.wait(0.05)
    assert len(queue._waiting) == 3
    gate.open.set()
    assert ended.wait(PATIENCE)
    poster.join(PATIENCE)
    assert queue.stop(PATIENCE)
    assert done == [True]


def test_drain_waits_for_what_was_posted_before_and_no_longer(gate):
    queue, done = PublishQueue(100), []
    assert queue.drain(0.0)  # nothing to wait for
    queue.post(lambda: done.append(1))
    assert queue.drain(PATIENCE)
    assert done == [1]
    second = Gate()
    blocked(queue, gate, 2)
    assert not queue.drain(0.01)
    drained, begun, wait_for = [], threading.Event(), queue._changed.wait_for

    def noted(condition, timeout=None):
        if timeout is not None:
            begun.set()
        return wait_for(condition, timeout)

    queue._changed.wait_for = noted
    drainer = threading.Thread(target=lambda: drained.append(queue.drain(PATIENCE)))
    drainer.start()
    assert begun.wait(PATIENCE)
    queue.post(second)
    gate.open.set()
    drainer.join(PATIENCE)
    assert drained == [True]
    assert not queue.drain(0.01)
    second.open.set()
    assert queue.stop(PATIENCE)


def test_drain_and_stop_keep_their_time_also_when_the_queue_is_full(gate):
    queue = PublishQueue(2)
    blocked(queue, gate, 2)
    begin = time.monotonic()
    assert not queue.drain(0.02)
    assert not queue.stop(0.02)
    assert time.monotonic() - begin < PATIENCE / 4
    gate.open.set()
    assert queue.stop(PATIENCE)


def test_stop_does_what_was_posted_before():
    queue, done, gate = PublishQueue(10), [], Gate()
    queue.post(gate)
    for i in range(5):
        queue.post(lambda i=i: done.append(i))
    stopped = []
    stopper = threading.Thread(target=lambda: stopped.append(queue.stop(PATIENCE)))
    stopper.start()
    gate.open.set()
    stopper.join(PATIENCE)
    assert stopped == [True]
    assert done == [0, 1, 2, 3, 4]
    assert queue.drain(0.0)


def test_what_stop_could_not_wait_for_is_dropped(gate, caplog):
    """Its publishers are destroyed then: each message would fail with a traceback."""
    queue, done = PublishQueue(10), []
    blocked(queue, gate)
    for i in range(5):
        queue.post(lambda i=i: done.append(i))
    assert not queue.stop(0.0)
    gate.open.set()
    assert queue.stop(PATIENCE)
    assert queue.drain(0.0)
    assert done == []


def test_a_post_after_stop_is_refused_and_never_waits(gate):
    queue, done = PublishQueue(1), []
    blocked(queue, gate, 1)
    answers = []
    waiting = threading.Thread(
        target=lambda: answers.append(queue.post(lambda: done.append('late'))))
    waiting.start()
    assert not queue.stop(0.0)
    waiting.join(PATIENCE)
    assert answers == [False]
    assert queue.post(lambda: done.append('later')) is False
    gate.open.set()
    assert queue.stop(PATIENCE)
    assert queue.post(lambda: done.append('latest')) is False
    assert done == []


def test_many_posters_lose_nothing_and_keep_their_own_order():
    queue, done = PublishQueue(3), []

    def post(number):
        for i in range(200):
            queue.post(lambda i=i: done.append((number, i)))

    together(*[lambda n=n: post(n) for n in range(4)])
    assert queue.stop(PATIENCE)
    for number in range(4):
        assert [i for n, i in done if n == number] == list(range(200))


def test_what_was_published_is_let_go():
    class Result:
        pass

    queue, result = PublishQueue(3), Result()
    alive = weakref.ref(result)
    queue.post(lambda result=result: None)
    del result
    assert queue.drain(PATIENCE)
    assert alive() is None
    assert queue.stop(PATIENCE)
