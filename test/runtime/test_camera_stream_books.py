# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's stream: what waits and is due, and that every frame is accounted for."""

import weakref

import pytest
from fakes import ColourDetector, colour_sam2, detections, disc_box, scene
from fault_engine import FaultEngine, fail, well
from hypothesis import given
from hypothesis import strategies as st
from worker_cases import MODES, Film, image, queued

from detsam2_ros.engine import Engine, EngineConfig, ImageError
from detsam2_ros.runtime.camera_stream import FAILED, CameraStream
from detsam2_ros.runtime.frame_queue import INACTIVE, QueuedFrame
from detsam2_ros.runtime.worker import INTERNAL


def refuse(*_) -> None:
    raise ImageError('not like this')


def leave(*_) -> None:
    raise SystemExit(1)


class Sent(QueuedFrame):
    """A frame that can be watched."""

    __hash__ = object.__hash__


# ---- what is held
@MODES
def test_what_is_held_stays_bounded_over_a_long_run(mode):
    film = Film(mode=mode)
    stream, alive = film.engine.streams['camera'], weakref.WeakSet()
    for i in range(2000):
        while film.stream.behind:
            film.stream.step()
        film.accounts.receive()
        frame = Sent(*vars(queued(i, keep=True)).values())
        alive.add(frame)
        film.stream.push(frame)
        del frame
        if i % 3 == 0 and film.stream.due:
            film.stream.step()
        if i % 97 == 0:
            film.engine.on_end = fail if i % 2 else well
        assert film.stream.waiting <= (4 + 3 if mode == 'window' else 0)
        assert len(stream.backlog.tags) <= (4 + 3 if mode == 'window' else 2 * 4 - 1)
        assert len(alive) <= 8 + 4
        film.heard.events.clear(), film.heard.frames.clear(), film.heard.images.clear()
    assert film.accounts.snapshot().received == 2000


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


def test_images_are_let_go_with_their_masks_online():
    film = Film(mode='online')
    for i, keep in enumerate([True, False] * 3):
        picture = image()
        alive = weakref.ref(picture)
        film.push(i, keep=keep, picture=picture)
        assert (film.heard.images[-1] is picture) == keep
        film.heard.images.clear()
        del picture
        assert alive() is None


@pytest.mark.parametrize('why', ['refused', 'repeated', 'failed'])
def test_the_image_of_a_dropped_frame_is_let_go(why):
    film = Film()
    film.push(0)
    picture = image()
    alive = weakref.ref(picture)
    film.engine.on_add = {'failed': fail, 'refused': refuse}.get(why, well)
    film.push(0 if why == 'repeated' else 1, keep=True, picture=picture)
    del picture
    assert film.accounts.snapshot().dropped_total == 1
    assert alive() is None


# ---- defects, after which the thread resets the stream
@MODES
@pytest.mark.parametrize('where', ['on_add', 'on_part', 'on_end'])
def test_a_frame_that_restarts_a_stream_is_counted_also_when_that_ends_in_a_defect(where, mode):
    film = Film(mode=mode)
    film.push(0, 1, 2)
    setattr(film.engine, where, leave)
    film.accounts.receive()
    with pytest.raises(SystemExit):
        film.stream.push(queued(-(10**9)))
    film.stream.reset('of an internal error', INTERNAL)
    film.check()
    now = film.accounts.snapshot()
    assert (now.received, now.waiting) == (4, 0)
    assert now.dropped.get(INTERNAL, 0) == (1 if mode == 'online' or where == 'on_add' else 4)


def test_a_device_that_fails_a_reset_makes_no_frame_count_twice():
    film = Film()
    film.push(0, 1)
    film.engine.streams['camera'].reset = fail
    for _ in range(2):
        with pytest.raises(MemoryError):
            film.stream.reset('of an internal error', INTERNAL)
    now = film.accounts.snapshot()
    assert (now.received, now.waiting, now.dropped) == (2, 0, {INTERNAL: 2})


@pytest.mark.parametrize('ended', [False, True])
def test_what_an_end_keeps_from_being_closed_is_not_said_to_have_failed(ended):
    film = Film()
    film.stream = CameraStream(
        'other', film.engine, film.accounts, film.heard, interrupted=lambda: ended)
    film.accounts.receive()
    film.stream.push(queued(0))
    film.stream.restart('it was asked to')
    assert film.dropped == ({INACTIVE: 1} if ended else {})


def test_only_windows_that_close_count_as_lag():
    film = Film()
    film.push(*range(6))
    assert len(film.accounts.snapshot().lags) == 1
    film.stream.finish()
    assert len(film.accounts.snapshot().lags) == film.accounts.snapshot().windows == 2


# ---- any sequence

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([
            'push', 'push', 'push', 'push', 'part', 'part', 'part', 'repeat', 'back', 'size',
            'add fails', 'refused', 'part fails', 'window fails', 'detector fails', 'finish',
            'restart', 'late',
        ]),
        st.integers(1, 4),
    ),
    max_size=40,
)


def act(film: Film, action: str, count: int) -> None:
    """Do what shows no frame."""
    if action in ('part', 'part fails'):
        for _ in range(count):
            film.stream.step()
            film.check()
    elif action == 'finish':
        film.stream.finish()
        assert film.stream.waiting == 0 and film.stream.waiting_since is None
    else:
        film.stream.restart('it was asked to')
        assert film.stream.waiting == 0 and film.stream.waiting_since is None


