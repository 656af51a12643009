# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The curves of docs/measured/peers.md: J&F as known so many frames later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.harness import runs
from benchmarks.quality.peer_scores import LAGS

COLOURS = {
    'ours, online, balanced': '#2a6fbb', 'ours, all confirmed': '#16365c',
    'ours, online, exact': '#7db3e8',
    'ours, window, balanced': '#2e8b57', 'ours, window, exact': '#8fd0a8',
    'sam2 forward': '#d9731a', 'sam2 forward, all boxes': '#f0b27a',
    'sam2 offline': '#7a4fb5', 'sam2 offline, true ids': '#c3a8e6',
    'sam2 backward': '#555555', "report's rule": '#bbbbbb',
}  # fmt: skip
_STYLES = {'ours, all confirmed': ':'}  # mostly on the line of another one
_COLUMNS = 4
_LEAST_SPAN = 5  # points of J&F that a picture shows at least


def plot(rows: Sequence[runs.Line], cases: Sequence[str], file: Path) -> None:
    """Draw J&F at lag 0 to M and in the end, mean over clips: a picture a case, a line a method.

    A method that publishes a frame once has a level line, drawn dashed.
    """
    from matplotlib.figure import Figure

    cases = [case for case in cases if any(row['case'] == case for row in rows)]
    height = -(-(len(cases) + 1) // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 2.7 * height), dpi=100)
    grid = figure.subplots(height, _COLUMNS, squeeze=False).ravel()
    known = [lag for lag in LAGS if lag is not None]
    at = [*known, known[-1] + 4]
    lines = {}
    for axes, case in zip(grid, cases, strict=False):
        for method, colour in COLOURS.items():
            own = [row['jf'] for row in rows if (row['case'], row['method']) == (case, method)]
            if not own:
                continue
            values = 100 * np.mean(own, axis=0)
            style = '--' if np.ptp(values) == 0 else _STYLES.get(method, '-')
            (lines[method],) = axes.plot(at, values, style, color=colour, linewidth=1.6)
        low, high = axes.get_ylim()
        spare = max(_LEAST_SPAN - (high - low), 0) / 2
        axes.set_ylim(low - spare, high + spare)
        axes.set_title(case, fontsize=9)
        axes.set_xticks([0, 10, 20, 30, 40, at[-1]], ['0', '10', '20', '30', '40', ' end'])
        axes.tick_params(labelsize=7)
        axes.spines[['top', 'right']].set_visible(False)
    for axes in grid[:: _COLUMNS]:
        axes.set_ylabel('J&F, %', fontsize=8)
    for axes in grid[len(cases) :]:
        axes.axis('off')
    names = [method for method in COLOURS if method in lines]
    grid[len(cases)].legend(
        [lines[name] for name in names], names, frameon=False, fontsize=7.5, loc='center'
    )
    figure.supxlabel('lag: frames known after the frame itself', fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
