# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames through its engine stream, every one counted; no ROS in here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from detsam2_ros.engine import Engine, FrameResult, ImageError, WindowError
from detsam2_ros.engine.tracking.pass_runner import Backlog
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.detection_inbox import DetectionInbox, Unused
from detsam2_ros.runtime.detections import NamedDetections, to_detections
from detsam2_ros.runtime.frame_queue import INACTIVE, QueuedFrame
from detsam2_ros.runtime.stamp_order import Order, StampOrder

# After so many failures in a row a stream restarts: what fails may be what it holds.
FAILURES_BEFORE_RESET = 3

REFUSED = 'refused_image'
FAILED = 'inference_failed'
SAME_STAMP = 'repeated_stamp'
LATE_STAMP = 'late_stamp'

_FRAME, _WINDOW = 'frame', 'window'  # what may fail


class Listener(Protocol):
    """What hears of a camera's frames; called on the inference thread, and must not wait long."""

    def on_result(self, camera: str, result: FrameResult) -> None:
        """Masks, or better masks, of a frame; `result.tag` is its QueuedFrame."""
        ...

    def on_dropped(self, camera: str, reason: str) -> None:
        """A frame was dropped; may come from any thread."""
        ...

    def on_reset(self, camera: str, why: str) -> None:
        """A stream restarted; frames count from 0 again."""
        ...

    def on_failure(self, camera: str, message: str) -> None:
        """Something went wrong; what could be saved came, or comes, as results."""
        ...

    def on_classes(self, class_names: Mapping[int, str]) -> None:
        """Detections were used; these are the names of the classes now, old and new."""
        ...


