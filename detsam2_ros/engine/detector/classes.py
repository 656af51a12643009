# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The classes of an engine: the detector's, and those that prompts and banks bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from detsam2_ros.results.detections import MAX_CLASS_ID
from detsam2_ros.results.errors import ConfigError, PromptError

MAX_NAME = 1024  # characters, as a bank file holds them


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


def name_fault(name: str) -> str | None:
    """Return what keeps a name from being that of a class, as the end of a sentence."""
    if not name.strip():
        return 'is empty'
    if not name.isprintable():
        return f'is not printable: {name!r:.40}'
    return f'has more than {MAX_NAME} characters' if len(name) > MAX_NAME else None


def detector_classes(names: object) -> dict[int, str]:
    """Return a detector's class names without blanks around them; ConfigError naming a bad one."""
    if not isinstance(names, Mapping):
        raise ConfigError(
            f"the detector's class_names must map ids to names, got {type(names).__name__}"
        )
    for class_id, name in names.items():
        if not _is_id(class_id):
            raise ConfigError(
                f"the detector's class ids must be whole numbers in 0..{MAX_CLASS_ID}, "
                f'got {class_id!r:.40}'
            )
        if not isinstance(name, str):
            raise ConfigError(
                f"the detector's class {class_id} must have a text as its name, got {name!r:.40}"
            )
        if fault := name_fault(name.strip()):
            raise ConfigError(f"the name of the detector's class {class_id} {fault}")
    return {int(class_id): name.strip() for class_id, name in names.items()}


def prompted_class(name: object) -> str:
    """Return the class name of a prompt without blanks around it, '' for none; PromptError."""
    if not isinstance(name, str):
        raise PromptError(f'a class name is a text, got {name!r:.40}')
    name = name.strip()
    if name and (fault := name_fault(name)):
        raise PromptError(f'the class name {fault}')
    return name


def _is_id(value: Any) -> bool:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return whole and 0 <= int(value) <= MAX_CLASS_ID
