# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Jobs and what was found: one line of JSON each, so that a measurement can go on later."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import compare, endurance, floor, growth, latency, operations, over_dds
from benchmarks.place import Place, code_version, machine

Measure = Callable[..., dict[str, Any]]
SECTIONS: dict[str, Measure] = {
    'compare': compare.measure,
    'options': compare.measure,
    'operations': operations.measure,
    'launches': operations.measure_windows,
    'stages': floor.measure,
    'growth': growth.measure,
    'latency': latency.measure,
    'endurance': endurance.measure,
    'node': over_dds.measure,
}


@dataclass(frozen=True)
class Row:
    """One measurement: of what, where, of which code, and what was found."""

    section: str
    job: dict[str, Any]
    machine: dict[str, Any]
    code: str
    found: dict[str, Any]


class Results:
    """The measurements in a file.

    any_code: results of other versions of the engine count too; the newest one of a job wins.
    """

    def __init__(self, path: Path, place: Place, any_code: bool = False):
        self._path = path
        self._place = place
        self._code = code_version()
        self._rows: dict[str, Row] = {}
        for row in _read(path):
            here = all(row.machine[key] == value for key, value in vars(place).items())
            if here and (any_code or row.code == self._code):
                self._rows[_key(row.section, row.job)] = row

    def has(self, section: str, job: dict[str, Any]) -> bool:
        return _key(section, job) in self._rows

    def get(self, section: str, job: dict[str, Any]) -> Row | None:
        return self._rows.get(_key(section, job))

    def measure(self, section: str, job: dict[str, Any], limit_s: float = float('inf')) -> Row:
        """Do a job and keep what it found."""
        # Through JSON, so that a row that was just measured is as one that was read.
        found = json.loads(json.dumps(SECTIONS[section](job, self._place, limit_s)))
        row = Row(section, job, machine(self._place), self._code, found)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open('a') as file:
            file.write(json.dumps(vars(row)) + '\n')
        self._rows[_key(section, job)] = row
        return row


def _read(path: Path) -> Iterator[Row]:
    if path.exists():
        for line in path.read_text().splitlines():
            yield Row(**json.loads(line))


def _key(section: str, job: dict[str, Any]) -> str:
    return section + json.dumps(job, sort_keys=True)
