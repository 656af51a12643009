# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is measured of the speed, by section; and the file that keeps what was found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.place import Place, code_version, machine
from benchmarks.harness.runs import Journal, Line
from benchmarks.speed import compare, endurance, growth, latency, node, operations, stages

Job = tuple[str, dict[str, Any]]  # section, settings
SECTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    'compare': compare.measure,
    'options': compare.measure,
    'operations': operations.measure,
    'launches': operations.measure_windows,
    'stages': stages.measure,
    'growth': growth.measure,
    'latency': latency.measure,
    'endurance': endurance.measure,
    'node': node.measure_apart,
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
    """The measurements in a file, of this place.

    any_code: results of other versions of the engine count too; the newest one of a job wins.
    """

    def __init__(self, path: Path, place: Place, any_code: bool = False):
        self._place, self._code, self._any_code = place, code_version(), any_code
        self._journal = Journal(path, self._key)

    def has(self, section: str, job: dict[str, Any]) -> bool:
        return _name(section, job) in self._journal.lines

    def get(self, section: str, job: dict[str, Any]) -> Row | None:
        line = self._journal.lines.get(_name(section, job))
        return None if line is None else Row(**line)

    def measure(self, section: str, job: dict[str, Any], limit_s: float = float('inf')) -> Row:
        """Do a job and keep what it found."""
        return Row(**self._journal.add(self._done((section, job), limit_s)))

    def measure_all(self, jobs: list[Job], again: bool = False) -> None:
        """Do the jobs that have no result yet; again: all of them."""
        self._journal.measure({_name(*job): job for job in jobs}, self._done, again)

    def _done(self, job: Job, limit_s: float = float('inf')) -> Line:
        section, settings = job
        found = SECTIONS[section](settings, self._place, limit_s)
        return vars(Row(section, settings, machine(self._place), self._code, found))

    def _key(self, line: Line) -> str | None:
        here = all(line['machine'][key] == value for key, value in vars(self._place).items())
        counts = here and (self._any_code or line['code'] == self._code)
        return _name(line['section'], line['job']) if counts else None


def _name(section: str, job: dict[str, Any]) -> str:
    return f'{section} {json.dumps(job, sort_keys=True)}'
