# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames through its engine stream, whatever happens to them; no ROS in here."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from detsam2_ros.engine import Engine, FrameResult, ImageError, WindowError
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.detection_inbox import DetectionInbox, Unused
from detsam2_ros.runtime.detections import NamedDetections, detections_of

# After so many failures in a row a stream starts anew: what fails may be what it holds.
FAILURES_BEFORE_RESET = 3

REFUSED = 'refused_image'
FAILED = 'inference_failed'
SAME_STAMP = 'repeated_stamp'

# What may fail; in mode window a frame and the window that it fills are one step.
_FRAME, _WINDOW = 'frame', 'window'


@dataclass
class QueuedFrame:
    """A frame on its way: uint8 [H, W, 3] RGB, stamp in ns, seconds (monotonic) of its arrival.

    header: whatever its masks are published with. keep_image: keep the image until then.
    """

    image: np.ndarray | None
    stamp: int
    received: float
    header: Any
    keep_image: bool = False


class Listener(Protocol):
    """What hears of a camera's frames; called on the inference thread, and must not wait long."""

    def on_result(self, camera: str, result: FrameResult, ticket: QueuedFrame) -> None:
        """Masks, or better masks, of a frame."""
        ...

    def on_dropped(self, camera: str, reason: str) -> None:
        """A frame was dropped; may come from any thread."""
        ...

    def on_reset(self, camera: str, why: str) -> None:
        """A stream started anew; frames count from 0 again."""
        ...

    def on_failure(self, camera: str, message: str) -> None:
        """Something went wrong; what could be saved came, or comes, as results."""
        ...

    def on_classes(self, class_names: Mapping[int, str]) -> None:
        """Detections were used; these are the names of the classes now, old and new."""
        ...


