# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the engine is to reach, and whether results say that it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.speed import compare
from benchmarks.speed.endurance import verdict
from benchmarks.speed.results import Row


@dataclass(frozen=True)
class Verdict:
    """An aim and what was measured; value is None where nothing was."""

    aim: str
    value: float | None
    met: bool | None

    def __str__(self) -> str:
        if self.value is None:
            return f'NOT MEASURED  {self.aim}'
        return f'{"pass" if self.met else "FAIL"}  {self.aim}: {self.value:.4g}'


def gpu(rows: Sequence[Row], model: str) -> list[Verdict]:
    """Judge results of a GPU; model: 'tiny' at its own size, or what stands in for it."""
    rows = [row for row in rows if row.job.get('model') == model]

    def first(section: str, value: Callable[[Row], float | None], **job: Any) -> float | None:
        """Return the value of the one result that is meant, None when there is none."""
        own = (r for r in rows if r.section == section and job.items() <= r.job.items())
        return next((found for row in own if (found := value(row)) is not None), None)

    found = []
    for objects, least in ((1, 60), (4, 30), (8, 20)):
        value = first('growth', lambda row, n=str(objects): _lane_rate(row, n), by='objects')
        found.append(_at_least(f'frames/s, {objects} object(s) >= {least}', value, least))
    value = first('latency', _p99, mode='online', objects=1)
    met = None if value is None else value < 35
    found.append(Verdict('mode online, 30 Hz, 1 object: p99 latency in ms < 35', value, met))
    for objects, least in ((1, 2.5), (8, 4.0)):
        aim = f'times the speed of sam2 predictor, {objects} object(s) >= {least}'
        found.append(_at_least(aim, first('compare', _ratio, objects=objects), least))
    return [*found, encodings(rows)]


def cpu(rows: Sequence[Row]) -> list[Verdict]:
    """Judge results of a CPU."""
    found = []
    for row in rows:
        if row.section == 'compare' and row.job['model'] != 'rehearsal':
            name = f'{row.job["model"]}, {row.job["size"] or "own"} px, {row.job["objects"]} obj.'
            aim = f'{name}: times the speed of sam2 predictor, identical masks >= 1.2'
            found.append(_at_least(aim, _ratio(row), 1.2))
        if row.section == 'options':
            sides = row.found['sides']
            fit = [
                side['ratio'] for name, side in sides.items()
                if name != compare.REFERENCE and side['iou_default'] >= 0.99
            ]  # fmt: skip
            aim = f'{row.job["objects"]} obj.: with options of IoU >= 0.99 to the default, >= 2'
            found.append(_at_least(aim, max(fit), 2.0))
        if row.section == 'endurance':
            said, name = verdict(row.found), f'{row.job["mode"]}, {row.found["frames"]} frames'
            growth, drift = max(said['growth'].values()) / 2**20, said['drift']
            aim = f'{name}: MiB held more in the last third than in the first <= 16'
            found.append(Verdict(aim, growth, said['flat']))
            aim = f'{name}: drift of the time a frame from the first third to the last <= 0.05'
            found.append(Verdict(aim, drift, said['steady']))
    return [*found, encodings(rows)]


def encodings(rows: Sequence[Row]) -> Verdict:
    """Judge that each image was encoded once, in all results."""
    values = []
    for row in rows:
        if row.section in ('compare', 'options'):
            values += [
                side['encodings'] for name, side in row.found['sides'].items()
                if name != compare.REFERENCE
            ]  # fmt: skip
        elif row.section == 'growth':
            values += [lane['encodings'] for lane in row.found['lanes']]
        elif row.section in ('stages', 'endurance'):
            values.append(row.found['encodings'])
    worst = max(values, key=lambda value: abs(value - 1), default=None)
    met = None if worst is None else worst == 1.0
    return Verdict('image encodings a frame = 1', worst, met)


def _at_least(aim: str, value: float | None, least: float) -> Verdict:
    return Verdict(aim, value, None if value is None else value >= least)


def _lane_rate(row: Row, name: str) -> float | None:
    return next((1 / e['frame_s'] for e in row.found['lanes'] if e['name'] == name), None)


def _p99(row: Row) -> float | None:
    at = [run['p99'] for run in row.found['runs'] if run['rate'] == 30]
    return 1000 * at[0] if at and at[0] is not None else None


def _ratio(row: Row) -> float:
    ratio: float = row.found['sides'][compare.PLAIN]['ratio']
    return ratio
