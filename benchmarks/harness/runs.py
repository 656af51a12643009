# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measurements in a file of JSON lines: what is there is not measured again."""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmarks.harness.pages import MEASURED
from benchmarks.harness.place import ROOT

Key = TypeVar('Key', bound=Hashable)
Job = TypeVar('Job')
Line = dict[str, Any]


class Journal(Generic[Key]):
    """The lines of a file by what they are of; the newest of a key counts.

    key: says what a line is of; None for a line that does not count.
    """

    def __init__(self, path: Path, key: Callable[[Line], Key | None]):
        self.lines: dict[Key, Line] = {}
        self._path, self._key = path, key
        text = path.read_text(encoding='utf-8') if path.exists() else ''
        for line in map(json.loads, text.splitlines()):
            self._keep(line)

    def add(self, line: Line) -> Line:
        """Append a line; returns it as if it had been read."""
        text = json.dumps(line)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open('a', encoding='utf-8') as file:
            file.write(text + '\n')
        return self._keep(json.loads(text))

    def measure(
        self,
        jobs: Mapping[Key, Job],
        run: Callable[[Job], Line],
        again: bool = False,
        workers: int = 1,
    ) -> None:
        """Add the line of each job that has none yet, as it is done; again: of all of them."""
        todo = {key: job for key, job in jobs.items() if again or key not in self.lines}
        print(f'{len(jobs)} measurements, {len(todo)} of them to do', file=sys.stderr)
        begin = time.monotonic()
        for number, line in enumerate(_each(todo.values(), run, workers), 1):
            self.add(line)
            seconds, begin = time.monotonic() - begin, time.monotonic()
            print(f'{number}/{len(todo)} {self._key(line)} ({seconds:.0f} s)', file=sys.stderr)

    def of(self, jobs: Iterable[Key]) -> list[Line]:
        """Return the lines that there are of these jobs, in their order."""
        return [self.lines[job] for job in jobs if job in self.lines]

    def _keep(self, line: Line) -> Line:
        key = self._key(line)
        if key is not None:
            self.lines[key] = line
        return line


def measured(
    options: argparse.Namespace,
    kind: type[Key],
    jobs: Iterable[Key],
    run: Callable[[Key], Line],
    workers: int = 1,
) -> list[Line]:
    """Return the lines of jobs, those that are missing measured now unless options.write.

    options: of `add_options`; with `limit`, so many are measured at most. SystemExit where there
    is no line at all.
    """
    jobs = list(jobs)
    journal = Journal(options.results, job_in(kind))
    if not options.write:
        missing = (job for job in jobs if job not in journal.lines)
        todo = itertools.islice(missing, getattr(options, 'limit', None))
        journal.measure({job: job for job in todo}, run, workers=workers)
    rows = journal.of(jobs)
    if not rows:
        sys.exit('there are no results yet: run it without --write')
    return rows


def _each(jobs: Iterable[Job], run: Callable[[Job], Line], workers: int) -> Iterator[Line]:
    if workers == 1:
        yield from map(run, jobs)
        return
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(run, jobs)


def job_in(kind: type[Key], **defaults: Any) -> Callable[[Line], Key]:
    """Return what reads the job, a dataclass, out of a line; defaults: of older lines."""

    def job(line: Line) -> Key:
        given = {**defaults, **line}
        names = kind.__dataclass_fields__  # type: ignore[attr-defined]
        return kind(**{name: given[name] for name in names if name in given})

    return job


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    """Add --results, --write, --docs and --page; the page is docs/measured/NAME.md."""
    parser.add_argument(
        '--results', type=Path, default=ROOT / 'runs' / f'{name}.jsonl', help='JSON lines'
    )
    parser.add_argument('--write', action='store_true', help='measure nothing')
    page = MEASURED / f'{name}.md'
    parser.add_argument(
        '--docs', dest='page', action='store_const', const=page, help=f'write {page.name}'
    )
    parser.add_argument('--page', type=Path, help='another page to write')
