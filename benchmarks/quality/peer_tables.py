# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tables of docs/measured/peers.md, and the one of docs/quality.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.harness import pages, runs
from benchmarks.quality.bootstrap import Interval, interval

OURS = 'ours, online, balanced'  # what others are compared with: the node's default
Value = Callable[[runs.Line], float]
Clips = Mapping[tuple[str, str], Mapping[int, runs.Line]]


def jf(row: runs.Line, lag: int = -1) -> float:
    """Return J&F in per cent, at a place of LAGS."""
    return 100 * float(row['jf'][lag])


def tables(
    rows: Sequence[runs.Line], cases: Sequence[str], methods: Sequence[str]
) -> dict[str, str]:
    """Return all tables of peers.md by name; rows: lines of runs with their scores."""
    clips, cases, methods = _sorted(rows, cases, methods)
    return {
        'final': _table(clips, cases, methods, jf, '{:.1f}'),
        'difference': _differences(clips, cases, methods),
        'first': _table(clips, cases, methods, lambda row: jf(row, 0), '{:.1f}'),
        'time': _table(clips, cases, methods, _ms, '{:.0f}', spread=False),
        'revisions': _revisions(clips, cases, methods),
    }


def summary(rows: Sequence[runs.Line], cases: Sequence[str], methods: Sequence[str]) -> str:
    """Return one table of the methods that were measured in all cases, means over these."""
    clips, cases, methods = _sorted(rows, cases, methods)
    lines = []
    for method in methods:
        groups = [list(clips[case, method].values()) for case in cases]
        if not all(groups):
            continue

        def mean(value: Value, groups: Sequence[Sequence[runs.Line]] = groups) -> float:
            return float(np.mean([np.mean([value(row) for row in own]) for own in groups]))

        lines.append([
            method, f'{mean(lambda row: jf(row, 0)):.1f}', f'{mean(jf):.1f}',
            f'{100 * mean(lambda row: row["hota"][-1]):.1f}',
            f'{100 * mean(lambda row: row["idf1"][-1]):.1f}',
            f'{100 * mean(lambda row: row["lost_pixels"] / row["true_pixels"]):.2f}',
            f'{mean(_ms):.0f}',
        ])  # fmt: skip
    head = (
        'method', 'J&F at lag 0', 'J&F, final', 'HOTA, final', 'IDF1, final',
        'regret, % of pixels', 'ms a frame',
    )  # fmt: skip
    return pages.markdown(head, lines)


def _sorted(
    rows: Sequence[runs.Line], cases: Sequence[str], methods: Sequence[str]
) -> tuple[Clips, list[str], list[str]]:
    """Return rows by case, method and seed; and of cases and methods those that have any."""
    clips = {
        (case, method): {row['seed']: row for row in rows if _is_of(row, case, method)}
        for case in cases
        for method in methods
    }
    methods = [method for method in methods if any(clips[case, method] for case in cases)]
    cases = [case for case in cases if any(clips[case, method] for method in methods)]
    return clips, cases, methods


def _is_of(row: runs.Line, case: str, method: str) -> bool:
    return (row['case'], row['method']) == (case, method)


def _ms(row: runs.Line) -> float:
    return float(1000 * (row['seconds'] + row['encode_s']) / row['length'])


def _table(
    clips: Clips,
    cases: Sequence[str],
    methods: Sequence[str],
    value: Value,
    form: str,
    spread: bool = True,
) -> str:
    """Return a line a method, a column a case, and the mean over the cases."""
    lines = [['clips', *(_counts([clips[case, each] for each in methods]) for case in cases), '']]
    for method in methods:
        groups = [[value(row) for row in clips[case, method].values()] for case in cases]
        lines.append([method, *_cells(groups, form, spread)])
    return pages.markdown(['method', *cases, 'all cases'], lines)


def _counts(measured: Sequence[Mapping[int, runs.Line]]) -> str:
    """Return how many clips the methods were measured on, the fewest and the most."""
    counts = {len(own) for own in measured if own}
    return ' .. '.join(map(str, sorted({min(counts), max(counts)})))


def _differences(clips: Clips, cases: Sequence[str], methods: Sequence[str]) -> str:
    """Return J&F less that of OURS on the same clips; bold where 0 is outside of the interval."""
    lines = []
    for method in methods:
        if method == OURS:
            continue
        groups = []
        for case in cases:
            own, base = clips[case, method], clips[case, OURS]
            groups.append([jf(own[s]) - jf(base[s]) for s in sorted(own.keys() & base.keys())])
        lines.append([method, *_cells(groups, '{:+.1f}', bold=True)])
    return pages.markdown(['method', *cases, 'all cases'], lines)


def _cells(
    groups: Sequence[Sequence[float]], form: str, spread: bool = True, bold: bool = False
) -> list[str]:
    cells = [_cell(interval([own]), form, spread, bold) if own else '' for own in groups]
    whole = _cell(interval(groups), form, spread, bold) if all(groups) else ''
    return [*cells, whole]


def _cell(found: Interval, form: str, spread: bool, bold: bool) -> str:
    text = form.format(found.mean)
    if bold and found.differs:
        text = f'**{text}**'
    if not spread or np.isnan(found.low):
        return text
    return f'{text} ({form.format(found.low)} .. {form.format(found.high)})'


def _revisions(clips: Clips, cases: Sequence[str], methods: Sequence[str]) -> str:
    """Return what follows from revisions, over all cases."""
    lines = []
    for method in methods:
        own = [row for case in cases for row in clips[case, method].values()]
        lost, true = (sum(row[name] for row in own) for name in ('lost_pixels', 'true_pixels'))
        shown, left = (_mean(own, name) for name in ('ghosts_shown', 'ghosts_left'))
        lines.append([
            method, f'{100 * _mean(own, "hota", 0):.1f}', f'{100 * _mean(own, "hota", 1):.1f}',
            f'{100 * _mean(own, "idf1", 1):.1f}', f'{100 * _mean(own, "smotsa", 1):.1f}',
            f'{_mean(own, "switches", 1):.1f}', f'{100 * _mean(own, "gain"):+.1f}',
            f'{100 * lost / true:.2f}', f'{100 * _mean(own, "regret_masks"):.1f}',
            f'{_mean(own, "edit_overhead", 1):.2f}', f'{shown:.0f}', f'{left:.0f}',
            f'{_mean(own, "encodings") / _mean(own, "length"):.1f}',
        ])  # fmt: skip
    head = (
        'method', 'HOTA, first', 'HOTA', 'IDF1', 'sMOTSA', 'switches', 'gain',
        'regret, % of pixels', 'regret, % of masks', 'pixels written', 'ghosts shown',
        'ghosts left', 'encodings',
    )  # fmt: skip
    return pages.markdown(head, lines)


def _mean(rows: Sequence[runs.Line], name: str, place: int | None = None) -> float:
    values = [row[name] if place is None else row[name][place] for row in rows]
    return float(np.mean(values))
