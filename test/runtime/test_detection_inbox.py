# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detections on their way to their frames: matched by stamp, bounded, every message counted."""

import numpy as np
import pytest
from fault_engine import FaultEngine, well
from hypothesis import given
from hypothesis import strategies as st
from worker_cases import Film, Rig, queued

from detsam2_ros.engine import Detections, Stream
from detsam2_ros.runtime.detection_inbox import (
    CAPACITY,
    EXPLANATIONS,
    MAX_PER_FRAME,
    DetectionInbox,
    Unused,
)
from detsam2_ros.runtime.detections import MAX_CLASSES, NamedDetections, to_detections


def boxes(stamp: int, *classes: str) -> NamedDetections:
    count = len(classes)
    scores = np.full(count, 0.5, np.float32)
    return NamedDetections(stamp, np.zeros((count, 4), np.float32), classes, scores)


class LedEngine(FaultEngine):
    """An engine whose streams keep the detections that come for them, by frame index."""

    def __init__(self, **more):
        super().__init__(detects=False, **more)
        self.found: list[tuple[int, Detections, bool]] = []  # ...; whether its window is open
        self.fault = well

    def open_stream(self, name):
        stream = super().open_stream(name)
        add_detections = stream.add_detections

        def keep(index, found):
            self.check_thread()
            self.fault()
            late = add_detections(index, found)
            self.found.append((index, found, index in stream._state.window))
            return late

        stream.add_detections = keep
        return stream


class LedFilm(Film):
    """A camera's frames with detections for them."""

    def __init__(self, mode: str = 'window'):
        self.reported: list[Unused] = []
        self.inbox = DetectionInbox(self.reported.append)
        super().__init__(LedEngine(mode=mode), detections=self.inbox)

    @property
    def led(self) -> Stream:
        return self.engine.streams['camera']

    def detect(self, *stamps: int) -> None:
        for stamp in stamps:
            if self.inbox.receive(boxes(stamp, 'cup'), {}):
                self.stream.use_detections()

    @property
    def found(self) -> list[tuple[int, bool]]:
        return [(i, waiting) for i, _, waiting in self.engine.found]

    def counts(self) -> tuple[int, int, int, dict[str, int]]:
        now = self.inbox.snapshot()
        assert now.received == now.used + now.waiting + now.unused_total
        return now.received, now.used, now.waiting, dict(now.unused)


# ---- with a camera's frames; its window is 4 frames, a pass reaches 8
def test_before_their_frame_they_wait_and_come_before_its_window_closes():
    film = LedFilm()
    film.detect(3, 0)
    assert film.counts() == (2, 0, 2, {})
    film.push(0, 1, 2, 3)
    assert film.found == [(0, True), (3, True)]
    assert film.windows == [4]
    assert film.counts() == (2, 2, 0, {})


def test_online_they_come_right_after_their_frame():
    film = LedFilm('online')
    film.detect(1)
    film.push(0, 1)
    assert film.found == [(1, True)]
    film.push(2)
    film.detect(2, 0)
    assert film.found == [(1, True), (2, True), (0, True)]
    assert film.counts() == (3, 3, 0, {})


def test_late_ones_go_to_their_frame_and_too_late_ones_do_not():
    film = LedFilm()
    film.push(*range(0, 32, 2))  # 16 frames: those from 12 on may still change
    horizon = film.led.horizon
    film.detect(30, 2 * horizon, 2 * horizon - 2, 2 * horizon + 1, -5)
    assert film.found == [(15, False), (horizon, False)]
    assert film.counts() == (5, 2, 0, {'late': 2, 'no_frame': 1})
    assert film.reported == [Unused.LATE, Unused.NO_FRAME]


def test_of_many_with_one_stamp_some_are_taken():
    film = LedFilm()
    film.detect(0, 0)
    film.push(0)
    film.detect(*[0] * 10)
    assert len(film.found) == MAX_PER_FRAME
    assert film.counts() == (12, MAX_PER_FRAME, 0, {'repeated_stamp': 12 - MAX_PER_FRAME})


def test_those_without_an_image_are_displaced():
    film = LedFilm()
    film.push(0)
    film.detect(*range(1000, 1000 + CAPACITY + 7))
    assert film.counts() == (CAPACITY + 7, 0, CAPACITY, {'expired': 7})
    assert film.reported == [Unused.EXPIRED]
    film.push(1003, 1010)
    assert film.found == [(2, True)]
    assert film.counts()[3] == {'expired': 7, 'no_frame': 3}


def test_a_stream_that_restarts_forgets_them():
    film = LedFilm()
    film.push(50)
    film.detect(51, 52)
    film.push(50 - 10**9)  # time went back
    assert film.counts() == (2, 0, 0, {'stream_reset': 2})
    film.detect(50)  # the same stamp may come again
    film.push(50)
    assert film.found == [(1, True)]


