# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""For tests of the inference thread: a listener, a worker and a camera's stream set up with it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from fault_engine import PATIENCE, FaultEngine, Gate, well

from detsam2_ros.engine import FrameResult
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.camera_stream import CameraStream
from detsam2_ros.runtime.detection_inbox import DetectionInbox
from detsam2_ros.runtime.frame_queue import QueuedFrame
from detsam2_ros.runtime.worker import Worker

LONG_AGO = 1000.0  # seconds; more than the delays of the tests
SMALL = (4, 6, 3)
MODES = pytest.mark.parametrize('mode', ['window', 'online'])


class Recorder:
    """A listener that keeps all that is reported, by camera and in order; it can be waited for."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.events: list[tuple[Any, ...]] = []
        self.images: list[np.ndarray | None] = []
        self.frames: list[QueuedFrame] = []
        self.on_event: Callable[[tuple[Any, ...]], None] = well

    def on_result(self, camera: str, result: FrameResult) -> None:
        frame = result.tag
        assert frame.stamp == result.stamp
        assert frame.header == ('header', result.stamp)
        self.images.append(frame.image)
        self.frames.append(frame)
        self._note('result', camera, result)

    def on_dropped(self, camera: str, reason: str) -> None:
        self._note('dropped', camera, reason)

    def on_reset(self, camera: str, why: str) -> None:
        self._note('reset', camera, why)

    def on_failure(self, camera: str, message: str) -> None:
        self._note('failure', camera, message)

    def on_classes(self, class_names: Any) -> None:
        self._note('classes', '', dict(class_names))

    def _note(self, *event: Any) -> None:
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()
        self.on_event(event)

    def of(self, kind: str, camera: str = '') -> list[Any]:
        return [event[2] for event in list(self.events) if event[:2] == (kind, camera)]

    def first(self, camera: str = '') -> list[int]:
        """Return the stamps of the frames whose first masks came, in order."""
        return [r.stamp for r in self.of('result', camera) if r.revision == 0]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, PATIENCE), [e[:2] for e in self.events]


def image(shape: Sequence[int] = SMALL) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def queued(stamp: int, picture: np.ndarray | None = None, ago: float = 0.0,
           keep: bool = False) -> QueuedFrame:
    """Make a frame that arrived some seconds ago."""
    return QueuedFrame(image() if picture is None else picture, stamp, time.monotonic() - ago,
                       ('header', stamp), keep)


class Rig:
    """A worker on an engine, with accounts and a recorder."""

    def __init__(self, engine: Any = None, cameras: Sequence[str] = ('',), queue: int = 100,
                 delay: float = 0.0, mode: str = 'window', freshest: bool = False):
        self.engine = FaultEngine(mode=mode) if engine is None else engine
        self.cameras = tuple(cameras)
        self.accounts = {camera: FrameAccounts() for camera in cameras}
        self.heard = Recorder()
        self.worker = Worker(
            cameras, self.accounts, self.heard, queue, delay, freshest=freshest)

    def start(self) -> Rig:
        """Start and activate; returns itself."""
        def make() -> Any:
            self.engine.thread = threading.get_ident()
            return self.engine

        assert self.worker.start(make).result(PATIENCE) is self.engine
        self.worker.activate()
        return self

    def send(self, *stamps: int, camera: str = '', **more: Any) -> None:
        """Receive and offer frames, as a camera does."""
        for stamp in stamps:
            self.accounts[camera].receive()
            self.worker.offer(camera, queued(stamp, **more))

    def settle(self) -> None:
        """Wait until no frame is queued and no window is due; frames in windows stay there."""
        while any(self.worker.waiting().values()) or self.worker.call(self._is_due).result(
            PATIENCE
        ):
            time.sleep(0.0005)  # calls go before all else
        self.barrier()

    def _is_due(self, _: Any) -> bool:
        return any(stream.due or stream.behind for stream in self.worker._streams.values())

    def barrier(self) -> None:
        """Wait for the end of what the inference thread does now."""
        self.worker.call(well).result(PATIENCE)

    @contextlib.contextmanager
    def held(self) -> Iterator[Gate]:
        """Keep the inference thread busy with a call; pass the gate on to let it go earlier."""
        gate = Gate()
        self.worker.call(gate)
        gate.wait()
        try:
            yield gate
        finally:
            gate.pass_on()

    def windows(self, camera: str = '') -> list[int]:
        return self.engine.windows[camera or 'camera']

    def wait_for_windows(self, *lengths: int, camera: str = '') -> None:
        """Wait until windows of these lengths have closed, and no others."""
        self.heard.wait_for(lambda: self.windows(camera) == list(lengths))

    def pending(self, camera: str = '') -> int:
        """Return how many frames wait in the engine's unfinished window."""
        return self.engine.streams[camera or 'camera'].backlog.frames

    def without_masks(self, camera: str = '') -> int:
        """Return how many frames the engine holds that have no masks yet."""
        return self.pending(camera) if self.engine.config.mode == 'window' else 0

    def check_books(self) -> None:
        """Check at a quiet moment that every frame is where the accounts say."""
        waiting = self.worker.waiting()
        for camera, accounts in self.accounts.items():
            now = accounts.snapshot()
            assert now.received == now.processed + now.dropped_total + now.waiting
            assert now.waiting == waiting[camera] + self.without_masks(camera), now
            assert now.processed == len(self.heard.first(camera))

    def stop(self) -> None:
        """Stop, and check that all frames are accounted for."""
        assert self.worker.stop(PATIENCE)
        for camera, accounts in self.accounts.items():
            now = accounts.snapshot()
            assert now.waiting == 0, now
            assert now.received == now.processed + now.dropped_total
            assert now.processed == len(self.heard.first(camera))


