# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tables and the plot of `banks.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
# Of what a run's settings are, unless a table is about them.
USUAL = {'mode': 'online', 'score': 0.8, 'wait': 1, 'pointer': None, 'views': 24}
COLOURS = {'same table': '#2a6fbb', 'other table': '#d9731a'}


def write_docs(rows: list[Row], page: Path | None, picture: Path | None) -> str:
    """Return the tables; put them into a page and draw the plot where these are given."""
    tables = {
        'entries': entries_table(rows),
        'views': views_table(rows),
        'settings': settings_table(rows),
        'gates': gates_table(rows),
        'cost': cost_text(rows),
    }
    if page is not None:
        text = page.read_text('utf-8')
        for name, table in tables.items():
            begin, end = f'<!-- {name}: begin -->', f'<!-- {name}: end -->'
            before, rest = text.split(begin)
            text = f'{before}{begin}\n{table}\n{end}{rest.split(end)[1]}'
        page.write_text(text, 'utf-8')
    if picture is not None:
        plot(rows, picture)
    return '\n\n'.join(tables.values())


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


def places(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(row['place'] for row in rows))


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
    of = found['iou'] / detector_iou(rows, place, {row['clip'] for row in runs}, mode)
    return (
        f'| {place} | {cells} | {found["clips"]:.0f} | {found["iou"]:.3f} | {of:.2f} '
        f'| {found["found"]:.0%} | {found["wrong"]:.0%} | {found["false"]:.0%} |'
    )


def _table(heads: str, lines: Iterable[str]) -> str:
    head = f'| where | {heads} | clips | IoU | of the detector | found | elsewhere | false |'
    return '\n'.join([head, '|' + '---|' * (head.count('|') - 1), *filter(None, lines)])


def random_choice(choice: str) -> bool:
    return choice.startswith('random')


def entries_table(rows: list[Row]) -> str:
    """Return IoU against the number of entries, curated and random."""
    counts = sorted({row['entries'] for row in select(rows, choice='curated')})
    lines = []
    for place in ('same table', 'other table'):
        lines.append(_line(rows, place, 'detector | -', choice='detector'))
        for name, choice in (('curated', 'curated'), ('random', random_choice)):
            lines += [
                _line(rows, place, f'{name} | {n}', choice=choice, entries=n) for n in counts
            ]
    return _table('chosen | entries', lines)


def views_table(rows: list[Row]) -> str:
    """Return IoU of 8 entries against the number of views that they are of, and by place."""
    lines = []
    for place in ('same table', 'other table'):
        for views in (1, 2, 4, 8):
            cells = f'{views} x {8 // views} frames'
            lines.append(_line(rows, place, cells, choice='views', views=views))
    for place in ('same table, at once', 'other light and camera', 'other cloth'):
        lines.append(_line(rows, place, 'curated', choice='curated', entries=8))
    lines.append(_line(rows, 'same table, at once', 'random', choice=random_choice, entries=8))
    lines.append(_line(rows, 'same table, at once', '1, the newest', choice='curated', entries=1))
    return _table('8 entries', lines)


def settings_table(rows: list[Row]) -> str:
    """Return IoU by mode, and with pointers of bank entries."""
    lines = []
    for place in ('same table', 'other table'):
        usual = {'choice': 'curated', 'entries': 8}
        lines.append(_line(rows, place, 'online', **usual))
        lines.append(_line(rows, place, 'window', mode='window', **usual))
        for distance in (0, 4, 15):
            cells = f'online, with pointers, {distance} frames away'
            lines.append(_line(rows, place, cells, pointer=distance, **usual))
    return _table('8 curated entries', lines)


def gates_table(rows: list[Row]) -> str:
    """Return what the two thresholds cost and bring."""
    head = (
        '| where | `bank_object_score` | `bank_object_frames` | IoU rev. 0 | IoU final | found '
        '| elsewhere | false, of frames | false, of objects |'
    )
    lines = [head, '|' + '---|' * 9]
    for place in ('same table', 'other table'):
        for score, wait in sorted({(row['score'], row['wait']) for row in rows}):
            runs = select(rows, place=place, choice='curated', entries=8, score=score, wait=wait)
            found = summed(runs)
            if found is not None:
                lines.append(
                    f'| {place} | {score:g} | {wait} | {found["first"]:.3f} | {found["iou"]:.3f} '
                    f'| {found["found"]:.0%} | {found["wrong"]:.0%} | {found["false"]:.0%} '
                    f'| {found["false_objects"]:.0%} |'
                )
    return '\n'.join(lines)


