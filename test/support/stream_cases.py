# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What tests of streams share: settings, pictures of a red disc, what holds for every run."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from fakes import ColourDetector, Run, disc_box, scene

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.results.frames import FrameResult

MODES = pytest.mark.parametrize('mode', ['window', 'online'])
SIZE = (48, 64)
EMPTY = scene(size=SIZE)
USUAL = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 8}
GOOD = scene(('red', 14, 24), size=SIZE)
RED = disc_box(14, 24)


def red(x: float, *others: tuple) -> np.ndarray:
    return scene(('red', x, 24), *others, size=SIZE)


def film(count: int, *others: tuple) -> list[np.ndarray]:
    """A red disc that moves one pixel a frame from x = 12."""
    return [red(12 + i, *others) for i in range(count)]


def nothing_was_lost(run: Run, frames: int) -> None:
    """Check that every pushed frame was published once, and that the counts add up."""
    assert sorted(run.first()) == list(range(frames))
    stats = run.engine.stats()
    assert stats.frames == stats.encodings == stats.published_frames == frames
    assert stats.dropped_frames == 0
    assert run.stream.backlog.frames == 0


def same_results(one: Iterable[FrameResult], other: Iterable[FrameResult]) -> None:
    """Check that two lists of results say the same, masks and labels included."""
    for a, b in zip(one, other, strict=True):
        assert (a.index, a.revision, a.changed_ids) == (b.index, b.revision, b.changed_ids)
        assert a.objects == b.objects
        np.testing.assert_array_equal(a.labels, b.labels)


def fail_once(original: Callable[..., Any], after: int = 0) -> Callable[..., Any]:
    """Return a function that fails once, after some calls that work."""
    left = [after]

    def call(*args: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == -1:
            raise MemoryError('full')
        return original(*args, **options)

    return call


def picture(*names: str, shift: float = 0) -> np.ndarray:
    places = {'red': (14 + shift, 24), 'green': (48 - shift, 24), 'blue': (32, 10)}
    return scene(*[(name, *places[name]) for name in names], size=SIZE)


def make_bank(*names: str, entries: int = 2, model=None) -> MemoryBank:
    """Make a bank of coloured discs, as from a recording with a detector."""
    run = Run(ColourDetector(names), model, 'recording', **USUAL)
    run.push(*[picture(*names, shift=-i / 4) for i in range(16)])
    return run.stream.export_bank(entries)
