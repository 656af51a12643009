# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A thread that publishes, so that inference never waits for the middleware."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

from detsam2_ros.runtime.log_throttle import Throttle

_log = logging.getLogger(__name__)


class PublishQueue:
    """Runs what is posted in order, on a thread of its own.

    At most `capacity` posts wait; beyond that `post` does, which slows inference down to what
    can be sent, and so drops frames where they are counted: at the queue of the camera.
    """

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._posted = self._done = 0
        self._ending = False
        self._reported = Throttle(10.0)
        self._thread = threading.Thread(target=self._run, name='publishing', daemon=True)
        self._thread.start()

    def post(self, action: Callable[[], None]) -> bool:
        """Have something done after all that was posted before; False when it came after stop.

        An inference thread that did not end in time may still post, and must not wait then.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ending or len(self._waiting) < self._capacity)
            if self._ending:
                return False
            self._waiting.append(action)
            self._posted += 1
            self._changed.notify_all()
            return True

    def drain(self, timeout: float) -> bool:
        """Wait until all that was posted is done; returns whether it was within seconds."""
        with self._changed:
            last = self._posted
            return self._changed.wait_for(lambda: self._done >= last, timeout)

    def stop(self, timeout: float) -> bool:
        """End the thread after what was posted; returns whether it ended within seconds.

        What is not done by then is dropped: its publishers may be gone.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            self._done += len(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ending or bool(self._waiting))
                if not self._waiting:
                    return
                action = self._waiting.popleft()
                self._changed.notify_all()
            try:
                action()
            except BaseException as error:
                # One message that cannot be sent must not keep the next ones back. Not even
                # SystemExit may end the thread: inference would wait for it for ever.
                if self._reported.allows(f'{type(error).__name__}: {error}'):
                    _log.exception('a message could not be published')
            del action  # a result is large: it is not kept until the next one comes
            with self._changed:
                self._done += 1
                self._changed.notify_all()
