# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Several cameras, failures and transitions at once: the books agree at every moment."""

import random
import threading

import pytest
from fault_engine import PATIENCE, Fault, FaultEngine, together
from worker_cases import MODES, Rig, image, queued

from detsam2_ros.results.errors import ImageError

CAMERAS = ('a', 'b')
FRAMES = 500  # of each producer
PRODUCERS = 2  # of each camera
QUEUE = 2


class Faults:
    """Failures by chance, on the inference thread."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.count = 0

    def of(self, *chances: tuple[float, BaseException], counts: bool = True) -> Fault:
        """Return a fault; chances: the share of calls that raise each error."""

        def fault(*_: object) -> None:
            dice = self.random.random()
            for chance, error in chances:
                if dice < chance:
                    self.count += counts
                    raise type(error)(*error.args)
                dice -= chance

        return fault


class Check:
    """Compares the accounts with what is in the queue and the window, at one moment."""

    def __init__(self, rig: Rig):
        self.rig = rig

    def between_passes(self, _) -> None:
        """Run it on the inference thread: nothing is being worked on then."""
        rig = self.rig
        for camera in CAMERAS:
            with rig.worker._wake:  # nothing is offered meanwhile
                now = rig.accounts[camera].snapshot()
                ready = len(rig.worker._queues[camera])
            on_the_way = now.waiting - ready - rig.without_masks(camera)
            # Received, but not handed over yet: at most one a producer.
            assert 0 <= on_the_way <= PRODUCERS, (camera, now, ready)
            assert ready <= QUEUE

    def at_any_time(self) -> None:
        """Run it on any thread."""
        for camera in CAMERAS:
            now = self.rig.accounts[camera].snapshot()
            assert now.received == now.processed + now.dropped_total + now.waiting
            # In the queue, handed over or in the pass, and in the window.
            assert 0 <= now.waiting <= QUEUE + PRODUCERS + 1 + 4 + 8


@MODES
@pytest.mark.parametrize('seed', range(3))
def test_the_books_agree_under_load_failures_and_transitions(seed, mode):
    engine, faults = FaultEngine(mode=mode), Faults(seed)
    full = MemoryError('full')
    engine.on_add = faults.of(
        (0.03, ImageError('not like this')), (0.03, full), (0.005, SystemExit(1)))
    engine.on_part = faults.of((0.1, full), (0.003, SystemExit(1)))
    engine.on_end = faults.of((0.15, full))
    engine.on_detect = faults.of((0.15, RuntimeError('no detector')), counts=False)
    rig = Rig(engine, cameras=CAMERAS, queue=QUEUE, delay=0.002).start()
    check = Check(rig)
    problems: list[BaseException] = []
    clock = {camera: iter(range(1, 10**9)) for camera in CAMERAS}
    order = {camera: threading.Lock() for camera in CAMERAS}

    def produce(camera: str, number: int) -> None:
        dice = random.Random(f'{seed} {camera} {number}')
        for _ in range(FRAMES):
            chance = dice.random()
            shape = (8, 6, 3) if chance > 0.98 else (4, 6, 3)
            rig.accounts[camera].receive()
            with order[camera]:  # stamps rise, but for a few
                stamp = next(clock[camera])
                stamp = max(stamp - 5, 0) if chance < 0.02 else stamp
                rig.worker.offer(camera, queued(stamp, image(shape), keep=chance < 0.5))
            check.at_any_time()
            disturb(dice)
            # Else inference would hardly run; but sometimes the queue is to overflow.
            while chance < 0.8 and rig.worker.waiting()[camera] > 1:
                rig.barrier()

    def disturb(dice: random.Random) -> None:
        chance = dice.random()
        if chance < 0.01:
            rig.worker.reset()
        elif chance < 0.02:
            off = rig.worker.deactivate()
            if chance < 0.015:
                off.result(PATIENCE)
            rig.worker.activate()
        elif chance < 0.2:
            rig.worker.call(check.between_passes).result(PATIENCE)
        elif chance < 0.7:
            rig.barrier()

    def run(camera: str, number: int) -> None:
        try:
            produce(camera, number)
        except BaseException as error:
            problems.append(error)

    together(*[lambda c=camera, n=number: run(c, n)
               for camera in CAMERAS for number in range(PRODUCERS)])
    assert not problems, problems
    rig.settle()
    rig.worker.call(check.between_passes).result(PATIENCE)
    rig.worker.deactivate().result(PATIENCE)
    for camera in CAMERAS:
        now = rig.accounts[camera].snapshot()
        assert (now.received, now.waiting) == (PRODUCERS * FRAMES, 0)
        assert now.processed > 20 and now.dropped_total > 0
    rig.check_books()
    assert faults.count > 5  # or it was no such run
    rig.stop()


def test_a_swap_between_passes_loses_no_frame_and_none_comes_twice():
    rig = Rig(cameras=CAMERAS, queue=10_000).start()
    swapped = []
    ended = threading.Event()

    def swap():
        while not ended.is_set():
            calls = [rig.worker.call(lambda engine: swapped.append(len(engine.streams)))
                     for _ in range(5)]
            for call in calls:
                call.result(PATIENCE)

    swapping = threading.Thread(target=swap)
    swapping.start()
    for stamp in range(1000):
        for camera in CAMERAS:
            rig.send(stamp, camera=camera)
    rig.settle()
    ended.set()
    swapping.join(PATIENCE)
    assert not swapping.is_alive()
    for camera in CAMERAS:
        assert rig.heard.first(camera) == list(range(1000))
        assert rig.accounts[camera].snapshot().dropped == {}
    assert swapped
    rig.stop()
