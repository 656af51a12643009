# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which masks are of a stream that has ended: masks carry a stamp, but no index."""

from __future__ import annotations


class MaskOrder:
    """Follows the stamps on the topic masks, which keeps its order, over the starts of streams.

    That a stream started over is learned from objects. By then the first masks of the new stream
    may have come, or the last ones of the old stream may still be on their way.
    """

    def __init__(self) -> None:
        self.arrivals = 0
        self._newest: int | None = None  # stamp
        self._fell: int | None = None  # the last arrival whose stamp was before the newest one's
        self._below = False  # stamps since then are before the newest one's
        self._above: int | None = None  # masks up to this stamp are of the stream before
        self._from: int | None = None  # so are masks from this stamp to ...
        self._to = 0  # ... this one, until one comes that is not

    def is_of_stream_before(self, stamp: int, newest_objects: int | None) -> bool:
        """Take the stamp of the next mask message; tell whether its stream has ended.

        newest_objects: newest stamp on the topic objects in the new stream. Masks up to there
        are taken for the new stream's, so that nothing waits for a lost message.
        """
        self.arrivals += 1
        if self._above is not None and stamp <= self._above:
            return True
        if self._from is not None:
            ahead = newest_objects is None or stamp > newest_objects
            if self._from <= stamp <= self._to and ahead:
                self._from = stamp
                return True
            self._newest = None
        self._above = self._from = None
        if self._newest is None or stamp > self._newest:
            self._newest, self._below = stamp, False
        elif stamp < self._newest and not self._below:
            self._fell, self._below = self.arrivals, True
        return False

    def goes_on(self, before: int) -> None:
        """Note that a stream began after the newest stamp of the one before, `before`."""
        self._above, self._from = before, None
        self._fell, self._below = None, False

    def goes_back(self, before: int) -> int | None:
        """Note that a stream began at or before the newest stamp of the one before, `before`.

        Returns the arrival since which masks are the new stream's; None if none came yet.
        """
        newest, fell, below = self._newest, self._fell, self._below
        self._fell, self._below, self._above = None, False, None
        # A stream that began just before that stamp may have passed it by now.
        if fell is not None and newest is not None and (below or newest > before):
            self._newest = None
            return fell
        self._from, self._to = newest, before
        return None