def test_what_the_engine_cannot_use_costs_no_frame():
    def odd():
        raise ValueError('odd')

    film = LedFilm()
    film.push(0)
    film.engine.fault = odd
    film.detect(0, 1)
    film.push(1)
    assert film.counts() == (2, 0, 0, {'failed': 2})
    assert 'ValueError: odd' in film.heard.of('failure')[0]
    film.engine.fault = well
    film.detect(1)
    film.push(2, 3)
    assert film.found == [(1, True)] and film.dropped == {}
    assert len(film.heard.first()) == 4


def test_what_a_defect_keeps_from_being_used_is_counted():
    def leave():
        raise SystemExit(3)

    film = LedFilm()
    film.engine.fault = leave
    film.heard.on_event = lambda event: 1 / 0 if event[0] == 'failure' else None
    film.detect(0, 0, 1)
    film.accounts.receive()
    with pytest.raises(ZeroDivisionError):
        film.stream.push(queued(0))
    assert film.counts() == (3, 0, 1, {'failed': 2})
    film.stream.reset('of an internal error', 'internal_error')
    assert film.counts() == (3, 0, 0, {'failed': 2, 'stream_reset': 1})


def test_classes_are_numbers_names_or_new_names():
    film = LedFilm()
    assert [film.led.class_id(name) for name in ('ball', 'cup')] == [0, 1]
    film.push(0)
    assert film.inbox.receive(boxes(0, 'cup', '7', 'knife', '0', 'cup', 'knife'), {})
    film.stream.use_detections()
    assert film.engine.found[0][1].class_ids.tolist() == [1, 7, 2, 0, 1, 2]
    assert film.heard.of('classes')[-1] == {0: 'ball', 1: 'cup', 2: 'knife'}


def test_what_is_remembered_of_stamps_is_bounded():
    inbox = DetectionInbox()
    for stamp in range(50):
        for _ in range(MAX_PER_FRAME):
            inbox.receive(boxes(stamp), {})
        assert len(inbox.due({s: s for s in range(max(0, stamp - 7), stamp + 1)}, stamp)) == 4
    assert len(inbox._taken) == 8
    inbox.receive(boxes(49), {})
    assert inbox.snapshot().unused == {'repeated_stamp': 1}
    inbox.clear(Unused.RESET)  # a bag that loops: the stamps come again
    inbox.receive(boxes(49), {})
    assert inbox.snapshot().unused == {'repeated_stamp': 1}


def test_a_class_too_many_is_counted_and_the_rest_is_used():
    film = LedFilm()
    for number in range(MAX_CLASSES):
        film.led.class_id(str(number))
    film.push(0)
    assert film.inbox.receive(boxes(0, 'new', '5', 'newer'), {'no_area': 2})
    film.stream.use_detections()
    assert film.engine.found[0][1].class_ids.tolist() == [5]
    assert film.inbox.snapshot().refused == {'no_area': 2, 'too_many_classes': 2}


def test_a_flood_of_class_names_is_bounded():
    names: dict[int, str] = {}

    def new(name: str) -> int:
        names[len(names)] = name
        return len(names) - 1

    for part in range(4):
        many = [f'class {part} {i}' for i in range(400)]
        kept, surplus = to_detections(boxes(0, *many), names, new)
        assert len(kept) + surplus == 400
    assert len(names) == MAX_CLASSES and surplus == 400


def test_a_call_is_asked_for_once_while_many_come():
    inbox = DetectionInbox()
    assert inbox.receive(boxes(0), {})
    assert not inbox.receive(boxes(1), {}) and not inbox.receive(boxes(2), {})
    inbox.due({}, None)
    assert inbox.receive(boxes(3), {})


def test_the_inference_thread_uses_them_and_survives_a_defect():
    inbox = DetectionInbox()
    rig = Rig(LedEngine())
    rig.worker._detections[''] = inbox
    rig.start()
    rig.send(0, 1, 2)
    rig.settle()
    assert inbox.receive(boxes(1, 'cup'), {})
    rig.worker.look_at_detections('')
    rig.barrier()
    assert [entry[0] for entry in rig.engine.found] == [1]
    inbox.due = lambda *_: 1 / 0  # type: ignore[method-assign]
    rig.worker.look_at_detections('')
    rig.barrier()
    assert 'ZeroDivisionError' in rig.heard.of('failure')[-1]
    del inbox.due
    rig.stop()


@given(st.lists(st.tuples(st.sampled_from(['frame', 'found']), st.integers(0, 40)), max_size=120))
def test_every_message_is_accounted_for(steps):
    """Whatever comes in whatever order: each frame gets only what has its stamp, in reach."""
    film = LedFilm()
    newest = -1
    for what, stamp in steps:
        if what == 'found':
            film.detect(stamp)
        elif stamp > newest:
            newest = stamp
            film.push(stamp)
        received, used, waiting, unused = film.counts()
        assert waiting <= CAPACITY and used == len(film.found)
        assert (waiting == 0) or newest < 40
    assert film.dropped == {}


def test_every_reason_is_explained():
    assert set(EXPLANATIONS) == set(Unused)
