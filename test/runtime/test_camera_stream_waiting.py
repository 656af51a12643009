# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What waits in one camera's stream and since when, and which window is due."""

import pytest
from fakes import ColourDetector, colour_sam2, detections, disc_box, scene
from fault_engine import FaultEngine, fail
from worker_cases import MODES, Film

from detsam2_ros.engine import Engine, EngineConfig


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
