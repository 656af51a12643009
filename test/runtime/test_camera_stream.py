# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames through its stream: what starts it anew, what fails, what is counted."""

from __future__ import annotations

import weakref
from collections import Counter

import numpy as np
import pytest
from fakes import BrokenDetector, ColourDetector, colour_sam2, scene
from hypothesis import given
from hypothesis import strategies as st
from worker_cases import FakeEngine, Film, image, ticket

from detsam2_ros.engine import Engine, EngineConfig, ImageError
from detsam2_ros.engine.tracking.window import WindowPass
from detsam2_ros.runtime.camera_stream import FAILED, FAILURES_BEFORE_RESET, REFUSED, SAME_STAMP

SETTINGS = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 8, 'mode': 'window'}
SECOND = 10**9


def fail(*_) -> None:
    raise MemoryError('full')


def refuse(*_) -> None:
    raise ImageError('not like this')


def well(*_) -> None:
    return None


# ---- time and size


def test_time_that_goes_back_publishes_what_waits_and_starts_anew():
    film = Film()
    film.push(*(i * SECOND for i in range(6)))
    film.push(2 * SECOND)
    assert film.heard.first() == [i * SECOND for i in range(6)]
    assert film.heard.of('reset') == ['time went back by 3.000 s']
    film.push(*(i * SECOND for i in range(3, 6)))
    assert [(r.index, r.stamp) for r in film.heard.of('result') if r.revision == 0][6:] == [
        (i, (i + 2) * SECOND) for i in range(4)]
    assert film.dropped == {}


def test_a_recording_that_loops_starts_anew_each_time():
    film = Film()
    for _ in range(3):
        film.push(*range(5))
    assert len(film.heard.of('reset')) == 2
    assert film.heard.first() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3]


def test_a_repeated_stamp_is_dropped_and_the_stream_goes_on():
    film = Film()
    film.push(0, 1, 1, 1, 2, 2, 3)
    assert film.dropped == {SAME_STAMP: 3}
    assert film.heard.of('dropped') == [SAME_STAMP] * 3
    assert film.heard.first() == [0, 1, 2, 3]
    assert film.heard.of('reset') == []


def test_stamps_that_are_all_zero_give_one_frame_not_endless_resets():
    film = Film()
    film.push(*[0] * 9)
    assert film.dropped == {SAME_STAMP: 8}


def test_a_stamp_may_come_again_after_a_reset():
    film = Film()
    film.push(5)
    film.stream.restart('it was asked to')
    film.push(5, 6)
    assert film.dropped == {}
    assert film.stream.waiting == 2


def test_negative_stamps_are_in_order_too():
    film = Film()
    film.push(-3, -2, -1, 0)
    assert film.heard.first() == [-3, -2, -1, 0]


@pytest.mark.parametrize('frames', [1, 3, 6])
def test_another_size_in_the_middle_of_a_window(frames):
    film = Film()
    film.push(*range(frames))
    film.push(*range(frames, frames + 4), picture=image((8, 6, 3)))
    assert film.heard.first() == list(range(frames + 4))
    assert film.heard.of('reset') == ['the image size changed from 6x4 to 6x8']
    # Their masks first, then the reset, then the others.
    kinds = [event[0] for event in film.heard.events]
    assert kinds.index('reset') > kinds.index('result')
    assert film.dropped == {}


def test_a_frame_of_the_same_size_but_of_an_earlier_time_is_told_as_such():
    film = Film()
    film.push(5)
    film.push(4, picture=image((8, 6, 3)))
    assert film.heard.of('reset') == ['time went back by 0.000 s']


def test_size_and_time_are_handled_by_the_real_engine_too():
    engine = Engine(colour_sam2(), ColourDetector(['red']), EngineConfig(**SETTINGS))
    film = Film(engine)
    small, large = (scene(('red', 20, 20), size=size) for size in ((48, 64), (64, 48)))
    film.push(*range(6), picture=small)
    film.push(*range(6, 12), picture=large)
    film.push(*range(3), picture=large)
    film.stream.finish()
    film.check()
    assert film.heard.first() == [*range(12), *range(3)]
    labels = [r.labels for r in film.heard.of('result')]
    assert {image.shape for image in labels} == {(48, 64), (64, 48)}
    assert all(image.any() for image in labels)


# ---- failures


