# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""For tests of the inference thread: an engine without a model, a listener, and both set up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from detsam2_ros.results.errors import DetectorError, ImageError, WindowError
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.camera_stream import CameraStream, QueuedFrame
from detsam2_ros.runtime.worker import Worker

PATIENCE = 60.0  # seconds for what takes milliseconds: a busy machine fails no test
SMALL = (4, 6, 3)

# What a fault may do: raise, or return why the detector failed.
Fault = Callable[['FakeStream'], 'str | None']


@dataclass(frozen=True)
class FakeResult:
    """What the inference thread reads of a FrameResult."""

    stream: str
    index: int
    stamp: int
    revision: int


class FakeEngine:
    """Opens streams that keep the engine's promises and compute nothing.

    on_push runs before a frame is taken, on_part before each of the parts in which mode online
    closes a window, on_window before it is closed: what they raise is what the engine raises
    there; a text returned by on_window, in mode online by on_push, is a failure of the detector.
    """

    def __init__(
        self, window: int = 4, reach: int = 8, mode: str = 'window', parts: int = 3
    ):
        self.window, self.reach, self.parts = window, reach, parts
        self.config = SimpleNamespace(mode=mode, window_size=window)
        self.streams: dict[str, FakeStream] = {}
        self.thread = threading.get_ident()
        self.closed = 0
        self.on_push: Fault = lambda stream: None
        self.on_part: Fault = lambda stream: None
        self.on_window: Fault = lambda stream: None

    def open_stream(self, name: str) -> FakeStream:
        self.streams[name] = FakeStream(self, name)
        return self.streams[name]

    def close(self) -> None:
        self.check_thread()
        self.closed += 1

    def check_thread(self) -> None:
        assert threading.get_ident() == self.thread, 'the engine was used from two threads'


class FakeStream:
    """Closes windows of `window` frames and corrects every frame in reach each time."""

    news = False

    def __init__(self, engine: FakeEngine, name: str):
        self.engine, self.name = engine, name
        self.windows: list[int] = []  # lengths of those that closed
        self.class_names: dict[int, str] = {}
        self._start()

    def _start(self) -> None:
        self.horizon = self._next = 0
        self._size: tuple[int, ...] | None = None
        self._window: list[tuple[int, int]] = []
        self._published: dict[int, tuple[int, int]] = {}  # revision, stamp
        self._begun = self._done = 0  # frames of the window that is being closed, parts of it

    @property
    def pending(self) -> int:
        return len(self._window)

    @property
    def closing(self) -> int:
        full = self.pending >= self.engine.window
        return self._begun or (self.engine.window if full else 0)

    @property
    def under_way(self) -> bool:
        return self._begun > 0

    def begin_anew(self) -> None:
        """Undo what was done of a window, as a bank that is swapped does."""
        self._begun = self._done = 0

    def push(self, image: np.ndarray, stamp: int) -> list[FakeResult]:
        assert self.engine.config.mode == 'window'
        self._take(image, stamp)
        return self.flush() if self.pending >= self.engine.window else []

    def take(self, image: np.ndarray, stamp: int) -> list[FakeResult]:
        assert self.engine.config.mode == 'online'
        failure = self._take(image, stamp)
        self._published[self._next - 1] = (0, stamp)
        results = [FakeResult(self.name, self._next - 1, stamp, 0)]
        if failure:
            raise DetectorError(failure, results)
        return results

    def _take(self, image: np.ndarray, stamp: int) -> str | None:
        self.engine.check_thread()
        if self._size not in (None, image.shape):
            raise ImageError('another size')
        failure = self.engine.on_push(self)
        if self.pending >= self.engine.window + self.engine.reach:
            raise RuntimeError('frames wait because their window failed each time')
        self._size = image.shape
        self._window.append((self._next, stamp))
        self._next += 1
        return failure

    def work(self, early: bool = False) -> list[FakeResult]:
        self.engine.check_thread()
        assert self.engine.config.mode == 'online'
        if not self.closing and not (early and self._window):
            return []
        self._begun = self._begun or min(self.engine.window, self.pending)
        try:
            self.engine.on_part(self)
            self._done += 1
            if self._done < self.engine.parts:
                return []
            self.engine.on_window(self)
        except BaseException:
            self.begin_anew()
            raise
        results = self._close()
        self.begin_anew()
        return results

    def flush(self) -> list[FakeResult]:
        self.engine.check_thread()
        results: list[FakeResult] = []
        failures: list[str] = []
        while self._window:
            try:
                failure = self.engine.on_window(self)
            except Exception as error:
                if not results:
                    raise
                raise WindowError(f'a later window failed: {error}', results) from error
            failures += [failure] if failure else []
            results += self._close()
        if failures:
            raise DetectorError('; '.join(failures), results)
        return results

    def _close(self) -> list[FakeResult]:
        count = self._begun or self.engine.window
        window, self._window = self._window[:count], self._window[count:]
        newest = window[-1][0]
        oldest = max(newest - self.engine.reach + 1, self.horizon)
        if self.engine.config.mode == 'window':
            for index, stamp in window:
                self._published[index] = (-1, stamp)
        for index in range(oldest, newest + 1):
            revision, stamp = self._published[index]
            self._published[index] = (revision + 1, stamp)
        self.horizon = max(self.horizon, newest + self.engine.window - self.engine.reach + 1)
        out = [FakeResult(self.name, i, self._published[i][1], self._published[i][0])
               for i in range(oldest, newest + 1)]
        self._published = {i: p for i, p in self._published.items() if i >= self.horizon}
        self.windows.append(len(window))
        return out

    def reset(self) -> None:
        self.engine.check_thread()
        self._start()


