# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What became of tentative objects: it holds for the frames that were published before, too."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from detsam2_ros.results.frames import ObjectInfo, ObjectState
from detsam2_ros.results.space import Object3D

Thing = TypeVar('Thing', ObjectInfo, Object3D)


@dataclass
class ObjectFates:
    """Which ids of a stream were confirmed or withdrawn, each with the newest frame known then.

    max_lag: frames by which a message may come late. An id that is on a later frame still, as
    tentative again or after it was withdrawn, was given to another object.
    """

    max_lag: int
    _confirmed: dict[int, int] = field(default_factory=dict)
    _withdrawn: dict[int, int] = field(default_factory=dict)

    def note(
        self,
        index: int,
        objects: Iterable[ObjectInfo | Object3D],
        withdrawn: Collection[int],
        newest: int,
    ) -> None:
        """Take what a message on frame `index` says; newest: index of the newest frame known."""
        for thing in objects:
            if thing.state is ObjectState.CONFIRMED:
                self._confirmed[thing.id] = max(index, self._confirmed.get(thing.id, 0))
            elif index > self._confirmed.get(thing.id, index) + self.max_lag:
                del self._confirmed[thing.id]
            if index > self._withdrawn.get(thing.id, index) + self.max_lag:
                del self._withdrawn[thing.id]
        for id_ in withdrawn:
            self._withdrawn[id_] = max(index, newest, self._withdrawn.get(id_, 0))
            self._confirmed.pop(id_, None)

    def withdrawn(self, ids: Iterable[int]) -> tuple[int, ...]:
        """Return which of the ids are withdrawn, ascending."""
        return tuple(sorted(self._withdrawn.keys() & set(ids)))

    def of(self, objects: Iterable[Thing]) -> tuple[Thing, ...]:
        """Return objects as known now: without those withdrawn, with the state of today."""
        return tuple(
            replace(thing, state=ObjectState.CONFIRMED) if thing.id in self._confirmed else thing
            for thing in objects
            if thing.id not in self._withdrawn
        )
