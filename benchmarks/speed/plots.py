# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The plots of docs/measured/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.results import Row

BLUE, ORANGE, GREY = '#2a6fbb', '#d9731a', '#888888'


def plot(rows: Sequence[Row], folder: Path) -> None:
    """Draw what there are results of: performance_growth.png and performance_long.png."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    growth = [row for row in rows if row.section == 'growth']
    if growth:
        figure = Figure(figsize=(2.7 * len(growth), 2.6), dpi=100)
        panels = figure.subplots(1, len(growth), squeeze=False)[0]
        for axes, row in zip(panels, growth, strict=True):
            _growth(axes, row)
        panels[0].set_ylabel('ms a frame')
        figure.tight_layout()
        figure.savefig(folder / 'performance_growth.png')
    runs = [row for row in rows if row.section == 'endurance']
    if runs:
        row = max(runs, key=lambda each: each.found['frames'])
        curve = row.found['curve']
        figure = Figure(figsize=(8, 2.4), dpi=100)
        left, right = figure.subplots(1, 2)
        left.plot(curve['frame'], [value / 1e6 for value in curve['rss']], color=BLUE)
        left.set_ylabel('resident memory, MB')
        right.plot(curve['frame'], [1000 * value for value in curve['frame_s']], color=ORANGE)
        right.set_ylabel('ms a frame')
        for axes in (left, right):
            axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
            axes.set_xlabel('frame')
            _plain(axes)
        figure.tight_layout()
        figure.savefig(folder / 'performance_long.png')


def _growth(axes: Any, row: Row) -> None:
    lanes, by = row.found['lanes'], row.job['by']
    heights = [1000 * lane['frame_s'] for lane in lanes]
    if by == 'reach':  # against M/K
        pairs = [[int(part) for part in lane['name'].split(', ')] for lane in lanes]
        axes.plot([m / k for k, m in pairs], heights, 'o', color=BLUE)
        axes.set_xlabel('M/K')
    else:
        axes.plot([int(lane['name']) for lane in lanes], heights, 'o-', color=BLUE)
        axes.set_xlabel({'bank': 'bank entries'}.get(by, by))
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.08 * axes.get_ylim()[1])
    _plain(axes)


def _plain(axes: Any) -> None:
    axes.grid(color='#dddddd')
    axes.spines[['top', 'right']].set_visible(False)
