# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The charts of a report, drawn by matplotlib, returned as PNG files in memory."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from detsam2_ros.cli.summary import Summary
from detsam2_ros.media.overlay import object_colour

_INK, _FAINT, _AMBER, _BLUE = '#20242a', '#d9dce1', '#e69a00', '#3b78c2'
_MAX_OBJECTS = 40
_MAX_BARS = 400


def objects_over_time(summary: Summary) -> bytes:
    """Draw where each object was visible, and where its mask was corrected notably."""
    shown = sorted(summary.presence.items(), key=lambda item: -item[1].frames)[:_MAX_OBJECTS]
    shown.sort()
    figure, axes = _figure(1.1 + 0.26 * max(len(shown), 3))
    for row, (key, presence) in enumerate(shown):
        colour = _darker(key)
        axes.broken_barh(
            [(first, last - first + 1) for first, last in presence.runs],
            (row - 0.34, 0.68),
            facecolors=[colour],
        )
        if presence.corrected:
            places = np.asarray(presence.corrected) + 0.5
            axes.plot(places, np.full(len(places), row), '|', markersize=8, color=_INK)
    axes.set_yticks(range(len(shown)), [f'{key} {own.class_name}' for key, own in shown])
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_xlim(0, max(summary.settled, 1))
    axes.set_xlabel('frame')
    return _png(figure)


def corrections_per_pass(summary: Summary) -> bytes:
    """Draw how many past frames each pass changed."""
    figure, axes = _figure(2.3)
    newest = [index for index, _ in summary.corrected]
    counts = [count for _, count in summary.corrected]
    # One bar a pass up to some hundred passes; beyond, neighbours share one.
    step = -(-len(counts) // _MAX_BARS) if counts else 1
    heights = [sum(counts[i : i + step]) for i in range(0, len(counts), step)]
    places = newest[::step]
    # The last window may be short, and its bar must not hide the one before.
    gap = float(min(np.diff(places))) if len(places) > 1 else 10.0
    axes.bar(places, heights, width=0.75 * gap, color=_AMBER)
    axes.set_xlabel('newest frame of the pass')
    axes.set_ylabel('frames corrected')
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(0, max(summary.settled, 1) + gap / 2)
    return _png(figure)


def seconds_by_stage(summary: Summary) -> bytes:
    """Draw the seconds of each stage, with the time for each frame."""
    stages = summary.stages()
    figure, axes = _figure(0.9 + 0.27 * max(len(stages), 2))
    names = list(stages)
    bars = axes.barh(names, list(stages.values()), color=_BLUE, height=0.66)
    axes.bar_label(
        bars,
        [
            f'{seconds:.2f} s   {1000 * seconds / max(summary.settled, 1):.1f} ms/frame'
            for seconds in stages.values()
        ],
        padding=4,
        fontsize=8,
        color=_INK,
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 1.32 * max(stages.values(), default=1.0))
    axes.set_xlabel('seconds')
    return _png(figure)


def _figure(height: float) -> tuple[Any, Any]:
    # Imported here: a run without a report does not need matplotlib. Figure is used without
    # pyplot, which would look for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), dpi=110, layout='constrained')
    axes = figure.add_subplot()
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=9, length=0)
    axes.grid(axis='x', color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: Any) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format='png')
    return data.getvalue()


def _darker(key: int) -> tuple[float, ...]:
    """Return an object's colour toned down for a white page."""
    return tuple(0.82 * part / 255 for part in object_colour(key))
