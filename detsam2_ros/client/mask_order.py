# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tells masks of a stream that has ended from others: masks have a stamp, but no index."""

from __future__ import annotations


class MaskOrder:
    """Follows the stamps on the topic masks, whose messages stay in order.

    The topic objects shows that a stream has restarted. By then the first masks of the new stream
    may have arrived already, or the last masks of the old stream may still arrive.
    """

    def __init__(self) -> None:
        self.arrivals = 0
        self._newest: int | None = None  # stamp
        self._fell: int | None = None  # the last arrival with a stamp below the newest stamp
        self._below = False  # all stamps since then are below the newest stamp
        self._late: tuple[int, int] | None = None  # stamps of the old stream still to come

    def is_of_stream_before(self, stamp: int, newest_objects: int | None) -> bool:
        """Take the stamp of the next mask message; return whether its stream has ended.

        newest_objects: newest stamp on the topic objects in the new stream. Masks up to that
        stamp count as the new stream's: otherwise one lost message could hold up all others.
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
        """Note that a stream began at or before `before`, the newest stamp of the last stream.

        Returns the arrival from which on masks are the new stream's, None if none arrived yet.
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