def cost(rows: list[Row]) -> tuple[float, float, float]:
    """Return ms for each entry, object and frame; ms for each object and frame; bytes an entry.

    Least squares over all runs with a bank in mode online; the time of the frames themselves is
    a third unknown.
    """
    runs = [row for row in rows if row['choice'] != 'detector' and row['mode'] == 'online']
    terms = [[row['frames'], row['tracked'], row['tracked'] * row['entries']] for row in runs]
    weights = np.linalg.lstsq(
        np.array(terms, float), np.array([row['seconds'] for row in runs]), rcond=None
    )[0]
    return 1000 * weights[2], 1000 * weights[1], float(np.mean([r['entry_bytes'] for r in runs]))


def cost_text(rows: list[Row]) -> str:
    """Return what an entry costs, in a sentence."""
    entry, tracked, size = cost(rows)
    return (
        f'Measured with the demo model, one CPU thread (process time): an entry costs {entry:.2f} '
        f'ms for each object and tracked frame, beside the {tracked:.0f} ms that a tracked object '
        f'costs without; and {size / 1000:.0f} kB in the file and in memory.'
    )


def plot(rows: list[Row], picture: Path) -> None:
    """Draw IoU against entries, and found against false objects by thresholds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=110)
    left, right = figure.subplots(1, 2)
    counts = sorted({row['entries'] for row in select(rows, choice='curated')})
    for place, colour in COLOURS.items():
        clips = {row['clip'] for row in select(rows, place=place, choice='curated')}
        left.axhline(detector_iou(rows, place, clips), color=colour, linestyle=':', linewidth=1.5)
        styles: tuple[tuple[str, Any, str], ...] = (
            ('curated', 'curated', '-'),
            ('random', random_choice, '--'),
        )
        for name, choice, style in styles:
            points = _points(rows, place, choice, counts)
            label = f'{place}, {name}'
            left.plot(*points, style, marker='o', color=colour, label=label, markersize=5)
        _draw_gates(right, rows, place, colour)
    left.plot([], [], ':', color='#555555', label='with the detector')
    left.set_xscale('log', base=2)
    left.set_xticks(counts, [str(n) for n in counts])
    left.set_xlabel('entries an object')
    left.set_ylabel('final IoU, without prompts')
    left.set_ylim(0, 1)
    left.legend(fontsize=8, frameon=False, loc='upper left', bbox_to_anchor=(0, 0.83))
    right.set_xlabel('frames on which an object that is not there shows up')
    right.set_ylabel('balls found')
    right.set_xlim(-0.03, 1.05)
    right.set_ylim(0, 1)
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        axes.grid(color='#dddddd')
        axes.spines[['top', 'right']].set_visible(False)
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)


def _points(
    rows: list[Row], place: str, choice: str | Callable[[str], bool], counts: Iterable[int]
) -> tuple[list[int], list[float]]:
    found = {n: summed(select(rows, place=place, choice=choice, entries=n)) for n in counts}
    return (
        [n for n, value in found.items() if value],
        [value['iou'] for value in found.values() if value],
    )


def _draw_gates(axes: Any, rows: list[Row], place: str, colour: str) -> None:
    """Draw a point for each pair of thresholds."""
    axes.plot([], [], 'o', color=colour, label=place)
    for score, wait in sorted({(row['score'], row['wait']) for row in rows}):
        runs = select(rows, place=place, choice='curated', entries=8, score=score, wait=wait)
        found = summed(runs)
        if found is not None:
            axes.plot(found['false'], found['found'], 'o', color=colour, markersize=5)
            axes.annotate(
                f'{score:g} x {wait}', (found['false'], found['found']), fontsize=6,
                textcoords='offset points', xytext=(4, 3),
            )  # fmt: skip
