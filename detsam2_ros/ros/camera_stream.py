# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames through its engine stream, whatever happens to them; no ROS in here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from detsam2_ros.engine import Engine, FrameResult, ImageError, WindowError
from detsam2_ros.ros.accounting import FrameAccounts

# After so many failures in a row a stream starts anew: what fails may be what it holds.
FAILURES_BEFORE_RESET = 3

REFUSED = 'refused_image'
FAILED = 'inference_failed'
SAME_STAMP = 'repeated_stamp'


@dataclass
class Ticket:
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

    def on_result(self, camera: str, result: FrameResult, ticket: Ticket) -> None:
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


class CameraStream:
    """An engine stream that starts anew where the camera does, and never loses count."""

    def __init__(self, camera: str, engine: Engine, accounts: FrameAccounts, listener: Listener):
        self._camera = camera
        self._accounts = accounts
        self._listener = listener
        self._stream = engine.open_stream(camera or 'camera')
        self._clear()

    def _clear(self) -> None:
        self._next_index = 0
        self._failures = 0
        self._last_stamp: int | None = None
        self._size: tuple[int, int] | None = None
        self._tickets: dict[int, Ticket] = {}  # of frames that results may still come for
        self._unpublished: dict[int, float] = {}  # their arrival, in order

    @property
    def waiting_since(self) -> float | None:
        """When the oldest frame of the unfinished window arrived."""
        return next(iter(self._unpublished.values()), None)

    @property
    def waiting(self) -> int:
        """How many frames have no masks yet."""
        return len(self._unpublished)

    def push(self, ticket: Ticket) -> None:
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
            self._unpublished[index] = ticket.received
            return self._stream.push(image, ticket.stamp)

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
            self._fail(failure)
            return
        self._taken(ticket, image)

    def flush(self) -> None:
        """Close the unfinished window; if that fails its frames wait on."""
        try:
            self._handle(self._stream.flush)
        except _StepError as failure:
            self._fail(failure)

    def finish(self) -> None:
        """Close the unfinished window for good: what a failure leaves of it is dropped."""
        self._close()
        if self._unpublished:
            self.start_anew('its last window could not be closed')

    def restart(self, why: str) -> None:
        """Close the unfinished window for good, and start anew."""
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
        if why:
            self._listener.on_reset(self._camera, why)

    def _close(self) -> None:
        try:
            self._handle(self._stream.flush)
        except _StepError as failure:
            self._listener.on_failure(self._camera, f'inference failed: {failure}')

    def _taken(self, ticket: Ticket, image: np.ndarray) -> None:
        self._next_index += 1
        self._last_stamp = ticket.stamp
        self._size = image.shape[0], image.shape[1]

    def _forget(self, index: int) -> None:
        self._tickets.pop(index, None)
        self._unpublished.pop(index, None)

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
        self._failures = 0
        for result in results:
            ticket = self._tickets[result.index]
            if result.revision == 0:
                self._unpublished.pop(result.index, None)
                self._accounts.process()
            self._listener.on_result(self._camera, result, ticket)
            ticket.image = None
        horizon = self._stream.horizon
        self._tickets = {i: t for i, t in self._tickets.items() if i >= horizon}
        if message is not None:
            self._listener.on_failure(self._camera, message)

    def _fail(self, failure: _StepError) -> None:
        self._failures += 1
        self._listener.on_failure(
            self._camera, f'inference failed: {failure}; its frames wait for the next try'
            if self._failures < FAILURES_BEFORE_RESET else f'inference failed: {failure}')
        if self._failures >= FAILURES_BEFORE_RESET:
            self.start_anew(f'inference failed {FAILURES_BEFORE_RESET} times in a row')

    def _drop(self, reason: str) -> None:
        self._accounts.drop(reason)
        self._listener.on_dropped(self._camera, reason)


class _StepError(Exception):
    """A step of the engine failed and left the stream as it was."""
