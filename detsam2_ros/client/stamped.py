# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames looked up by their stamps: what timelines of any kind of frame share."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from typing import Any, Generic, TypeVar

from detsam2_ros.messages.stamps import nanoseconds

Kept = TypeVar('Kept')  # a frame, as a timeline gives it


class StampedFrames(ABC, Generic[Kept]):
    """The known frames of a timeline, ascending in stamp; several threads may use it.

    length: frames that are kept; the oldest are dropped. max_propagation, window_size: M and K of
    the node; corrections come for their sum of frames. Raises ValueError naming the argument.
    """

    def __init__(self, length: int, max_propagation: int | None, window_size: int):
        if length < 1:
            raise ValueError(f'length must be >= 1, got {length}')
        self._length = length
        self._reach = None if max_propagation is None else max_propagation + window_size
        self._lock = threading.RLock()
        self._stamps: list[int] = []  # of the known frames, ascending

    def __len__(self) -> int:
        with self._lock:
            return len(self._stamps)

    def frames(self) -> list[Kept]:
        """Return the known frames, ascending in stamp."""
        with self._lock:
            return [self._frame(stamp) for stamp in self._stamps]

    def latest(self) -> Kept | None:
        """Return the known frame with the newest stamp."""
        with self._lock:
            return self._frame(self._stamps[-1]) if self._stamps else None

    def at(self, stamp: Any, tolerance: int = 0) -> Kept | None:
        """Return the known frame at a stamp, or the nearest one within a tolerance.

        stamp: nanoseconds or a time message. tolerance: nanoseconds; of two frames equally near,
        the older one. None when there is no such frame.
        """
        if tolerance < 0:
            raise ValueError(f'tolerance must be >= 0 nanoseconds, got {tolerance}')
        wanted = nanoseconds(stamp)
        with self._lock:
            place = bisect_left(self._stamps, wanted)
            near = self._stamps[max(place - 1, 0) : place + 1]
            found = min(near, key=lambda other: abs(other - wanted), default=None)
            if found is None or abs(found - wanted) > tolerance:
                return None
            return self._frame(found)

    def at_or_before(self, stamp: Any) -> Kept | None:
        """Return the newest known frame that is not newer than a stamp."""
        with self._lock:
            place = bisect_right(self._stamps, nanoseconds(stamp))
            return self._frame(self._stamps[place - 1]) if place else None

    @abstractmethod
    def _frame(self, stamp: int) -> Kept:
        """Return the known frame with a stamp, as known now."""