@contextlib.contextmanager
def running(*arguments: Any, **more: Any) -> Iterator[Rig]:
    """Run a rig, and stop it with its books checked."""
    rig = Rig(*arguments, **more).start()
    try:
        yield rig
    except BaseException:
        rig.worker.stop(1.0)
        raise
    rig.stop()


class Film:
    """A camera in front of a camera's stream, without a thread; checks the books all the time."""

    def __init__(self, engine: Any = None, mode: str = 'window',
                 detections: DetectionInbox | None = None):
        self.engine = engine or FaultEngine(mode=mode)
        self.accounts, self.heard = FrameAccounts(), Recorder()
        self.stream = CameraStream(
            '', self.engine, self.accounts, self.heard, detections=detections)

    def push(self, *stamps: int, **more: Any) -> QueuedFrame | None:
        """Show frames, as the thread does: windows that must come first do."""
        sent = None
        for stamp in stamps:
            self.step_while(lambda: self.stream.behind)
            self.accounts.receive()
            sent = queued(stamp, **more)
            self.stream.push(sent)
            self.check()
            self.step_while(lambda: self.stream.behind and self.mode == 'window')
        return sent

    def drain(self) -> int:
        """Do all parts that are due; returns how many."""
        return self.step_while(lambda: self.stream.due)

    def step_while(self, condition: Callable[[], bool]) -> int:
        count = 0
        while condition():
            self.stream.step()
            self.check()
            count += 1
        return count

    def check(self) -> None:
        """Check that the accounts, the stream and what was heard agree."""
        now = self.accounts.snapshot()
        assert now.received == now.processed + now.dropped_total + now.waiting
        tags = self.engine.streams['camera'].backlog.tags
        assert now.waiting == self.stream.waiting == (len(tags) if self.mode == 'window' else 0)
        assert now.processed == len(self.heard.first())
        assert self.stream.waiting_since == (tags[0].received if tags else None)
        assert now.resets == len(self.heard.of('reset'))

    @property
    def mode(self) -> str:
        return self.engine.config.mode

    @property
    def pending(self) -> int:
        """How many frames wait for their window to close."""
        return self.engine.streams['camera'].backlog.frames

    @property
    def windows(self) -> list[int]:
        return self.engine.windows['camera']

    @property
    def dropped(self) -> dict[str, int]:
        return self.accounts.snapshot().dropped
