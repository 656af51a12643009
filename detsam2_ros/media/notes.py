# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Counts of what was left out or cut while annotations were read, reported once per kind."""

from __future__ import annotations

from collections.abc import Iterator

LEFT_OUT = 'left out'
CUT = 'cut'
BOXED = 'read by its bbox'


class Notes:
    """Counts kinds of trouble and keeps the first example of each."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], tuple[int, str]] = {}

    def add(self, noun: str, why: str, example: str, done: str = LEFT_OUT) -> None:
        """Count a case: 'image', 'unreadable', 'a.png' gives '1 image left out: unreadable'."""
        count, first = self._kinds.get((noun, done, why), (0, example))
        self._kinds[noun, done, why] = count + 1, first

    def __bool__(self) -> bool:
        return bool(self._kinds)

    def count(self, why: str) -> int:
        """Return the number of cases with a reason."""
        return sum(n for (_, _, reason), (n, _) in self._kinds.items() if reason == why)

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each kind of trouble, in the order of the first cases."""
        for (noun, done, why), (count, first) in self._kinds.items():
            many = noun if count == 1 else _plural(noun)
            yield f'{count} {many} {done}: {why} (first: {first})'


def _plural(noun: str) -> str:
    if noun.endswith('x'):
        return noun + 'es'
    return noun + 's'