class Steps(FakeEngine):
    """An engine that writes down what it does: (camera, 'take'), (camera, 'part'), ..."""

    def __init__(self, **more):
        super().__init__(**{'mode': 'online', **more})
        self.log: list[tuple[str, str]] = []
        self.fault = lambda stream: None
        self.on_push = lambda stream: self.note(stream, 'take')
        self.on_part = lambda stream: self.note(stream, 'part')
        self.on_window = lambda stream: self.note(stream, 'end')

    def note(self, stream, what: str) -> None:
        self.log.append((stream.name, what))
        assert stream.backlog.frames < 2 * self.window, 'corrections fell behind'
        if what == 'part':
            self.fault(stream)

    def kinds(self, camera: str = 'camera') -> list[str]:
        return [what for name, what in self.log if name == camera]


PASS = ['part', 'part', 'part', 'end']  # what `kinds` holds of a window that closes


def takes(count: int) -> list[str]:
    """Return what `kinds` holds of frames that are taken."""
    return ['take'] * count


class Recorder:
    """A listener that keeps all it is told, by camera and in order, and can be waited for."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.events: list[tuple[Any, ...]] = []
        self.images: list[np.ndarray | None] = []
        self.tickets: list[QueuedFrame] = []
        self.on_event: Callable[[tuple[Any, ...]], None] = lambda event: None

    def on_result(self, camera: str, result: Any, ticket: QueuedFrame) -> None:
        assert ticket.stamp == result.stamp
        assert ticket.header == ('header', result.stamp)
        self.images.append(ticket.image)
        self.tickets.append(ticket)
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
            assert self.changed.wait_for(condition, PATIENCE), self.events


def image(shape: Sequence[int] = SMALL) -> np.ndarray:
    return np.zeros(shape, np.uint8)


def ticket(stamp: int, picture: np.ndarray | None = None, ago: float = 0.0,
           keep: bool = False) -> QueuedFrame:
    """Make a frame that arrived some seconds ago."""
    return QueuedFrame(image() if picture is None else picture, stamp, time.monotonic() - ago,
                  ('header', stamp), keep)


class Rig:
    """A worker on an engine, with accounts and a recorder."""

    def __init__(self, engine: Any = None, cameras: Sequence[str] = ('',), queue: int = 100,
                 delay: float = 0.0):
        self.engine = FakeEngine() if engine is None else engine
        self.cameras = tuple(cameras)
        self.accounts = {camera: FrameAccounts() for camera in cameras}
        self.heard = Recorder()
        self.worker = Worker(cameras, self.accounts, self.heard, queue, delay)

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
            self.worker.offer(camera, ticket(stamp, **more))

    def settle(self) -> None:
        """Wait until no frame is queued or being worked on; frames in windows stay there."""
        while any(self.worker.waiting().values()):
            self.barrier()
        self.barrier()

    def barrier(self) -> None:
        """Wait for the end of what the inference thread does now."""
        self.worker.call(lambda _: None).result(PATIENCE)

    @contextlib.contextmanager
    def held(self) -> Iterator[threading.Event]:
        """Keep the inference thread busy with a call; set the event to let it go earlier."""
        entered, gate = threading.Event(), threading.Event()

        def wait(_: Any) -> None:
            entered.set()
            assert gate.wait(PATIENCE)

        self.worker.call(wait)
        assert entered.wait(PATIENCE)
        try:
            yield gate
        finally:
            gate.set()

    def pending(self, camera: str = '') -> int:
        """Return how many frames wait in the engine's unfinished window."""
        return self.engine.streams[camera or 'camera'].pending

    def without_masks(self, camera: str = '') -> int:
        """Return how many frames the engine holds that have no masks yet."""
        return self.pending(camera) if self.engine.config.mode == 'window' else 0

    def check_books(self) -> None:
        """Check at a quiet moment that every frame is where the accounts say."""
        queued = self.worker.waiting()
        for camera, accounts in self.accounts.items():
            now = accounts.snapshot()
            assert now.received == now.processed + now.dropped_total + now.waiting
            assert now.waiting == queued[camera] + self.without_masks(camera), now
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

    def __init__(self, engine=None):
        self.engine = engine or FakeEngine()
        self.accounts, self.heard = FrameAccounts(), Recorder()
        self.stream = CameraStream('', self.engine, self.accounts, self.heard)

    def push(self, *stamps: int, **more) -> QueuedFrame | None:
        sent = None
        for stamp in stamps:
            self.accounts.receive()
            sent = ticket(stamp, **more)
            self.stream.push(sent)
            self.check()
        return sent

    def check(self) -> None:
        """Check that the accounts, the stream and what was heard agree."""
        now = self.accounts.snapshot()
        assert now.received == now.processed + now.dropped_total + now.waiting
        pending = self.engine.streams['camera'].pending
        assert now.waiting == self.stream.waiting == (0 if self.stream.in_parts else pending)
        assert now.processed == len(self.heard.first())
        assert (self.stream.waiting_since is None) == (pending == 0)
        assert len(self.stream._open) == pending
        assert now.resets == len(self.heard.of('reset'))

    @property
    def dropped(self) -> dict[str, int]:
        return self.accounts.snapshot().dropped
