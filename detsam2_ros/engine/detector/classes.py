# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The classes of an engine: the detector's, and those that prompts and banks bring."""

from __future__ import annotations

from collections.abc import Mapping


class ClassTable:
    """Class names by id, one table for all streams of an engine."""

    def __init__(self, names: Mapping[int, str] | None = None):
        self._names = dict(names or {})

    @property
    def names(self) -> dict[int, str]:
        """A copy of the table."""
        return dict(self._names)

    def name(self, class_id: int) -> str:
        """Return a class's name; the number itself where it has none."""
        return self._names.get(class_id, str(class_id))

    def find(self, name: str) -> int:
        """Return the id of a class, the least free one for a new name."""
        for class_id, known in self._names.items():
            if known == name:
                return class_id
        class_id = 0
        while class_id in self._names:
            class_id += 1
        self._names[class_id] = name
        return class_id

    def note(self, class_id: int, name: str) -> None:
        """Take in a class that has an id already; a name that is there stays."""
        self._names.setdefault(class_id, name)

    def copy(self) -> ClassTable:
        """Return a table to try changes on."""
        return ClassTable(self._names)

    def take_over(self, other: ClassTable) -> None:
        """Become another table."""
        self._names = dict(other._names)