class CameraStream:
    """An engine stream that restarts where the camera does, and never loses count.

    `push` takes a frame, `step` does a part of closing a window. interrupted: whether the thread
    is to end, asked between two parts. detections: of another node, for this camera's frames.
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
        self._masks_come_at_once = engine.config.mode == 'online'
        # Between the frame with which a window is due and the one that must wait for it.
        self._frames_to_close = max(engine.config.window_size - 1, 1)
        self._parts = self._parts_last_time = 0  # of closing a window
        self._stream = engine.open_stream(camera or 'camera')
        self._clear()

    def _clear(self) -> None:
        self._failures: Counter[str] = Counter()  # in a row, of what
        self._held_back = False  # a window failed; it is tried again with the next frame
        self.undone = False  # a call undid what was done of a window that is not closed yet
        self._order = StampOrder(self._window_size)
        self._size: tuple[int, int] | None = None  # (height, width) of the images
        self._unpublished = 0  # frames in the engine that have no masks yet
        self._corrections_since: float | None = None  # when a prompt came that no frame follows
        self._last_closed = 0.0  # when a window was closed, seconds (monotonic)

    @property
    def waiting_since(self) -> float | None:
        """When the oldest frame whose window is not closed arrived, or a prompt without one."""
        tags = self._stream.backlog.tags
        return tags[0].received if tags else self._corrections_since

    @property
    def window_waits_since(self) -> float:
        """When the oldest window began to wait: its first frame came, or the last one was closed.

        Whatever waits longest goes first. Frames of a fast camera are dropped before they are
        old, so the age of frames alone would never let its windows come first.
        """
        return max(self.waiting_since or 0.0, self._last_closed)

    @property
    def waiting(self) -> int:
        """How many frames have no masks yet."""
        return self._unpublished

    @property
    def due(self) -> bool:
        """Whether there is a window for `step`, and no reason to wait for the next frame."""
        return self._stream.backlog.due and not self._held_back

    @property
    def behind(self) -> bool:
        """Whether a window must be closed before the next frame is taken.

        In mode online when that frame would fill another one. In mode window at once: there
        nothing is gained by a frame that overtakes the masks of earlier ones.
        """
        return self._stream.backlog.must_close_first if self._masks_come_at_once else self.due

    @property
    def waits_for_window(self) -> bool:
        """Whether no frame is taken until a window is closed as a whole."""
        return not self._masks_come_at_once and self.due

    @property
    def has_begun(self) -> bool:
        """Whether a window is being closed part by part."""
        return self._stream.backlog.begun

    def push(self, frame: QueuedFrame) -> None:
        """Take a frame; the stream restarts first where time or the image size demands it."""
        newest, order = self._order.newest, self._order.judge(frame.stamp)
        if order is Order.REPEATED:
            self._accounts.repeat(frame.stamp)
            self._drop(SAME_STAMP)
            return
        if order is Order.LATE:
            self._drop(LATE_STAMP)
            return
        image = frame.image
        assert image is not None
        try:
            if order is Order.NEW_TIME and newest is not None:
                self._restart_for_images(
                    f'time went back by {(newest - frame.stamp) / 1e9:.3f} s')
            elif self._size is not None and image.shape[:2] != self._size:
                (h0, w0), (h1, w1) = self._size, image.shape[:2]
                self._restart_for_images(f'the image size changed from {w0}x{h0} to {w1}x{h1}')
        finally:
            # Before its masks come, and before a defect: whoever resets the stream counts it.
            self._unpublished += 1
        if not frame.keep_image:
            frame.image = None
        try:
            self._handle(lambda: self._stream.add(image, frame.stamp, frame))
        except ImageError as error:
            self._unpublished -= 1
            self._drop(REFUSED)
            self._listener.on_failure(self._camera, str(error))
            return
        except _StepError as failure:
            self._unpublished -= 1
            self._drop(FAILED)
            self._fail(failure, _FRAME)
            return
        self._failures[_FRAME] = 0
        self._order.take(frame.stamp)
        self._size = image.shape[0], image.shape[1]
        self._held_back = False
        self._corrections_since = None  # the window that has begun will see to it
        self.use_detections()

    def use_detections(self) -> None:
        """Give the engine the detections whose frames are in reach, early and late ones."""
        if self._detections is None:
            return
        found = self._detections.due(self._stream.stamps, self._order.newest)
        try:
            while found:
                self._prompt(*found.pop(0), self._detections)
        finally:
            self._detections.fail(len(found))  # a defect amid them

    def look_for_corrections(self) -> None:
        """See whether something was prompted; while the camera stands still a pass is due then."""
        self._note_corrections(self._stream.backlog)

    def _note_corrections(self, backlog: Backlog) -> None:
        if backlog.frames or not backlog.corrections:
            self._corrections_since = None
        elif self._corrections_since is None:  # later calls must not put it off
            self._corrections_since = time.monotonic()

    def step(self) -> None:
        """Do a part of closing the oldest window, full or not; after a failure from its start."""
        self._parts += 1
        try:
            before, backlog = self._handle(self._part)
        except _StepError as failure:
            self._held_back = True
            self._fail(failure, _WINDOW)
            return
        # Not with every part: a window that always fails at its last one fails in a row.
        corrected = self._corrections_since is not None and not backlog.corrections
        if backlog.frames < before.frames or corrected:
            self._failures[_WINDOW] = 0
            self._held_back = self.undone = False
        self._note_corrections(backlog)  # what came amid the pass may wait for another one

    def catch_up(self) -> None:
        """Do so many parts that, done after each frame, the window closes before it must."""
        for _ in range(1 + self._parts_last_time // self._frames_to_close):
            if not self.due or self._interrupted():
                return
            self.step()

    def finish(self) -> None:
        """Close all windows for good: what a failure leaves of them is dropped."""
        if self._close() and self._stream.backlog.frames:
            self.reset('its last window could not be closed')

    def restart(self, why: str) -> None:
        """Close all windows for good, and restart."""
        self.reset(why, FAILED if self._close() else INACTIVE)

    def reset(self, why: str, reason: str = FAILED) -> None:
        """Forget everything but the memory bank; what still waits is dropped for a reason.

        why: for the listener; '' reports nothing, at the end.
        """
        dropped, self._unpublished = self._unpublished, 0
        self._accounts.drop(reason, dropped)
        self._accounts.reset()
        self._stream.reset()
        self._clear()
        if self._detections is not None:
            self._detections.clear(Unused.RESET if why else Unused.INACTIVE)
        if why:
            self._listener.on_reset(self._camera, why)

    def _restart_for_images(self, why: str) -> None:
        """Restart where a frame does not follow the ones before."""
        self._accounts.note_restart(why)
        self.restart(why)

    def _close(self) -> bool:
        """Close all windows, as far as that works; returns False when the thread is to end."""
        try:
            while (backlog := self._stream.backlog).frames or backlog.corrections:
                if self._interrupted():
                    return False
                self._handle(self._part)
            self._failures[_WINDOW] = 0
        except _StepError as failure:
            self._listener.on_failure(self._camera, f'inference failed: {failure}')
        return True

    def _prompt(self, index: int, boxes: NamedDetections, inbox: DetectionInbox) -> None:
        stream = self._stream
        try:
            found, surplus = to_detections(boxes, stream.class_names, stream.class_id)
            late = stream.add_detections(index, found)
        except BaseException as error:  # SystemExit too, which a library may raise
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
        return self._stream.step(early=True)

    def _handle(self, step: Callable[[], list[FrameResult]]) -> tuple[Backlog, Backlog]:
        """Run a step and hand on its results, those that come with an error included.

        Returns the backlog before the step and after it.
        """
        before, message = self._stream.backlog, None
        try:
            results = step()
        except ImageError:
            raise
        except WindowError as error:
            results, message = error.results, str(error)
        except Exception as error:
            # Out of device memory, a broken driver: the stream is as it was before the step.
            raise _StepError(f'{type(error).__name__}: {error}') from error
        for result in results:
            if result.revision == 0:
                self._unpublished -= 1
                self._accounts.process()
            self._listener.on_result(self._camera, result)
            result.tag.image = None
        after = self._stream.backlog
        closed = before.frames - after.frames
        if closed > 0:
            self._parts_last_time, self._parts = self._parts, 0
            self._last_closed = time.monotonic()
            self._accounts.close_window(self._last_closed - before.tags[closed - 1].received)
        if message is not None:
            self._listener.on_failure(self._camera, message)
        return before, after

    def _fail(self, failure: _StepError, what: str) -> None:
        self._failures[what] += 1
        given_up = self._failures[what] >= FAILURES_BEFORE_RESET
        next_try = '' if given_up or what == _FRAME else (
            '; its corrections wait for the next try' if self._masks_come_at_once
            else '; its frames wait for the next try')
        self._listener.on_failure(self._camera, f'inference failed: {failure}{next_try}')
        if given_up:
            self.reset(f'inference failed {FAILURES_BEFORE_RESET} times in a row')

    def _drop(self, reason: str) -> None:
        self._accounts.drop(reason)
        self._listener.on_dropped(self._camera, reason)


class _StepError(Exception):
    """A step of the engine failed and left the stream as it was."""
