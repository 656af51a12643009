# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames come faster than inference: fresh ones are taken, and no camera starves."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import pairwise

import pytest
from fault_engine import Steps
from worker_cases import Rig, running

from detsam2_ros.runtime.frame_queue import QUEUE_FULL


class Flood:
    """Sends some frames of each camera whenever a frame has masks or a part of a pass begins.

    rates: by camera, how many frames come then at most. All is done on the inference thread, so
    that what is there when a frame is taken does not depend on the machine. freshness: of each
    frame with masks, how many frames of its camera were newer when it was taken.
    """

    def __init__(self, rig: Rig, rates: Mapping[str, int], steps: int, seed: int = 0):
        self.freshness: dict[str, list[int]] = {camera: [] for camera in rates}
        self.turns: list[str] = []
        self._rig, self._rates, self._left = rig, rates, steps
        self._sent = dict.fromkeys(rates, 0)
        self._random = random.Random(seed)
        rig.engine.fault = lambda stream: self._wave()
        rig.heard.on_event = self._on_event
        with rig.held():
            self._wave()

    def _on_event(self, event: tuple) -> None:
        if event[0] == 'result' and event[2].revision == 0:
            camera = event[1]
            if self._left > 0:  # after that, cameras run out of frames
                self.turns.append(camera)
            self.freshness[camera].append(self._sent[camera] - event[2].stamp)
            self._wave()

    def _wave(self) -> None:
        self._left -= 1
        for camera, rate in self._rates.items() if self._left >= 0 else ():
            for _ in range(self._random.randint(1, rate)):
                self._sent[camera] += 1
                self._rig.send(self._sent[camera], camera=camera)

    def wait(self) -> None:
        """Wait until the flood is over and all that is due is done."""
        self._rig.heard.wait_for(lambda: self._left < 0)
        self._rig.settle()


@pytest.mark.parametrize('freshest', [False, True])
@pytest.mark.parametrize('parts', [1, 3, 12])
@pytest.mark.parametrize('queue', [1, 2, 5])
def test_a_frame_is_as_fresh_as_the_queue_is_short(queue, parts, freshest):
    with running(Steps(parts=parts), queue=queue, freshest=freshest) as rig:
        flood = Flood(rig, {'': 5}, 120, seed=queue)
        flood.wait()
        assert len(flood.freshness['']) > 20
        assert max(flood.freshness['']) < queue
        newest = flood.freshness[''].count(0) / len(flood.freshness[''])
        assert (newest > 0.7) if freshest or queue == 1 else (newest < 0.5)
        now = rig.accounts[''].snapshot()
        assert set(now.dropped) == {QUEUE_FULL}
        assert now.received == now.processed + now.dropped_total
        assert rig.heard.first() == sorted(rig.heard.first())


@pytest.mark.parametrize('rates', [(1, 1, 1), (1, 1, 9), (9, 1, 3)])
@pytest.mark.parametrize('queue', [1, 2, 20])
@pytest.mark.parametrize(
    ('mode', 'freshest'), [('online', True), ('online', False), ('window', False)]
)
def test_cameras_whose_frames_always_wait_take_turns(mode, freshest, queue, rates):
    cameras = dict(zip('abc', rates, strict=True))
    engine = Steps(mode=mode, parts=1, window=1 if mode == 'window' else 4)
    with running(engine, cameras=tuple('abc'), queue=queue, freshest=freshest) as rig:
        flood = Flood(rig, cameras, 150)
        flood.wait()
        turns = flood.turns[:100]
        # A part of a window may take a turn too, of whichever camera it is.
        for first in range(len(turns) - 6):
            assert set(turns[first : first + 6]) == set('abc'), turns
        counts = [turns.count(camera) for camera in 'abc']
        assert max(counts) - min(counts) <= len(turns) // 5, counts


@pytest.mark.parametrize('parts', [5, 9, 40])
def test_masks_keep_coming_while_windows_close_and_frames_are_dropped(parts):
    with running(Steps(window=10, reach=20, parts=parts), queue=2, freshest=True) as rig:
        Flood(rig, {'': 6}, 100 + 10 * parts).wait()
        kinds = rig.engine.kinds()
        takes = [at for at, what in enumerate(kinds) if what == 'take']
        # The first window shows how many parts there are; in the end frames run out.
        between = [later - at - 1 for at, later in pairwise(takes)][20:-10]
        assert len(between) > 20 and max(between) <= 2 + parts // 9, kinds


def test_a_slow_camera_does_not_keep_a_fast_one_waiting():
    with running(Steps(window=100, reach=100), cameras=('fast', 'slow'), queue=2) as rig:
        flood = Flood(rig, {'fast': 6, 'slow': 1}, 60)
        flood.wait()
        assert all(one != other for one, other in pairwise(flood.turns)), flood.turns
