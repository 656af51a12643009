# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tables and the plot of `banks.py`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
MARKERS = {0.0: '^', 0.8: 'o', 0.95: 's'}  # by score
# Of what a run's settings are, unless a table is about them.
USUAL = {'mode': 'online', 'score': 0.8, 'wait': 1, 'pointer': None, 'views': 24}
MAIN = ('same table', 'other table')
BETWEEN = ('same table, at once', 'other light and camera', 'other cloth')
COLOURS = dict(zip(MAIN, ('#2a6fbb', '#d9731a'), strict=True))


def tables(rows: list[Row]) -> dict[str, str]:
    """Return the tables of the page by name."""
    return {
        'looks': entries_table(rows, 'look'),
        'entries': entries_table(rows),
        'views': views_table(rows),
        'settings': settings_table(rows),
        'pointers': pointers_table(rows),
        'gates': gates_table(rows),
        'cost': cost_text(rows),
    }


def summed(rows: Iterable[Row]) -> dict[str, float] | None:
    """Add up clips: means over all balls on all frames, and all absent objects; None for none."""
    group = list(rows)
    if not group:
        return None

    def share(name: str, of: str) -> float:
        return sum(row[name] for row in group) / max(sum(row[of] for row in group), 1)

    return {
        'clips': len({row['clip'] for row in group}),
        'first': share('first_ious', 'first_balls'),
        'iou': share('final_ious', 'final_balls'),
        'found': share('final_found', 'final_balls'),
        'wrong': share('final_wrong', 'final_balls'),
        'false': share('final_false', 'final_absent'),
        'false_objects': share('final_false_objects', 'final_absent_objects'),
    }


