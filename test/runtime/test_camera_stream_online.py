# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's stream in mode online, without a thread: what waits since when, what fails."""

from __future__ import annotations

import weakref

import pytest
from fakes import BrokenDetector, ColourDetector, colour_sam2, scene
from hypothesis import given
from hypothesis import strategies as st
from worker_cases import FakeEngine, Film, image, ticket

from detsam2_ros.engine import Engine, EngineConfig, ImageError
from detsam2_ros.runtime.camera_stream import FAILED, REFUSED

SETTINGS = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 8, 'mode': 'online'}


def fail(*_) -> None:
    raise MemoryError('full')


def refuse(*_) -> None:
    raise ImageError('not like this')


def well(*_) -> None:
    return None


def online(*settings: int) -> Film:
    return Film(FakeEngine(*settings, mode='online'))


def drain(film: Film) -> int:
    """Do all parts that are due; returns how many."""
    count = 0
    while film.stream.due:
        film.stream.step()
        film.check()
        count += 1
    return count


# ---- what waits


def test_what_waits_for_its_corrections_since_when():
    film = online()
    assert film.stream.waiting_since is None
    arrivals = [film.push(i).received for i in range(6)]
    assert film.stream.waiting_since == arrivals[0]
    assert film.stream.due and film.stream.waiting == 0
    assert drain(film) == 3
    assert film.stream.waiting_since == arrivals[4]
    for _ in range(3):  # early
        film.stream.step()
        film.check()
    assert film.stream.waiting_since is None


def test_a_window_is_due_when_it_is_full_or_begun():
    film = online()
    film.push(0, 1)
    assert not film.stream.due
    film.stream.step()
    assert film.stream.due  # to be gone on with
    film.push(2)
    drain(film)
    assert film.engine.streams['camera'].windows == [2]


@pytest.mark.parametrize('window', [1, 2, 4])
def test_it_is_behind_before_a_second_window_is_full(window):
    film = online(window, 2 * window)
    behind = []
    for i in range(2 * window - 1):
        behind.append(film.stream.behind)
        film.push(i)
    assert not any(behind)
    assert film.stream.behind
    drain(film)
    assert not film.stream.behind


def test_it_is_behind_also_when_a_small_window_was_begun_early():
    film = online()
    film.push(0, 1)
    film.stream.step()
    film.push(2, 3, 4)
    assert film.stream.behind  # frame 5 would be the fourth after them
    drain(film)
    film.push(5)
    assert film.stream.due


def test_in_mode_window_nothing_is_ever_due_or_behind():
    film = Film()
    film.engine.on_window = fail
    for i in range(5):
        film.push(i)
        assert not film.stream.due and not film.stream.behind


# ---- new starts


@pytest.mark.parametrize('cause', ['time', 'size', 'asked'])
@pytest.mark.parametrize('parts', [0, 1, 2])
def test_a_new_start_amid_a_pass_ends_it_first(parts, cause):
    film = online()
    film.push(*range(6))
    for _ in range(parts):
        film.stream.step()
    if cause == 'asked':
        film.stream.restart('it was asked to')
    else:
        film.push(50 if cause == 'size' else -1,
                  picture=image((8, 6, 3) if cause == 'size' else (4, 6, 3)))
    film.check()
    assert film.engine.streams['camera'].windows == [4, 2]
    assert len(film.heard.of('reset')) == 1 and film.dropped == {}
    reset = [event[0] for event in film.heard.events].index('reset')
    assert all(e[2].index == 0 for e in film.heard.events[reset:] if e[0] == 'result')


# ---- failures


@pytest.mark.parametrize(('fault', 'reason'), [(fail, FAILED), (refuse, REFUSED)])
def test_a_frame_that_cannot_be_tracked_is_dropped_and_the_others_wait(fault, reason):
    film = online()
    film.push(0, 1)
    film.engine.on_push = fault
    film.push(2)
    assert film.dropped == {reason: 1}
    assert film.heard.of('failure') == [
        'inference failed: MemoryError: full' if fault is fail else 'not like this']
    film.engine.on_push = well
    film.push(2, 3)  # its stamp was not taken
    drain(film)
    assert film.heard.first() == [0, 1, 2, 3]


def test_frames_that_fail_in_a_row_start_the_stream_anew_whatever_passes_do():
    film = online()
    film.push(*range(4))
    film.engine.on_push = fail
    for i in range(4, 7):
        film.push(i)
        if film.stream.due:
            film.stream.step()
    assert film.heard.of('reset') == ['inference failed 3 times in a row']
    assert film.dropped == {FAILED: 3}


