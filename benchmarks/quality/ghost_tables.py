# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tables of benchmarks.quality.ghosts."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.harness import pages, runs
from benchmarks.quality.false_boxes import KINDS, TRUE
from benchmarks.quality.ghost_measures import ORIGINS


def tables(
    rows: Sequence[runs.Line], cases: Sequence[str], settings: Sequence[str]
) -> dict[str, str]:
    """Return markdown tables by name: ghosts, what became of true objects, ghosts by kind."""
    groups = []
    for case in cases:
        for setting in settings:
            own = [row for row in rows if (row['case'], row['setting']) == (case, setting)]
            if own:
                groups.append((case, setting, own))
    return {
        'ghosts': pages.markdown(_GHOSTS, [_ghosts(*group) for group in groups]),
        'balls': pages.markdown(_BALLS, [_balls(*group) for group in groups]),
        'kinds': pages.markdown(_KINDS, [_kinds(*group) for group in groups]),
    }


_GHOSTS = (
    'false boxes', 'setting', 'clips', 'boxes', 'ghost frames shown', 'withdrawn', 'left',
    'ghost ids shown', 'left', "of balls' ids: shown", 'left',
)  # fmt: skip


def _ghosts(case: str, setting: str, own: Sequence[runs.Line]) -> list[str]:
    def pairs(name: str) -> str:
        return str(sum(row[f'{name} {kind}'] for row in own for kind in ORIGINS if kind != TRUE))

    return [
        case, setting, str(len(own)), _sum(own, 'false_boxes'), pairs('shown'),
        pairs('withdrawn'), pairs('left'), _sum(own, 'ghost_ids_shown'),
        _sum(own, 'ghost_ids_left'), _sum(own, f'shown {TRUE}'), _sum(own, f'left {TRUE}'),
    ]  # fmt: skip


_BALLS = (
    'false boxes', 'setting', 'found, rev. 0 %', 'found, final %', 'IoU', 'lag', 'id switches',
    'ids a ball', 'true ids withdrawn', 'confirmed after', 'ms a frame',
)  # fmt: skip


def _balls(case: str, setting: str, own: Sequence[runs.Line]) -> list[str]:
    total = {name: sum(row[name] for row in own) for name in own[0] if _is_number(own[0][name])}
    wait = total['confirm_wait'] / max(total['confirmed'], 1)
    return [
        case, setting, f'{100 * total["first_found"] / total["pairs"]:.1f}',
        f'{100 * total["found"] / total["pairs"]:.1f}', f'{total["ious"] / total["pairs"]:.3f}',
        f'{total["lag"] / max(total["found"], 1):.1f}', str(total['switches']),
        f'{total["ids"] / total["balls"]:.2f}', str(total['true_ids_withdrawn']), f'{wait:.1f}',
        f'{1000 * total["seconds"] / total["frames"]:.0f}',
    ]  # fmt: skip


_KINDS = ('false boxes', 'setting', *(f'{kind}: shown, left' for kind in (*KINDS, 'none')))


def _kinds(case: str, setting: str, own: Sequence[runs.Line]) -> list[str]:
    cells = [
        f'{_sum(own, f"shown {kind}")}, {_sum(own, f"left {kind}")}' for kind in (*KINDS, 'none')
    ]
    return [case, setting, *cells]


def _sum(own: Sequence[runs.Line], name: str) -> str:
    return str(sum(row[name] for row in own))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))
