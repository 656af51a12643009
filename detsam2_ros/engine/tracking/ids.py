# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ids of objects: counted up, and given with the first sight or prompt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.errors import EngineError

MAX_OBJECT_ID = 65535


class IdAllocator:
    """Hands out object ids 1..65535, counted up; an id comes again after all others came."""

    def __init__(self) -> None:
        self._last = 0

    def take(self, in_use: Collection[int]) -> int:
        """Return the next id that is not in `in_use`; EngineError when every id is."""
        for _ in range(MAX_OBJECT_ID):
            self._last = self._last % MAX_OBJECT_ID + 1
            if self._last not in in_use:
                return self._last
        raise EngineError(f'all {MAX_OBJECT_ID} object ids are in use: no id for a new object')


@dataclass
class IdAssigner:
    """Gives ids, on a draft of a stream's allocator."""

    ids: IdAllocator
    in_use: set[int]  # ids that may not be given
    given: int = 0  # how many were given
    recalled: int = 0  # how many objects got the one that they had before they retired

    def note(self, tracked: TrackedObject, seen: Sequence[int], sure: bool = True) -> None:
        """Note on which frames an object was seen; it gets its id with the first or a prompt.

        sure: whether it was seen well enough for one without a prompt to get an id.
        """
        if tracked.waits and not sure:
            return
        if tracked.id is None and (seen or tracked.prompts):
            if tracked.born is None:
                tracked.born = min([*seen, *tracked.prompts])
            if tracked.former_id is not None:
                tracked.id, tracked.former_id = tracked.former_id, None
                self.recalled += 1
            else:
                tracked.id = self.ids.take(self.in_use)
                self.in_use.add(tracked.id)
                self.given += 1
        tracked.last_seen = max([tracked.last_seen, *seen])
