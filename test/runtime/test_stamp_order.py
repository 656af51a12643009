# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Images that come late, twice or without a stamp, and recordings that loop: who is dropped."""

from __future__ import annotations

import functools

import pytest
from fakes import ColourDetector, colour_sam2, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_cases import MODES, Film

from detsam2_ros.engine import Engine, EngineConfig
from detsam2_ros.runtime.camera_stream import LATE_STAMP, SAME_STAMP
from detsam2_ros.runtime.stamp_order import LATE_BEFORE_RESTART, MAX_LATE, Order, StampOrder

MS = 10**6
LETTERS = {Order.NEXT: 'n', Order.REPEATED: 'r', Order.LATE: 'l', Order.NEW_TIME: 'T'}


def judged(milliseconds: list[int], window: int = 4) -> str:
    """Return a letter for each stamp, as a stream that takes every image would judge it."""
    order, letters = StampOrder(window), ''
    for stamp in (ms * MS for ms in milliseconds):
        found = order.judge(stamp)
        letters += LETTERS[found]
        if found is Order.NEW_TIME:
            order = StampOrder(window)
        if found in (Order.NEXT, Order.NEW_TIME):
            order.take(stamp)
    return letters


@pytest.mark.parametrize(('stamps', 'letters'), [
    ([0, 33, 100, 66, 133], 'nnnln'),  # one overtook another
    ([0, 100, 66, 33, 133], 'nnlln'),  # by two, the later one first
    ([0, 100, 33, 66, 133], 'nnlln'),  # by two, in order
    ([0, 2000, 1001, 2001], 'nnln'),  # not a second late
    ([0, 33, 66, 100, 9000, 5000, 9033], 'nnnnnln'),  # between the newest four
    ([5000, 5033, 4033, 4066], 'nnTn'),  # a second, and older than all of the window
    ([5000, 5033, 4034, 5066], 'nnln'),  # a nanosecond less would do
    ([0, 4000, 8000, 6000, 12000], 'nnnln'),  # a slow camera
    ([0, 4000, 8000, 12000, 16000, 0], 'nnnnnT'),  # further back than four frames
    ([0, 100, 200, 300, 400] * 2, 'nnnnn' 'llTnn'),  # half a second in a loop
    ([0, 100, 200] * 2, 'nnn' 'llT'),  # the third is that of the newest
    ([0, 0, 100, 100, 200, 200] * 2, 'nrnrnr' 'lrlrTr'),  # each one twice
    ([100, 100, 50, 50, 100, 150], 'nrlrrn'),  # late, and that twice
    ([0] * 5, 'nrrrr'),  # a driver that does not stamp
    ([100, 0, 0, 0, 0, 0], 'nlrrrr'),
    ([0, 60000, 33, 66, 100, 133], 'nnllTn'),  # a clock that jumped ahead once
    ([1000, 700, 1100, 800, 1200, 900, 1300, 1000, 1400], 'nlnlnlnln'),  # two publishers
    ([-300, -200, -250, -100], 'nnln'),
])  # fmt: skip
def test_what_an_image_is(stamps: list[int], letters: str) -> None:
    assert judged(stamps) == letters


def test_the_limits_are_what_the_documents_say() -> None:
    assert (MAX_LATE, LATE_BEFORE_RESTART) == (10**9, 3)


@MODES
def test_late_images_are_dropped_and_counted_and_restart_nothing(mode) -> None:
    film = Film(mode=mode)
    film.push(*(MS * t for t in (0, 33, 100, 66, 133, 166, 166, 150, 200, 233)))
    film.drain()
    assert film.dropped == {LATE_STAMP: 2, SAME_STAMP: 1}
    assert film.heard.of('dropped') == [LATE_STAMP, SAME_STAMP, LATE_STAMP]
    assert film.heard.of('reset') == []
    now = film.accounts.snapshot()
    assert (now.received, now.unstamped, now.restarts) == (10, 0, ())


@MODES
def test_a_short_recording_that_loops_restarts_and_counts_what_it_costs(mode) -> None:
    film = Film(mode=mode)
    for _ in range(3):
        film.push(*range(0, 500 * MS, 100 * MS))
    film.stream.finish()
    assert film.heard.of('reset') == ['time went back by 0.200 s'] * 2
    assert film.dropped == {LATE_STAMP: 4}
    assert film.heard.first() == [MS * t for t in (
        0, 100, 200, 300, 400, 200, 300, 400, 200, 300, 400)]
    assert [why for _, why in film.accounts.snapshot().restarts] == film.heard.of('reset')


def test_images_without_a_stamp_are_known_as_such() -> None:
    film = Film()
    film.push(*[0] * 6)
    now = film.accounts.snapshot()
    assert (now.dropped, now.unstamped, now.resets) == ({SAME_STAMP: 5}, 5, 0)


def test_what_the_images_did_not_cause_is_no_restart_of_theirs() -> None:
    film = Film()
    film.push(0, 1)
    film.stream.restart('it was asked to')
    assert (film.accounts.snapshot().resets, film.accounts.snapshot().restarts) == (1, ())


@MODES
@given(st.lists(st.one_of(st.integers(0, 12), st.integers(0, 4000)), max_size=40))
def test_any_order_of_stamps_is_accounted_for(mode, milliseconds) -> None:
    """And a stream restarts only where `judge` says so; Film checks the books at each frame."""
    film = Film(mode=mode)
    film.push(*(MS * t for t in milliseconds))
    letters = judged(milliseconds)
    now = film.accounts.snapshot()
    assert now.received == len(milliseconds) == now.processed + now.dropped_total + now.waiting
    counts = {LATE_STAMP: letters.count('l'), SAME_STAMP: letters.count('r')}
    assert film.dropped == {reason: n for reason, n in counts.items() if n}
    assert now.resets == len(now.restarts) == letters.count('T')
    film.stream.finish()
    taken = [MS * t for t, letter in zip(milliseconds, letters, strict=True) if letter in 'nT']
    assert film.heard.first() == taken


LATE_PLACES = st.lists(st.tuples(st.integers(1, 23), st.integers(1, 9)), max_size=12)


@settings(max_examples=8)  # 24 frames each
@given(LATE_PLACES)
def test_ids_stay_where_images_only_came_late(places) -> None:
    """The masks are those of a run that never saw the late images."""
    due = dict(places)
    film = real_film(due)
    assert shown(film) == in_order()
    assert film.dropped == ({LATE_STAMP: len(due)} if due else {})
    assert {o.id for r in film.heard.of('result') for o in r.objects} == {1, 2}


@functools.cache
def in_order() -> list:
    return shown(real_film({}))


def shown(film: Film) -> list:
    """Return all that can be seen of a film's results, in order."""
    return [(r.stamp, r.revision, [o.id for o in r.objects], r.labels.tobytes())
            for r in film.heard.of('result')]


def real_film(due: dict[int, int]) -> Film:
    """Show two discs at 30 Hz; due: after which frame a late image comes, how many ms late."""
    engine = Engine(colour_sam2(), ColourDetector(['red', 'green']), EngineConfig(
        window_size=4, detect_interval=4, max_propagation=8))
    film = Film(engine)
    for i in range(24):
        picture = scene(('red', 12 + i, 20), ('green', 50 - i, 30), size=(48, 64))
        film.push(33 * MS * i, picture=picture)
        if i in due:
            film.push(33 * MS * i - due[i] * MS, picture=scene(size=(48, 64)))
        film.drain()
    film.stream.finish()
    film.check()
    return film