def test_failures_of_windows_that_are_not_in_a_row_are_forgotten():
    film = online()
    for i in range(5):
        film.push(*range(10 * i, 10 * i + 4))
        film.engine.on_window = fail
        drain(film)
        film.push(10 * i + 4)
        drain(film)
        film.engine.on_window = well
        film.push(10 * i + 5)
        drain(film)
    assert len(film.heard.of('failure')) == 10
    assert film.heard.of('reset') == []
    assert len(film.heard.first()) == 30


def test_a_failing_detector_costs_no_frame_and_is_told():
    detector = BrokenDetector(RuntimeError('gone'), working=1)
    film = Film(Engine(colour_sam2(), detector, EngineConfig(**SETTINGS)))
    for i in range(16):
        film.push(i, picture=image((48, 64, 3)))
        drain(film)
    assert film.heard.first() == list(range(16))
    assert len(film.heard.of('failure')) == 3
    assert 'the detector failed on frames 4 (RuntimeError: gone)' in film.heard.of('failure')[0]
    assert film.heard.of('reset') == []


def test_what_the_real_engine_corrects_has_its_own_header():
    film = Film(Engine(colour_sam2(), ColourDetector(['red']), EngineConfig(**SETTINGS)))
    for i in range(14):  # found on frame 4, and so corrected on frames 0 to 3
        discs = [('red', 12 + i, 20)] if i != 0 else []
        film.push(1000 * i, picture=scene(*discs, size=(48, 64)))
        drain(film)
    film.stream.finish()
    film.check()
    assert len(film.heard.first()) == 14
    corrected = {r.stamp for r in film.heard.of('result') if r.revision}
    assert corrected == {1000, 2000, 3000}  # the recorder checks header and stamp of each


# ---- what is held


def test_containers_stay_bounded_over_a_long_run():
    film = online()
    for i in range(2000):
        while film.stream.behind:
            film.stream.step()
        film.accounts.receive()
        film.stream.push(ticket(i, keep=True))
        if i % 3 == 0 and film.stream.due:
            film.stream.step()
        if i % 97 == 0:
            film.engine.on_window = fail if i % 2 else well
        assert len(film.stream._open) <= 2 * 4 - 1
        assert len(film.stream._tickets) <= 8 + 4
        assert film.stream._unpublished == set()


def test_images_are_let_go_with_their_masks():
    film = online()
    for i, keep in enumerate([True, False] * 3):
        picture = image()
        alive = weakref.ref(picture)
        film.push(i, keep=keep, picture=picture)
        assert (film.heard.images[-1] is picture) == keep
        film.heard.images.clear()
        del picture
        assert alive() is None


# ---- any sequence

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([
            'push', 'push', 'push', 'push', 'part', 'part', 'part', 'repeat', 'back', 'size',
            'take fails', 'refused', 'part fails', 'window fails', 'detector fails', 'finish',
            'restart',
        ]),
        st.integers(1, 4),
    ),
    max_size=40,
)


@given(ACTIONS, st.sampled_from([(1, 1), (2, 2), (4, 8), (3, 7)]))
def test_every_frame_is_accounted_for_whatever_happens(actions, settings):
    film = online(*settings)
    stamp, shape, sent = 100, (4, 6, 3), 0
    for action, count in actions:
        film.engine.on_push = {
            'take fails': fail, 'refused': refuse,
            'detector fails': lambda stream: 'the detector failed'}.get(action, well)
        film.engine.on_part = fail if action == 'part fails' else well
        film.engine.on_window = fail if action == 'window fails' else well
        if action in ('part', 'part fails'):
            for _ in range(count):
                film.stream.step()
                film.check()
        elif action in ('finish', 'restart'):
            getattr(film.stream, action)(*(['it was asked to'] if action == 'restart' else []))
            assert film.stream.waiting_since is None
        else:
            if action == 'size':
                shape = (shape[1], shape[0], 3)
            for i in range(count):
                while film.stream.behind:  # as the thread does; a failure ends it too
                    film.stream.step()
                    film.check()
                stamp += {'repeat': 0, 'back': -7 if i == 0 else 1}.get(action, 1)
                film.push(stamp, picture=image(shape))
                sent += 1
        film.check()
        assert film.engine.streams['camera'].pending < 2 * settings[0]
    newest, revisions = -1, {}
    for event in film.heard.events:
        if event[0] == 'reset':
            newest, revisions = -1, {}
        elif event[0] == 'result':
            found = event[2]
            assert found.revision == revisions.get(found.index, -1) + 1
            revisions[found.index] = found.revision
            if found.revision == 0:
                assert found.index == newest + 1
                newest = found.index
            # What the publisher keeps of past frames reaches that far.
            assert newest - found.index < settings[0] + settings[1]
    assert film.accounts.snapshot().received == sent
