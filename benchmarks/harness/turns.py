# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Taking turns, and work that has to end in time: what does not fit is left out, and said so."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar('T')


def repeat(
    count: int, limit_s: float, least: int = 1, clock: Callable[[], float] = time.monotonic
) -> Iterator[int]:
    """Count to `count`, and stop earlier when limit_s seconds are over, not before `least`."""
    begin = clock()
    for i in range(count):
        if i >= least and clock() - begin >= limit_s:
            return
        yield i


def in_turn(lanes: Sequence[T], number: int) -> Sequence[T]:
    """Return the lanes in the order of a round; rounds go to and fro.

    Whoever comes second may find the caches of the other: lanes take turns in that too.
    """
    return lanes if number % 2 == 0 else lanes[::-1]


@dataclass(frozen=True)
class Task:
    """A piece of work. least_s: what it takes at least. most_s: when it is asked to stop; it may
    take some seconds more. run: called with the seconds that it may take.
    """

    name: str
    least_s: float
    most_s: float
    run: Callable[[float], object]


@dataclass
class Outcome:
    """What became of tasks: seconds by name, and why others were skipped or failed."""

    done: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run_within(
    tasks: Iterable[Task],
    seconds: float,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    begin: float | None = None,
) -> Outcome:
    """Run tasks in order within seconds; a task that cannot fit into what is left is skipped.

    begin: when the seconds began, where that was earlier. A task that raises is reported and stops
    none of the others.
    """
    outcome = Outcome()
    begin = clock() if begin is None else begin
    for task in tasks:
        start = clock()
        left = begin + seconds - start
        if left < task.least_s:
            outcome.skipped[task.name] = (
                f'needs {task.least_s:.0f} s, {max(left, 0):.0f} s of {seconds:.0f} s are left'
            )
            say(f'SKIPPED {task.name}: {outcome.skipped[task.name]}')
            continue
        try:
            task.run(min(task.most_s, left))
        except Exception as error:
            outcome.failed[task.name] = f'{type(error).__name__}: {error}'
            say(f'FAILED {task.name}: {outcome.failed[task.name]}\n{traceback.format_exc()}')
            continue
        outcome.done[task.name] = clock() - start
        say(f'{clock() - begin:4.0f} s: {task.name} ({outcome.done[task.name]:.1f} s)')
    return outcome