def test_a_refused_image_leaves_the_stream_as_it_was():
    film = Film(Engine(colour_sam2(), None, EngineConfig(**SETTINGS)))
    picture = image((48, 64, 3))
    film.push(0, 1, picture=picture)
    film.push(2, picture=picture.astype(np.float32))
    assert film.dropped == {REFUSED: 1}
    assert film.heard.of('dropped') == [REFUSED]
    assert 'must be uint8' in film.heard.of('failure')[0]
    film.push(3, 4, picture=picture)
    assert film.heard.first() == [0, 1, 3, 4]
    assert film.heard.of('reset') == []


def test_a_failing_detector_costs_no_frame_and_is_told():
    detector = BrokenDetector(RuntimeError('gone'), working=1)
    film = Film(Engine(colour_sam2(), detector, EngineConfig(**SETTINGS)))
    film.push(*range(16), picture=image((48, 64, 3)))
    assert film.heard.first() == list(range(16))
    assert len(film.heard.of('failure')) == 3
    assert 'the detector failed on frames 4 (RuntimeError: gone)' in film.heard.of('failure')[0]
    assert film.heard.of('reset') == []
    # The masks came before the bad news.
    kinds = [event[0] for event in film.heard.events]
    assert kinds[:5] == ['result'] * 5


def test_a_window_that_failed_closes_with_the_next_frame(monkeypatch):
    film = Film(Engine(colour_sam2(), ColourDetector(['red']), EngineConfig(**SETTINGS)))
    picture = scene(('red', 20, 20), size=(48, 64))
    film.push(0, 1, 2, picture=picture)
    monkeypatch.setattr(WindowPass, 'steps', fail)
    film.push(3, 4, picture=picture)
    assert film.heard.of('failure') == [
        'inference failed: MemoryError: full; its frames wait for the next try'] * 2
    assert film.stream.waiting == 5
    monkeypatch.undo()
    film.push(5, picture=picture)
    assert film.heard.first() == list(range(6))
    assert film.dropped == {}
    assert film.heard.of('reset') == []


def test_failures_in_a_row_start_the_stream_anew_and_are_counted():
    film = Film()
    film.push(*range(7))
    film.engine.on_window = fail
    film.push(*range(7, 7 + FAILURES_BEFORE_RESET))
    assert film.heard.of('reset') == ['inference failed 3 times in a row']
    assert film.heard.of('failure')[-1] == 'inference failed: MemoryError: full'
    assert film.dropped == {FAILED: 6}
    assert film.stream.waiting == 0
    film.engine.on_window = well
    film.push(*range(10, 14))
    assert film.heard.first() == [0, 1, 2, 3, 10, 11, 12, 13]


def test_failures_that_are_not_in_a_row_are_forgotten():
    film = Film()
    for i in range(5):
        film.engine.on_window = well
        film.push(*range(10 * i, 10 * i + 3))
        film.engine.on_window = fail
        film.push(10 * i + 3, 10 * i + 4)
        film.engine.on_window = well
        film.push(10 * i + 5)
    assert film.heard.of('reset') == []
    assert len(film.heard.first()) == 30


def test_an_image_that_cannot_be_encoded_is_dropped_and_the_others_wait():
    film = Film()
    film.push(0, 1)
    film.engine.on_push = fail
    film.push(2)
    assert (film.dropped, film.stream.waiting) == ({FAILED: 1}, 2)
    film.engine.on_push = well
    film.push(2, 3)  # its stamp was not taken
    assert film.heard.first() == [0, 1, 2, 3]


def test_results_that_come_with_a_failure_of_a_later_window_are_kept():
    film = Film()
    film.push(0, 1, 2)
    film.engine.on_window = fail
    film.push(3, 4)
    answers = [None, MemoryError('full')]

    def once(stream):
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    film.engine.on_window = once
    film.push(5)
    assert film.heard.first() == [0, 1, 2, 3]
    assert film.stream.waiting == 2
    assert film.heard.of('failure')[-1] == 'a later window failed: full'
    film.engine.on_window = well
    film.stream.flush()
    film.check()
    assert film.heard.first() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize('failures', range(3))
