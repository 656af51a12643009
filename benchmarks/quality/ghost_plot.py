# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The curve of docs/measured/ghosts.md: ghosts that are left, and true objects that are found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import runs
from benchmarks.quality.false_boxes import TRUE
from benchmarks.quality.ghost_measures import ORIGINS

COLOURS = {'today': '#888888', 'hot start': '#d9731a', 'probation': '#7a4fb5', 'ours': '#2a6fbb'}


def plot(
    rows: Sequence[runs.Line], rates: Sequence[tuple[str, float]], missed: str, file: Path
) -> None:
    """Draw ghost frames against how often the detector errs, and what is found where it misses.

    rates: cases, each with its share of detection frames with a false box. missed: the case in
    which true boxes are missed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 2.8), dpi=100)
    left, right = figure.subplots(1, 2)
    for setting, colour in COLOURS.items():
        own = {case: _of(rows, case, setting) for case in (missed, *(case for case, _ in rates))}
        if not all(own.values()):
            continue
        at = [100 * rate for _, rate in rates]
        left.plot(at, [ghosts(own[case]) for case, _ in rates], 'o-', color=colour, label=setting)
        right.plot(
            ghosts(own[missed]),
            100 * _sum(own[missed], 'found') / _sum(own[missed], 'pairs'),
            'o', color=colour, label=setting,
        )  # fmt: skip
    left.set_xlabel('detection frames with a false box, %')
    left.set_ylabel('ghost frames left, a clip')
    right.set_xlabel(f'ghost frames left, a clip ({missed})')
    right.set_ylabel('balls found in the end, %')
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.spines[['top', 'right']].set_visible(False)
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def ghosts(rows: Sequence[runs.Line]) -> float:
    """Return the ghost frames that are left when final, a clip; those of balls' ids left out."""
    return sum(_sum(rows, f'left {kind}') for kind in ORIGINS if kind != TRUE) / len(rows)


def _of(rows: Sequence[runs.Line], case: str, setting: str) -> list[runs.Line]:
    return [row for row in rows if (row['case'], row['setting']) == (case, setting)]


def _sum(rows: Sequence[runs.Line], name: str) -> float:
    return sum(row[name] for row in rows)
