# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Nothing is said too often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Throttle:
    """Lets the same be said once in a while; any thread may ask."""

    MAX_REMEMBERED = 256  # different things remembered

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}

    def allows(self, what: str) -> bool:
        """Return whether this was not said for so many seconds; then it counts as said."""
        with self._lock:
            now, before = self._clock(), self._said.get(what)
            if before is not None and now - before < self._seconds:
                return False
            if len(self._said) >= self.MAX_REMEMBERED:
                self._said.clear()
            self._said[what] = now
            return True
