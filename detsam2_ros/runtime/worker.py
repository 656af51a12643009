# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The inference thread: it alone touches the engine and its device; no ROS in here.

Other threads hand over frames (`offer`) and work to do between two steps (`call`), and never wait
for inference unless they ask for a call's outcome. A step is a frame, or a part of closing a
window.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar

from detsam2_ros.engine import Engine
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.camera_stream import CameraStream, Listener
from detsam2_ros.runtime.detection_inbox import DetectionInbox
from detsam2_ros.runtime.frame_queue import INACTIVE, QUEUE_FULL, FrameQueue, QueuedFrame

_log = logging.getLogger(__name__)

T = TypeVar('T')

INTERNAL = 'internal_error'  # why frames are dropped here


class WorkerStoppedError(RuntimeError):
    """The inference thread ended before it came to what was asked of it."""


class Worker:
    """Runs an engine on its own thread for several cameras.

    queue_size: frames of one camera that may wait; beyond it the oldest is dropped and counted.
    max_window_delay: seconds after which the oldest frame of an unfinished window closes it, and
    a prompt is acted on that no frame follows; 0 = never. While frames of that camera wait in the
    queue it is not closed early: a thread that cannot keep up must not make its windows smaller.
    detections: by camera, what another node found on its frames. freshest: in mode online, where
    frames come faster than inference, the newest one is taken, and masks keep coming while windows
    are closed.

    Cameras whose frames wait take turns, the one that has waited longest first. A turn is a frame,
    and frames go before windows, which are closed part by part while no frame waits, the one that
    has waited longest first. But in mode window a camera's frames wait for its window. In mode
    online a turn is a part of the camera's window where the next frame would fill a second one, so
    that no camera's corrections fall behind by more than one; where the window of a camera that
    stopped is overdue; and, with `freshest`, at every other turn of a camera that drops frames, so
    many parts then that masks come evenly.
    Calls go before both, but a window that one of them undid (a memory bank was
    swapped) is closed before the next call where frames wait for that: swaps in a row must not
    keep them waiting for ever.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        accounts: Mapping[str, FrameAccounts],
        listener: Listener,
        queue_size: int,
        max_window_delay: float,
        detections: Mapping[str, DetectionInbox] | None = None,
        freshest: bool = False,
    ):
        self._accounts = accounts
        self._listener = listener
        self._delay = max_window_delay
        self._detections = {} if detections is None else detections  # filled later
        self._wake = threading.Condition()
        self._queues = {
            camera: FrameQueue(queue_size, accounts[camera], freshest) for camera in cameras}
        self._calls: deque[tuple[Callable[[Engine], Any], Future[Any]]] = deque()
        self._accepting = False
        self._stopping = False
        self._engine: Engine | None = None
        self._streams: dict[str, CameraStream] = {}
        self._thread: threading.Thread | None = None

    def start(self, make_engine: Callable[[], Engine]) -> Future[Engine]:
        """Start the thread, which makes the engine first; the future has it, or why there is none.

        Without an engine the thread ends.
        """
        made: Future[Engine] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(make_engine, made), name='inference', daemon=True)
        self._thread.start()
        return made

    def offer(self, camera: str, frame: QueuedFrame) -> None:
        """Hand over a frame that was received; drops the oldest one when the queue is full."""
        with self._wake:
            if not self._accepting:
                self._accounts[camera].drop(INACTIVE)
                return
            full = self._queues[camera].put(frame)
            self._wake.notify()
        if full:
            self._listener.on_dropped(camera, QUEUE_FULL)

    def call(self, work: Callable[[Engine], T]) -> Future[T]:
        """Have something done between two steps, before the frames that wait."""
        future: Future[T] = Future()
        with self._wake:
            if self._stopping:
                future.set_exception(WorkerStoppedError('the inference thread has ended'))
                return future
            self._calls.append((work, future))
            self._wake.notify()
        return future

    def look_at_detections(self, camera: str) -> None:
        """Have the detections that came for a camera's frames used between two steps."""
        self.call(lambda _: self._guard(camera, self._streams[camera].use_detections))

    def activate(self) -> None:
        """Take frames from now on."""
        with self._wake:
            self._accepting = not self._stopping

    def deactivate(self) -> Future[None]:
        """Take no more frames; drop those that wait and close all unfinished windows."""
        with self._wake:
            self._accepting = False
            for queue in self._queues.values():
                queue.drop_all()
        return self.call(lambda _: self._flush_all())

    def reset(self) -> Future[None]:
        """Close all unfinished windows and restart the streams."""
        return self.call(lambda _: self._reset_all())

    def stop(self, timeout: float | None) -> bool:
        """End the thread after what it does now; returns whether it ended within seconds.

        Frames that wait are dropped and calls that wait are refused at once, so that nobody
        waits for a pass that does not end. timeout: None waits as long as it takes.
        """
        self._refuse_all()
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def waiting(self) -> dict[str, int]:
        """Return per camera how many frames wait in the queue."""
        with self._wake:
            return {camera: len(queue) for camera, queue in self._queues.items()}

    @property
    def engine(self) -> Engine | None:
        """The engine, for what is safe from any thread (`stats`); None until it is made."""
        return self._engine

    @property
    def has_ended(self) -> bool:
        """Whether the thread has ended: after `stop`, or by a defect that is in the log."""
        return self._thread is not None and not self._thread.is_alive()

    # ---- on the inference thread ---------------------------------------------------------------

    def _run(self, make_engine: Callable[[], Engine], made: Future[Engine]) -> None:
        try:
            if self._make(make_engine, made):
                self._serve()
        except BaseException:
            _log.exception('the inference thread ends; clean the node up and configure it again')
        finally:
            self._end()

    def _make(self, make_engine: Callable[[], Engine], made: Future[Engine]) -> bool:
        """Make the engine and a stream for each camera; returns whether there are."""
        if self._stopping:
            made.set_exception(WorkerStoppedError('the inference thread was told to end'))
            return False
        try:
            engine = self._engine = make_engine()
            for camera in self._queues:
                self._streams[camera] = CameraStream(
                    camera, engine, self._accounts[camera], self._listener,
                    lambda: self._stopping, self._detections.get(camera),
                )
        except BaseException as error:  # for whoever asked
            # An error holds on to where it came from, and so to the models that did load.
            traceback.clear_frames(error.__traceback__)
            made.set_exception(error)
            return False
        made.set_result(engine)
        return True

    def _serve(self) -> None:
        """Do what is asked for until the end."""
        while (step := self._next_step()) is not None:
            step()
            del step  # a frame is not held while the next one is waited for

    def _next_step(self) -> Callable[[], None] | None:
        """Wait for something to do; returns None at the end."""
        with self._wake:
            while not self._stopping:
                if self._calls and not self._must_close_undone():
                    return partial(self._work, *self._calls.popleft())
                turn = self._next_turn()
                if turn is not None:
                    return turn
                self._wake.wait(self._seconds_to_deadline())
        return None

    def _next_turn(self) -> Callable[[], None] | None:
        """Return a frame to take, or a part of a window to do."""
        camera = self._next_camera()
        if camera is None:
            window = self._next_window()
            return None if window is None else partial(
                self._guard, window, self._streams[window].step)
        stream, queue = self._streams[camera], self._queues[camera]
        if queue and not stream.behind and not (queue.owes_turn and stream.due):
            return partial(self._guard, camera, partial(stream.push, queue.pop()))
        parts = stream.catch_up if queue.owes_turn and stream.due else stream.step
        queue.give_turn()
        return partial(self._guard, camera, parts)

    def _work(self, work: Callable[[Engine], Any], future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        begun = [stream for stream in self._streams.values() if stream.has_begun]
        try:
            outcome = work(self._engine)  # type: ignore[arg-type]
        except BaseException as error:  # for whoever asked
            future.set_exception(error)
        else:
            future.set_result(outcome)
        for stream in begun:
            stream.undone |= not stream.has_begun
        for stream in self._streams.values():
            stream.look_for_corrections()

    def _guard(self, camera: str, step: Callable[[], object]) -> None:
        """Run a step; whatever it raises is a defect, reported as such, and ends nothing.

        Not even SystemExit, which a library may raise, and which ends a thread without a word.
        """
        try:
            step()
        except BaseException as error:
            _log.exception('inference thread')
            self._listener.on_failure(camera, f'{type(error).__name__}: {error}')
            self._streams[camera].reset('of an internal error', INTERNAL)

    def _must_close_undone(self) -> bool:
        """Whether frames wait, for masks or in a queue, for a window that a call undid."""
        now = time.monotonic()
        return any(
            stream.undone
            and (stream.waiting or self._queues[camera])
            and (stream.behind or self._is_overdue(camera, now))
            for camera, stream in self._streams.items()
        )

    def _next_camera(self) -> str | None:
        """Return the camera that has waited longest for a turn, None where no frame waits."""
        if not any(self._queues.values()):
            return None
        now = time.monotonic()
        waiting = [
            (queue.waiting_since, camera)
            for camera, queue in self._queues.items()
            if not self._streams[camera].waits_for_window
            and (queue or self._is_overdue(camera, now))
        ]
        return min(waiting)[1] if waiting else None

    def _next_window(self) -> str | None:
        """Return the camera with the window to do a part of."""
        now = time.monotonic()
        waiting = [
            (stream.window_waits_since, camera)
            for camera, stream in self._streams.items()
            if stream.due or stream.behind or self._is_overdue(camera, now)
        ]
        return min(waiting)[1] if waiting else None

    def _seconds_to_deadline(self) -> float | None:
        if not self._delay:
            return None
        starts = [s.waiting_since for s in self._streams.values()]
        due = [start + self._delay for start in starts if start is not None]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def _is_overdue(self, camera: str, now: float) -> bool:
        start = self._streams[camera].waiting_since
        if not self._delay or start is None or self._queues[camera]:
            return False
        return start + self._delay <= now

    def _flush_all(self) -> None:
        for camera, stream in self._streams.items():
            if self._stopping:
                break  # what a shutdown could not wait for is counted as dropped
            self._guard(camera, stream.finish)

    def _reset_all(self) -> None:
        for camera, stream in self._streams.items():
            self._guard(camera, partial(stream.restart, 'it was asked to'))

    def _refuse_all(self) -> None:
        """Take nothing more; frames that wait are dropped, calls refused. From any thread."""
        with self._wake:
            self._accepting, self._stopping = False, True
            calls, self._calls = self._calls, deque()
            for queue in self._queues.values():
                queue.drop_all()
            self._wake.notify()
        for _, future in calls:
            if future.set_running_or_notify_cancel():
                future.set_exception(WorkerStoppedError('the inference thread ended first'))

    def _end(self) -> None:
        self._refuse_all()
        # Taken out one by one: a stream that is held here would hold the model while it closes.
        while self._streams:
            try:
                self._streams.popitem()[1].reset('', INACTIVE)
            except Exception:  # a broken device; the frames of the other cameras count too
                _log.exception('a stream could not be reset; its memory ends with the process')
        engine, self._engine = self._engine, None
        if engine is None:
            return
        try:
            engine.close()
        except Exception:
            _log.exception('the engine could not be closed; its memory ends with the process')
