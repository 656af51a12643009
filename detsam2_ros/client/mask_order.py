# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which masks are of a stream that has ended: masks carry a stamp, but no index."""

from __future__ import annotations


class MaskOrder:
    """Follows the stamps on the topic masks, which keeps its order, when stamps go back.

    That a stream started over is learned from objects. By then the first masks of the new stream
    may have come, or the last ones of the old stream may still be on their way.
    """

    def __init__(self) -> None:
        self.arrivals = 0
        self._newest: int | None = None  # stamp
        self._fell: int | None = None  # the last arrival whose stamp was before the newest one's
        self._below = False  # all stamps since then are before the newest one's
        self._late: tuple[int, int] | None = None  # stamps of masks of the old stream to come

    def is_of_stream_before(self, stamp: int, newest_objects: int | None) -> bool:
        """Take the stamp of the next mask message; tell whether its stream has ended.

        newest_objects: newest stamp on the topic objects in the new stream. Masks up to there
        are the new stream's in any case, or one that was lost could hold up all others.
        """
        self.arrivals += 1
        if self._late is not None:
            ahead = newest_objects is None or stamp > newest_objects
            if self._late[0] <= stamp <= self._late[1] and ahead:
                return True
            self._late = self._newest = None
        if self._newest is None or stamp > self._newest:
            self._newest, self._below = stamp, False
        elif stamp < self._newest and not self._below:
            self._fell, self._below = self.arrivals, True
        return False

    def goes_back(self, before: int) -> int | None:
        """Note that a stream began at or before the newest stamp of the one before, `before`.

        Returns the arrival since which masks are the new stream's; None if none came yet.
        """
        newest, fell, below = self._newest, self._fell, self._below
        self._fell, self._below, self._late = None, False, None
        # A stream that began just before that stamp may have passed it by now.
        if fell is not None and newest is not None and (below or newest > before):
            self._newest = None
            return fell
        if newest is not None:
            self._late = (newest, before)
        return None