class CameraStream:
    """An engine stream that starts anew where the camera does, and never loses count.

    In mode online `push` leaves the window that a frame fills to `work`, which closes it part by
    part. interrupted: whether the thread is to end, asked between two parts. detections: of
    another node, for this camera's frames.
    """

    def __init__(
        self,
        camera: str,
        engine: Engine,
        accounts: FrameAccounts,
        listener: Listener,
        interrupted: Callable[[], bool] = lambda: False,
        detections: DetectionInbox | None = None,
    ):
        self._camera = camera
        self._accounts = accounts
        self._listener = listener
        self._interrupted = interrupted
        self._detections = detections
        self._window_size = engine.config.window_size
        self.in_parts = engine.config.mode == 'online'
        self._stream = engine.open_stream(camera or 'camera')
        self._clear()

    def _clear(self) -> None:
        self._next_index = 0
        self._failures: Counter[str] = Counter()  # in a row, of what
        self._held_back = False  # a window failed; it is tried again with the next frame
        self.undone = False  # a call undid what was done of a window that is still due
        self._last_stamp: int | None = None
        self._size: tuple[int, int] | None = None
        self._tickets: dict[int, QueuedFrame] = {}  # of frames that results may still come for
        self._unpublished: set[int] = set()
        self._open: deque[float] = deque()  # arrival of the frames whose window is not closed
        self._news_since: float | None = None  # when a prompt came that no frame follows

    @property
    def waiting_since(self) -> float | None:
        """When the oldest frame whose window is not closed arrived, or a prompt without one."""
        return self._open[0] if self._open else self._news_since

    @property
    def waiting(self) -> int:
        """How many frames have no masks yet."""
        return len(self._unpublished)

    @property
    def due(self) -> bool:
        """Whether there is a window for `work`, and no reason to wait for the next frame."""
        return self.in_parts and self._stream.closing > 0 and not self._held_back

    @property
    def behind(self) -> bool:
        """Whether a window must be closed first: the next frame would fill another one."""
        if not self.in_parts or not self._stream.closing:
            return False
        return self._stream.pending + 1 - self._stream.closing >= self._window_size

    @property
    def under_way(self) -> bool:
        """Whether a window is being closed part by part."""
        return self.in_parts and self._stream.under_way

    def push(self, ticket: QueuedFrame) -> None:
        """Take a frame; the stream starts anew first where time or the image size demands it."""
        if ticket.stamp == self._last_stamp:
            self._drop(SAME_STAMP)
            return
        image = ticket.image
        assert image is not None
        if self._last_stamp is not None and ticket.stamp < self._last_stamp:
            seconds = (self._last_stamp - ticket.stamp) / 1e9
            self.restart(f'time went back by {seconds:.3f} s')
        elif self._size is not None and image.shape[:2] != self._size:
            (h0, w0), (h1, w1) = self._size, image.shape[:2]
            self.restart(f'the image size changed from {w0}x{h0} to {w1}x{h1}')
        if not ticket.keep_image:
            ticket.image = None
        pending = self._stream.pending
        index = self._next_index

        def take() -> list[FrameResult]:
            # Known before results come: those of a full window include this frame's.
            self._tickets[index] = ticket
            self._unpublished.add(index)
            self._open.append(ticket.received)
            if self.in_parts:
                return self._stream.take(image, ticket.stamp)
            if self._detections is None:
                return self._stream.push(image, ticket.stamp)
            # As push does, with the detections that came before their frame in between.
            results = self._stream.take(image, ticket.stamp)
            self._use_detections(ticket.stamp)
            if self._stream.pending >= self._window_size:
                results += self._stream.flush()
            return results

        what = _FRAME if self.in_parts else _WINDOW
        try:
            self._handle(take)
        except ImageError as error:
            self._forget(index)
            self._drop(REFUSED)
            self._listener.on_failure(self._camera, str(error))
            return
        except _StepError as failure:
            if self._stream.pending > pending:
                self._taken(ticket, image)
            else:
                self._forget(index)
                self._drop(FAILED)
            self._fail(failure, what)
            return
        self._failures[what] = 0
        self._taken(ticket, image)

    def use_detections(self) -> None:
        """Give the engine the detections whose frames are in reach, early and late ones."""
        self._use_detections(self._last_stamp)

    def header(self, index: int) -> Any:
        """Return the header of a frame in reach."""
        return self._tickets[index].header

    def look_for_news(self) -> None:
        """See whether something was prompted; while the camera stands still a pass is due then."""
        if self._open or not self._stream.news:
            self._news_since = None
        elif self._news_since is None:  # later calls must not put it off
            self._news_since = time.monotonic()

    def work(self) -> None:
        """Do a part of closing the oldest window, full or not; a failure begins with it anew."""
        pending = self._stream.pending
        try:
            self._handle(self._part)
        except _StepError as failure:
            self._held_back = True
            self._fail(failure, _WINDOW)
            return
        # Not with every part: a window that always fails at its last one fails in a row.
        news_are_old = self._news_since is not None and not self._stream.news
        if self._stream.pending < pending or news_are_old:
            self._failures[_WINDOW] = 0
            self._held_back = self.undone = False
            self._news_since = None

    def flush(self) -> None:
        """Close the unfinished window; if that fails its frames wait on."""
        try:
            self._handle(self._stream.flush)
        except _StepError as failure:
            self._fail(failure, _WINDOW)
            return
        self._failures[_WINDOW] = 0
        self._news_since = None

    def finish(self) -> None:
        """Close all windows for good: what a failure leaves of them is dropped."""
        if self._close() and self._stream.pending:
            self.start_anew('its last window could not be closed')

    def restart(self, why: str) -> None:
        """Close all windows for good, and start anew."""
        self._close()
        self.start_anew(why)

    def start_anew(self, why: str, reason: str = FAILED) -> None:
        """Forget everything but the memory bank; what still waits is dropped for a reason.

        why: told to the listener; '' tells nobody, at the end.
        """
        self._accounts.drop(reason, len(self._unpublished))
        self._accounts.reset()
        self._stream.reset()
        self._clear()
        if self._detections is not None:
            self._detections.clear(Unused.RESET if why else Unused.INACTIVE)
        if why:
            self._listener.on_reset(self._camera, why)

    def _close(self) -> bool:
        """Close all windows, as far as that works; returns False when the thread is to end."""
        try:
            if not self.in_parts:
                self._handle(self._stream.flush)
            while self.in_parts and (self._stream.pending or self._stream.news):
                if self._interrupted():
                    return False
                self._handle(self._part)
            self._failures[_WINDOW] = 0
        except _StepError as failure:
            self._listener.on_failure(self._camera, f'inference failed: {failure}')
        return True

    def _use_detections(self, newest: int | None) -> None:
        if self._detections is None:
            return
        frames = {ticket.stamp: index for index, ticket in self._tickets.items()}
        for index, boxes in self._detections.due(frames, newest):
            self._prompt(index, boxes, self._detections)

    def _prompt(self, index: int, boxes: NamedDetections, inbox: DetectionInbox) -> None:
        stream = self._stream
        try:
            found, surplus = detections_of(boxes, stream.class_names, stream.class_id)
            late = stream.add_detections(index, found)
        except Exception as error:
            # The masks go on without them, as they do when a detector of the engine's fails.
            inbox.fail()
            self._listener.on_failure(
                self._camera,
                f'detections of frame {index} could not be used, {type(error).__name__}: {error}')
            return
        if surplus:
            inbox.refuse('too_many_classes', surplus)
        inbox.use(late.matched, late.started, late.ignored)
        self._listener.on_classes(stream.class_names)

    def _part(self) -> list[FrameResult]:
        return self._stream.work(early=True)

    def _taken(self, ticket: QueuedFrame, image: np.ndarray) -> None:
        self._next_index += 1
        self._last_stamp = ticket.stamp
        self._size = image.shape[0], image.shape[1]
        self._held_back = False
        self._news_since = None  # the window that has begun will see to it
        self.use_detections()

    def _forget(self, index: int) -> None:
        """Undo what was noted of a frame that was not taken."""
        self._tickets.pop(index, None)
        if index in self._unpublished:
            self._unpublished.remove(index)
            self._open.pop()

    def _handle(self, step: Callable[[], list[FrameResult]]) -> None:
        """Run a step and hand on its results, those that come with an error included."""
        message = None
        try:
            results = step()
        except ImageError:
            raise
        except WindowError as error:
            results, message = error.results, str(error)
        except Exception as error:
            # Out of device memory, a broken driver: the stream is as it was before the window.
            raise _StepError(f'{type(error).__name__}: {error}') from error
        for result in results:
            ticket = self._tickets[result.index]
            if result.revision == 0:
                self._unpublished.discard(result.index)
                self._accounts.process()
            self._listener.on_result(self._camera, result, ticket)
            ticket.image = None
        horizon = self._stream.horizon
        self._tickets = {i: t for i, t in self._tickets.items() if i >= horizon}
        arrival = None
        while len(self._open) > self._stream.pending:
            arrival = self._open.popleft()
        if arrival is not None:
            self._accounts.close_window(time.monotonic() - arrival)
        if message is not None:
            self._listener.on_failure(self._camera, message)

    def _fail(self, failure: _StepError, what: str) -> None:
        self._failures[what] += 1
        given_up = self._failures[what] >= FAILURES_BEFORE_RESET
        next_try = '' if given_up or what == _FRAME else (
            '; its corrections wait for the next try' if self.in_parts
            else '; its frames wait for the next try')
        self._listener.on_failure(self._camera, f'inference failed: {failure}{next_try}')
        if given_up:
            self.start_anew(f'inference failed {FAILURES_BEFORE_RESET} times in a row')

    def _drop(self, reason: str) -> None:
        self._accounts.drop(reason)
        self._listener.on_dropped(self._camera, reason)


class _StepError(Exception):
    """A step of the engine failed and left the stream as it was."""