def select(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Return the runs with these settings, and the usual ones where none are named.

    A callable is asked whether a setting is wanted.
    """
    asked: dict[str, Any] = {**USUAL, **wanted}
    return [
        row
        for row in rows
        if all(v(row[k]) if callable(v) else row[k] == v for k, v in asked.items())
    ]


def detector_iou(rows: list[Row], place: str, clips: set[int], mode: str = 'online') -> float:
    found = summed(
        select(rows, place=place, choice='detector', mode=mode, clip=lambda c: c in clips)
    )
    return found['iou'] if found else float('nan')


def _line(rows: list[Row], place: str, cells: str, mode: str = 'online', **wanted: Any) -> str:
    """Return a row of a table, or '' when nothing was measured."""
    runs = select(rows, place=place, mode=mode, **wanted)
    found = summed(runs)
    if found is None:
        return ''
    of = ''
    if mode != 'look':
        share = found['iou'] / detector_iou(rows, place, {row['clip'] for row in runs}, mode)
        of = f' {share:.2f} |'
    return (
        f'| {place} | {cells} | {found["clips"]:.0f} | {found["iou"]:.3f} |{of} '
        f'{found["found"]:.0%} | {found["wrong"]:.0%} | {found["false"]:.0%} |'
    )


def _table(heads: str, lines: Iterable[str], looks: bool = False) -> str:
    of = '' if looks else ' of the detector |'
    head = f'| where | {heads} | clips | IoU |{of} found | elsewhere | false |'
    return '\n'.join([head, '|' + '---|' * (head.count('|') - 1), *filter(None, lines)])


def random_choice(choice: str) -> bool:
    return choice.startswith('random')


CHOICES: tuple[tuple[str, Any], ...] = (('curated', 'curated'), ('random', random_choice))


def entries_table(rows: list[Row], mode: str = 'online') -> str:
    """Return IoU against the number of entries, curated and random."""
    counts = sorted({row['entries'] for row in select(rows, choice='curated', mode=mode)})
    lines = []
    for place in MAIN:
        if mode != 'look':
            lines.append(_line(rows, place, 'detector | -', choice='detector'))
        for name, choice in CHOICES:
            lines += [
                _line(rows, place, f'{name} | {n}', mode, choice=choice, entries=n) for n in counts
            ]
    return _table('chosen | entries', lines, mode == 'look')


def views_table(rows: list[Row]) -> str:
    """Return IoU of 8 entries against the number of views that they are of, and by place."""
    lines = []
    for place in MAIN:
        for views in (1, 2, 4, 8):
            cells = f'8: {views} x {8 // views} frames'
            lines.append(_line(rows, place, cells, 'look', choice='views', views=views))
    for place in ('same table', *BETWEEN, 'other table'):
        for entries in (1, 8):
            for name, choice in CHOICES:
                cells = f'{entries}, {name}'
                lines.append(_line(rows, place, cells, 'look', choice=choice, entries=entries))
    return _table('entries', lines, looks=True)


def _alike(rows: list[Row], **setting: Any) -> set[int]:
    """Return the clips that were run with a setting, so that others are compared on the same."""
    return {row['clip'] for row in select(rows, choice='curated', entries=8, **setting)}


def settings_table(rows: list[Row]) -> str:
    """Return IoU by mode, and with pointers of bank entries."""
    lines = []
    same = _alike(rows, mode='window')
    usual = {'choice': 'curated', 'entries': 8, 'clip': lambda clip: clip in same}
    for place in (MAIN[0], BETWEEN[0], MAIN[1]):
        lines.append(_line(rows, place, 'online', **usual))
        lines.append(_line(rows, place, 'window', mode='window', **usual))
        for distance in (0, 4, 15):
            cells = f'online, with pointers, {distance} frames away'
            lines.append(_line(rows, place, cells, pointer=distance, **usual))
    return _table('8 curated entries', lines)


def pointers_table(rows: list[Row]) -> str:
    """Return what looks find with pointers of bank entries."""
    lines = []
    for place in MAIN:
        for distance in (None, 0, 4, 15):
            cells = 'none' if distance is None else f'{distance} frames away'
            usual = {'choice': 'curated', 'entries': 8, 'pointer': distance}
            lines.append(_line(rows, place, cells, 'look', **usual))
    return _table('pointers', lines, looks=True)


def gates_table(rows: list[Row]) -> str:
    """Return what the two thresholds cost and bring."""
    head = (
        '| where | `bank_object_score` | `bank_object_frames` | IoU rev. 0 | IoU final | found '
        '| elsewhere | false, of frames | false, of objects |'
    )
    lines = [head, '|' + '---|' * 9]
    same = _alike(rows, wait=lambda frames: frames > 1)
    usual = {'choice': 'curated', 'entries': 8, 'clip': lambda clip: clip in same}
    for place in ('same table', 'other table'):
        for score, wait in sorted({(row['score'], row['wait']) for row in rows}):
            found = summed(select(rows, place=place, score=score, wait=wait, **usual))
            if found is not None:
                lines.append(
                    f'| {place} | {score:g} | {wait} | {found["first"]:.3f} | {found["iou"]:.3f} '
                    f'| {found["found"]:.0%} | {found["wrong"]:.0%} | {found["false"]:.0%} '
                    f'| {found["false_objects"]:.0%} |'
                )
    return '\n'.join(lines)


def cost(rows: list[Row]) -> tuple[float, float, float]:
    """Return ms for each entry, object and frame; ms for each object and frame; bytes an entry.

    Least squares over the runs over numbers of entries. The second has its share of what a frame
    costs, its encoding above all.
    """
    runs = [row for row in rows if row['entries'] and row['mode'] == 'online']
    terms = [[row['tracked'], row['tracked'] * row['entries']] for row in runs]
    weights = np.linalg.lstsq(
        np.array(terms, float), np.array([row['seconds'] for row in runs]), rcond=None
    )[0]
    return 1000 * weights[1], 1000 * weights[0], float(np.mean([r['entry_bytes'] for r in runs]))


def cost_text(rows: list[Row]) -> str:
    """Return what an entry costs, in a sentence."""
    entry, tracked, size = cost(rows)
    return (
        f'With the demo model on one CPU thread (process time, a busy machine) an entry costs '
        f'{entry:.1f} ms for each object and tracked frame, beside the {tracked:.0f} ms that an '
        f'object costs without, its share of encoding included; and {size / 1000:.0f} kB in the '
        f'file and in memory.'
    )


def plot(rows: list[Row], picture: Path) -> None:
    """Draw IoU against entries, of looks and of clips, and of revision 0 against false objects."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 4), dpi=110)
    looks, clips, gates = figure.subplots(1, 3)
    for axes, mode, title in (
        (looks, 'look', 'single frames, from the bank alone'),
        (clips, 'online', 'clips, mode online, final'),
    ):
        counts = sorted({row['entries'] for row in select(rows, choice='curated', mode=mode)})
        for place, colour in COLOURS.items():
            for (name, choice), style in zip(CHOICES, ('-', '--'), strict=True):
                points = _points(rows, place, mode, choice, counts)
                label = f'{place}, {name}'
                axes.plot(*points, style, marker='o', color=colour, label=label, markersize=5)
            if mode != 'look':
                seen = {row['clip'] for row in select(rows, place=place, choice='curated')}
                axes.axhline(detector_iou(rows, place, seen), color=colour, linestyle=':')
        axes.set_xscale('log', base=2)
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.set_xlabel('entries an object')
        axes.set_title(title, fontsize=10)
        axes.set_ylim(_below(axes), 1)
    looks.set_ylabel('IoU')
    clips.plot([], [], ':', color='#555555', label='with the detector')
    clips.legend(fontsize=8, frameon=False, loc='lower left')
    for place, colour in COLOURS.items():
        _draw_gates(gates, rows, place, colour)
    gates.set_title('thresholds: score, and frames in a row (numbers)', fontsize=10)
    gates.set_xlabel('absent objects: share of frames that show them')
    gates.set_ylabel('IoU, revision 0')
    gates.margins(x=0.15)
    gates.set_ylim(_below(gates), 1)
    gates.legend(fontsize=7, frameon=False, loc='lower right')
    for axes in (looks, clips, gates):
        axes.grid(color='#dddddd')
        axes.spines[['top', 'right']].set_visible(False)
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


def _below(axes: Any) -> float:
    """Return where an axis of IoU begins: two tenths below what is drawn."""
    drawn = [value for line in axes.lines for value in line.get_ydata()]
    return max(0.0, float(np.floor(10 * min(drawn)) - 2) / 10)


def _points(
    rows: list[Row], place: str, mode: str, choice: Any, counts: Iterable[int]
) -> tuple[list[int], list[float]]:
    wanted = {'place': place, 'mode': mode, 'choice': choice}
    found = {n: summed(select(rows, entries=n, **wanted)) for n in counts}
    return (
        [n for n, value in found.items() if value],
        [value['iou'] for value in found.values() if value],
    )


def _draw_gates(axes: Any, rows: list[Row], place: str, colour: str) -> None:
    """Draw a point for each pair of thresholds, with its number of frames."""
    same = _alike(rows, wait=lambda frames: frames > 1)
    rows = [row for row in rows if row['clip'] in same]
    for score, marker in MARKERS.items():
        label = f'{place}, score {score:g}'
        axes.plot([], [], marker, color=colour, label=label, markersize=5)
        for wait in sorted({row['wait'] for row in rows}):
            runs = select(rows, place=place, choice='curated', entries=8, score=score, wait=wait)
            found = summed(runs)
            if found is not None:
                at = found['false'], found['first']
                axes.plot(*at, marker, color=colour, markersize=5)
                axes.annotate(str(wait), at, fontsize=7, textcoords='offset points', xytext=(4, 3))