@MODES
@given(ACTIONS, st.sampled_from([(1, 1), (2, 2), (4, 8), (3, 7)]))
def test_every_frame_is_accounted_for_whatever_happens(mode, actions, settings):
    film = Film(FaultEngine(*settings, mode=mode))
    stamp, shape, sent = 100, (4, 6, 3), 0
    for action, count in actions:
        film.engine.on_add = {'add fails': fail, 'refused': refuse}.get(action, well)
        film.engine.on_part = fail if action == 'part fails' else well
        film.engine.on_end = fail if action == 'window fails' else well
        film.engine.on_detect = fail if action == 'detector fails' else well
        if action in ('part', 'part fails', 'finish', 'restart'):
            act(film, action, count)
        else:
            if action == 'size':
                shape = (shape[1], shape[0], 3)
            for i in range(count):
                # By a second in all, or by less: what comes late, and what is a new time.
                stamp += {'repeat': 0, 'back': -(10**9) if i == 0 else 1,
                          'late': -7 if i == 0 else 1}.get(action, 1)
                film.push(stamp, picture=image(shape))
                sent += 1
        film.check()
        assert film.pending < settings[0] + (3 if mode == 'window' else settings[0])
    check_order(film, settings[0] + settings[1])
    assert film.accounts.snapshot().received == sent
    assert set(film.dropped) <= {FAILED, 'refused_image', 'repeated_stamp', 'late_stamp'}


def check_order(film: Film, reach: int) -> None:
    """Check within each life of a stream: indices without a gap, each revision one up."""
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
            assert newest - found.index < reach


# ---- what waits since when, and which window is due
@MODES
def test_what_waits_for_its_window_since_when(mode):
    film = Film(mode=mode)
    assert film.stream.waiting_since is None
    arrivals = [film.push(i).received for i in range(6)]
    if mode == 'online':
        assert film.stream.waiting_since == arrivals[0]
        assert film.stream.due and film.stream.waiting == 0
        assert film.drain() == 3
    assert film.stream.waiting_since == arrivals[4]
    for _ in range(3):  # early
        film.stream.step()
        film.check()
    assert film.stream.waiting_since is None


@MODES
def test_a_window_is_due_when_it_is_full_or_begun(mode):
    film = Film(mode=mode)
    film.push(0, 1)
    assert not film.stream.due
    film.stream.step()
    assert film.stream.due  # to be gone on with
    assert film.stream.behind == (mode == 'window')
    film.push(2)
    film.drain()
    assert film.windows == [2]


@pytest.mark.parametrize('window', [1, 2, 4])
def test_online_it_is_behind_before_a_second_window_is_full(window):
    film = Film(FaultEngine(window, 2 * window, 'online'))
    behind = []
    for i in range(2 * window - 1):
        behind.append(film.stream.behind)
        film.push(i)
    assert not any(behind)
    assert film.stream.behind
    film.drain()
    assert not film.stream.behind


def test_online_it_is_behind_also_when_a_small_window_was_begun_early():
    film = Film(mode='online')
    film.push(0, 1)
    film.stream.step()
    film.push(2, 3, 4)
    assert film.stream.behind  # frame 5 would be the fourth after them
    film.drain()
    film.push(5)
    assert film.stream.due


@pytest.mark.parametrize('window', [1, 2, 4])
def test_in_mode_window_a_failing_window_is_tried_once_a_frame(window):
    """Nothing is due or behind after a failure until the next frame, however small the window."""
    film = Film(FaultEngine(window, 2 * window))
    film.engine.on_end = fail
    for i in range(window + 1):
        film.push(i)
        assert not film.stream.due and not film.stream.behind
        assert film.stream.waiting == i + 1
    assert len(film.heard.of('failure')) == 2


def test_detections_that_come_amid_a_pass_wait_for_the_next_one():
    """The pass does not know of them; a camera that stops must not keep them from acting."""
    film = Film(FaultEngine(mode='online', detects=False))
    stream = film.engine.streams['camera']
    film.push(*range(4), picture=scene(('red', 20, 20), size=(48, 64)))
    film.stream.step()
    assert stream.add_detections(3, detections([(0, disc_box(20, 20))])).started == 1
    film.stream.look_for_corrections()  # as after every call
    while film.stream.due:
        film.stream.step()
    assert film.windows == [4] and stream.backlog.corrections
    assert film.stream.waiting_since is not None
    while film.stream.waiting_since is not None:
        film.stream.step()
    assert not stream.backlog.corrections
    newest = film.heard.of('result')[-1]
    assert newest.index == 3 and newest.labels.any()


@MODES
def test_an_object_removed_where_no_mask_is_ever_corrected_vanishes_too(mode):
    """Else passes would look for ever for what is left of it."""
    config = EngineConfig(window_size=4, max_propagation=8, mode=mode, correction_iou=0.0)
    film = Film(Engine(colour_sam2(), ColourDetector(['red']), config))
    film.push(*range(4), picture=scene(('red', 20, 20), size=(48, 64)))
    film.drain()
    film.engine.streams['camera'].remove_object(1)
    film.stream.look_for_corrections()
    parts = 0
    while film.stream.waiting_since is not None:
        film.stream.step()
        parts += 1
        assert parts < 50
    last = {r.index: r for r in film.heard.of('result')}
    assert not any(r.labels.any() for r in last.values())