@pytest.mark.parametrize('cause', ['time', 'size', 'asked'])
def test_a_new_start_is_told_and_counted_once_whatever_fails_on_the_way(failures, cause):
    film = Film()
    film.push(0, 1, 2)
    film.engine.on_window = fail
    film.push(*range(3, 3 + failures))
    if cause == 'asked':
        film.stream.restart('it was asked to')
    else:
        shape = (8, 6, 3) if cause == 'size' else (4, 6, 3)
        film.push(50 if cause == 'size' else -1, picture=image(shape))
    film.check()
    assert len(film.heard.of('reset')) == 1
    assert film.dropped == {FAILED: 3 + failures}
    assert film.stream.waiting == (0 if cause == 'asked' else 1)


def test_finish_of_an_empty_window_starts_nothing_anew():
    film = Film()
    film.stream.finish()
    film.push(*range(4))
    film.stream.finish()
    assert film.heard.of('reset') == []


# ---- what is held


def test_containers_stay_bounded_over_a_long_run():
    film = Film()
    for i in range(2000):
        film.accounts.receive()
        film.stream.push(ticket(i, keep=True))
        if i % 97 == 0:
            film.engine.on_window = fail if i % 2 else well
        assert film.stream.waiting <= 4 + 3
        assert len(film.stream._tickets) <= 8 + 4
        assert len(film.stream._unpublished) <= 4 + 3
    film.engine.on_window = well
    film.push(*range(2000, 2005))
    assert film.accounts.snapshot().received == 2005


@pytest.mark.parametrize('keep', [False, True])
def test_images_are_let_go_with_their_first_masks_or_at_once(keep):
    film = Film()
    alive = []
    for i in range(4):
        picture = image()
        alive.append(weakref.ref(picture))
        sent = film.push(i, keep=keep, picture=picture)
        film.heard.images.clear()
        del picture
        assert [a() is not None for a in alive] == [keep and i < 3] * (i + 1)
    assert sent.image is None


@pytest.mark.parametrize('why', ['refused', 'repeated', 'failed'])
def test_the_image_of_a_dropped_frame_is_let_go(why):
    film = Film()
    film.push(0)
    picture = image()
    alive = weakref.ref(picture)
    film.engine.on_push = {'failed': fail, 'refused': refuse}.get(why, well)
    film.push(0 if why == 'repeated' else 1, keep=True, picture=picture)
    del picture
    assert film.accounts.snapshot().dropped_total == 1
    assert alive() is None


# ---- any sequence

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([
            'push', 'push', 'push', 'push', 'repeat', 'back', 'size', 'encode fails', 'refused',
            'window fails', 'detector fails', 'later fails', 'flush', 'finish', 'restart',
        ]),
        st.integers(1, 4),
    ),
    max_size=40,
)


@given(ACTIONS, st.sampled_from([(1, 1), (2, 2), (4, 8), (3, 7)]))
def test_every_frame_is_accounted_for_whatever_happens(actions, settings):
    film = Film(FakeEngine(*settings))
    stamp, shape, sent = 100, (4, 6, 3), 0
    for action, count in actions:
        calls: Counter[str] = Counter()

        def later(stream, calls=calls):
            calls['window'] += 1
            return fail() if calls['window'] > 1 else None

        film.engine.on_push = {'encode fails': fail, 'refused': refuse}.get(action, well)
        film.engine.on_window = {
            'window fails': fail, 'later fails': later,
            'detector fails': lambda stream: 'the detector failed',
        }.get(action, well)
        if action in ('flush', 'finish'):
            getattr(film.stream, action)()
        elif action == 'restart':
            film.stream.restart('it was asked to')
        else:
            if action == 'size':
                shape = (shape[1], shape[0], 3)
            for i in range(count):
                stamp += {'repeat': 0, 'back': -7 if i == 0 else 1}.get(action, 1)
                film.push(stamp, picture=image(shape))
                sent += 1
        film.check()
        if action in ('finish', 'restart'):
            assert film.stream.waiting == 0
    results = film.heard.of('result')
    # Within one life of the stream: indices without a gap, each revision one up.
    life, revisions = [], {}
    for event in film.heard.events:
        if event[0] == 'reset':
            life, revisions = [], {}
        elif event[0] == 'result':
            found = event[2]
            assert found.revision == revisions.get(found.index, -1) + 1
            revisions[found.index] = found.revision
            if found.revision == 0:
                life.append(found.index)
                assert life == list(range(len(life)))
    assert film.accounts.snapshot().received == sent
    assert len([r for r in results if r.revision == 0]) <= sent
