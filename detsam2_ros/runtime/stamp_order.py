# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which images come in order, late or twice, and which begin a new time; by their stamps alone."""

from __future__ import annotations

from collections import deque
from enum import Enum

MAX_LATE = 1_000_000_000  # nanoseconds behind the newest image at which an image is merely late
# So many late images in a row, each newer than the one before, are a new time: no network delays
# images by themselves and keeps them in order, a recording that loops does.
LATE_BEFORE_RESTART = 3


class Order(Enum):
    """What the stamp of an image says beside those of the images before."""

    NEXT = 'newer than all before'
    REPEATED = 'that of the image before, or of the newest one'
    LATE = 'a little older than the newest'
    NEW_TIME = 'so much older, or so often, that time went back'


class StampOrder:
    """The stamps of one stream, in nanoseconds; a restarted stream has a new one.

    window: frames in a window; an image that belongs between the newest ones is late, however
    slow the camera is.
    """

    def __init__(self, window: int):
        self._taken: deque[int] = deque(maxlen=window)
        self._late: int | None = None  # stamp of the image before, where that came late
        self._late_in_a_row = 0

    @property
    def newest(self) -> int | None:
        """The stamp of the newest image that was taken."""
        return self._taken[-1] if self._taken else None

    def take(self, stamp: int) -> None:
        """Note an image that was taken; it was `NEXT`."""
        self._taken.append(stamp)

    def judge(self, stamp: int) -> Order:
        """Say what an image is; call it once an image, in the order of arrival."""
        newest, before = self.newest, self._late
        if newest is None or stamp > newest:
            self._late, self._late_in_a_row = None, 0
            return Order.NEXT
        if stamp == before or (stamp == newest and before is None):
            return Order.REPEATED
        rises = before is not None and stamp > before
        self._late, self._late_in_a_row = stamp, self._late_in_a_row + 1 if rises else 1
        long_ago = newest - stamp >= MAX_LATE and stamp < self._taken[0]
        if long_ago or self._late_in_a_row >= LATE_BEFORE_RESTART:
            return Order.NEW_TIME
        return Order.REPEATED if stamp == newest else Order.LATE
