# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A thread that publishes, so that inference never waits for the middleware."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

_END = object()


class Outbox:
    """Runs what is posted in order, on a thread of its own.

    At most `capacity` posts wait; beyond that `post` does, which slows inference down to what
    can be sent, and so drops frames where they are counted: at the queue of the camera.
    """

    def __init__(self, capacity: int):
        self._queue: queue.Queue[object] = queue.Queue(capacity)
        self._thread = threading.Thread(target=self._run, name='publishing', daemon=True)
        self._thread.start()

    def post(self, action: Callable[[], None]) -> None:
        """Have something done after all that was posted before."""
        self._queue.put(action)

    def drain(self, timeout: float) -> bool:
        """Wait until all that was posted is done; returns whether it was within seconds."""
        done = threading.Event()
        deadline = time.monotonic() + timeout
        try:
            self._queue.put(done.set, timeout=timeout)
        except queue.Full:
            return False
        return done.wait(max(0.0, deadline - time.monotonic()))

    def stop(self, timeout: float) -> bool:
        """End the thread after what was posted; returns whether it ended within seconds."""
        if not self.drain(timeout):
            return False
        self._queue.put(_END)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (action := self._queue.get()) is not _END:
            try:
                action()  # type: ignore[operator]
            except Exception:
                # One message that cannot be sent must not keep the next ones back.
                _log.exception('a message could not be published')
