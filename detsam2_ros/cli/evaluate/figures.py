# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The figures of an evaluation: as a table for a terminal, as rows of a page, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from detsam2_ros.quality.evaluation import MEASURES, Evaluation
from detsam2_ros.quality.lags import Lag
from detsam2_ros.quality.revisions import Revisions
from detsam2_ros.words import counted

_WIDTH = 17  # of the names


def lag_name(lag: Lag) -> str:
    """Return the head of a lag's column."""
    return 'final' if lag is None else f'lag {lag}'


def table(report: Evaluation, lags: Sequence[Lag]) -> list[tuple[str, list[str]]]:
    """Return each measure with its value at each lag."""
    rows = []
    for measure in MEASURES:
        values = report.values(measure)
        rows.append((measure, [_number(values[lag], '.3f') for lag in lags]))
    switches = [str(report.scores[lag].identity.switches) for lag in lags]
    return [*rows, ('id switches', switches)]


def facts(own: Revisions) -> list[tuple[str, str]]:
    """Return what revisions gain, lose and cost, in words."""
    written, pixels = own.edit_overhead
    median, late = own.time_to_correct
    age, oldest = own.age_at_finality
    corrected = f'{len(own.waits)} of {counted(own.wrong_at_first, "mask")} wrong at first'
    if own.waits:
        corrected += f', after {median:.0f} frames (median; p95 {late:.0f})'
    ages = f'{_number(age, ".0f")} frames (median; at most {_number(oldest, ".0f")})'
    if own.unsettled:
        ages += f'; nothing says when {counted(own.unsettled, "frame")} became final'
    return [
        ('gain', f'{_number(own.gain, "+.3f")} IoU, found {_number(own.found_first, ".1%")} at '
         f'first and {_number(own.found_final, ".1%")} in the end'),
        ('regret', f'{_number(own.regret_pixels, ".2%")} of true pixels, '
         f'{_number(own.regret_masks, ".2%")} of masks'),
        ('edit overhead', f'{_number(written, ".2f")} masks and {_number(pixels, ".2f")} pixels '
         'written for each final one'),
        ('time to correct', corrected),
        ('ghost frames', f'{own.ghosts_shown} shown, {own.ghosts_withdrawn} withdrawn, '
         f'{own.ghosts_left} left'),
        ('age at finality', ages if own.ages else 'nothing says when frames became final'),
    ]  # fmt: skip


def text(reports: Sequence[Evaluation], lags: Sequence[Lag]) -> str:
    """Return the figures as tables for a terminal."""
    lines = []
    for report in reports:
        wide = max(9, *(len(lag_name(lag)) + 2 for lag in lags))
        heads = ''.join(f'{lag_name(lag):>{wide}}' for lag in lags)
        things = counted(len(report.scores[lags[0]].regions.regions), 'thing')
        lines += ['', f'{report.name}: {things}, {counted(report.frames, "frame")}']
        lines.append(f'{"":<{_WIDTH}}{heads}')
        for name, cells in table(report, lags):
            lines.append(f'  {name:<{_WIDTH - 2}}' + ''.join(f'{cell:>{wide}}' for cell in cells))
        lines += [f'  {name:<{_WIDTH - 2}}  {value}' for name, value in facts(report.revisions)]
    return '\n'.join(lines[1:])


def numbers(report: Evaluation, lags: Sequence[Lag]) -> dict[str, Any]:
    """Return the figures ready for JSON; None for what has no value."""
    own = report.revisions
    return {
        'name': report.name,
        'frames': report.frames,
        'object_frames': len(own.first),
        'lags': {
            'final' if lag is None else str(lag): {
                **{name: _value(report.values(name)[lag]) for name in MEASURES},
                'id_switches': report.scores[lag].identity.switches,
            }
            for lag in lags
        },
        'gain': _value(own.gain),
        'found_first': _value(own.found_first),
        'found_final': _value(own.found_final),
        'regret_pixels': _value(own.regret_pixels),
        'regret_masks': _value(own.regret_masks),
        'edit_overhead_masks': _value(own.edit_overhead[0]),
        'edit_overhead_pixels': _value(own.edit_overhead[1]),
        'wrong_at_first': own.wrong_at_first,
        'corrected': len(own.waits),
        'time_to_correct_p50': _value(own.time_to_correct[0]),
        'time_to_correct_p95': _value(own.time_to_correct[1]),
        'ghosts_shown': own.ghosts_shown,
        'ghosts_withdrawn': own.ghosts_withdrawn,
        'ghosts_left': own.ghosts_left,
        'age_at_finality_p50': _value(own.age_at_finality[0]),
        'age_at_finality_max': _value(own.age_at_finality[1]),
        'frames_not_final': own.unsettled,
    }


def _value(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def _number(value: float, form: str) -> str:
    return '-' if math.isnan(value) else format(value, form)
