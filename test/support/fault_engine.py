# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The real engine with places to fail and to wait in, for tests of the inference thread."""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
from fakes import colour_sam2

from detsam2_ros.engine import Detections, Engine, EngineConfig, FrameResult, Stream
from detsam2_ros.engine.tracking import corrections
from detsam2_ros.engine.tracking.pass_runner import PassRunner

PATIENCE = 60.0  # seconds for what takes milliseconds: a busy machine fails no test

Fault = Callable[[Stream], None]


def fail(*_: object, **__: object) -> None:
    """Fail as a GPU does whose memory is full."""
    raise MemoryError('full')


def well(*_: object) -> None:
    """Do nothing."""


def together(*work: Callable[[], object]) -> None:
    """Do several things at once, each in its thread, and wait for their end."""
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


class FaultEngine(Engine):
    """The real engine on a model that computes next to nothing, with places to fail or wait in.

    on_add runs before a frame is taken, on_part before each of the `parts` in which a window is
    closed, on_end in its last part, on_detect in the detector: what they raise is what the engine
    meets there. Every pass corrects all frames in reach, as if their masks had changed.
    """

    def __init__(
        self, window: int = 4, reach: int = 8, mode: str = 'window', parts: int = 3,
        detects: bool = True,
    ):
        config = EngineConfig(
            window_size=window, max_propagation=reach, mode=mode, detect_interval=1,
            windows='plain')
        super().__init__(colour_sam2(), FaultDetector(self) if detects else None, config)
        self.parts = parts
        self.windows: dict[str, list[int]] = defaultdict(list)  # lengths of those that closed
        self.thread = threading.get_ident()
        self.closed = 0
        self.on_add: Fault = well
        self.on_part: Fault = well
        self.on_end: Fault = well
        self.on_detect: Callable[[], None] = well

    def open_stream(self, name: str) -> Stream:
        stream = super().open_stream(name)
        add = stream.add

        def hooked(*arguments: Any) -> list[FrameResult]:
            self.check_thread()
            self.on_add(stream)
            return add(*arguments)

        stream.add = hooked  # type: ignore[method-assign]
        stream._runner = FaultRunner(self, stream)
        return stream

    def close(self) -> None:
        self.check_thread()
        self.closed += 1
        super().close()

    def check_thread(self) -> None:
        assert threading.get_ident() == self.thread, 'the engine was used from two threads'


class FaultDetector:
    """Finds nothing, or fails."""

    def __init__(self, engine: FaultEngine):
        self.class_names = {0: 'disc'}
        self._engine = engine

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self._engine.on_detect()
        return [Detections.empty() for _ in images]


class FaultRunner(PassRunner):
    """Closes windows in as many parts as the engine of a test wants."""

    def __init__(self, engine: FaultEngine, stream: Stream):
        super().__init__(stream._holder)
        self._engine, self._stream = engine, stream

    def _close(self, window, tools):
        engine, steps, done = self._engine, super()._close(window, tools), 0
        while True:
            engine.check_thread()
            engine.on_part(self._stream)
            done += 1
            if done >= engine.parts:
                break
            if done == 1:
                next(steps)  # what comes later is not of this pass
            yield
        engine.on_end(self._stream)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value

    def _finish(self, *arguments):
        with mock.patch.object(corrections, '_compare', lambda *_: ({1}, 0.0)):
            return super()._finish(*arguments)

    def _taken_over(self, state, run, ids, horizon, closed):
        self._engine.windows[self._stream.name].append(closed)
        return super()._taken_over(state, run, ids, horizon, closed)


class Steps(FaultEngine):
    """An engine that writes down what it does: (camera, 'take'), (camera, 'part'), ..."""

    def __init__(self, **more: Any):
        super().__init__(**{'mode': 'online', **more})
        self.log: list[tuple[str, str]] = []
        self.fault: Fault = well
        self.on_add = lambda stream: self.note(stream, 'take')
        self.on_part = lambda stream: self.note(stream, 'part')
        self.on_end = lambda stream: self.note(stream, 'end')

    def note(self, stream: Stream, what: str) -> None:
        self.log.append((stream.name, what))
        assert stream.backlog.frames < 2 * self.config.window_size, 'corrections fell behind'
        if what == 'part':
            self.fault(stream)

    def kinds(self, camera: str = 'camera') -> list[str]:
        return [what for name, what in self.log if name == camera]


class Gate:
    """A fault that waits: it is entered, and left when the test opens it."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, *_: object) -> None:
        self.entered.release()
        assert self.open.acquire(timeout=PATIENCE)

    def wait(self) -> None:
        """Wait until the thread is in here, once more."""
        assert self.entered.acquire(timeout=PATIENCE)

    def pass_on(self, times: int = 1) -> None:
        """Let the thread go on, and not wait the next times."""
        self.open.release(times)


PASS = ['part', 'part', 'part', 'end']  # what `kinds` holds of a window that closes


def takes(count: int) -> list[str]:
    """Return what `kinds` holds of frames that are taken."""
    return ['take'] * count
