# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The work folder of an output: it keeps finished topics until the output is written.

The folder of a finished topic appears by a rename, and so does the output. So a run that is
broken off at any moment leaves a complete topic or none of it. The results of a topic depend on
its frames and the options alone, so a topic that was not finished is done again from its start.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import IO, Any

from detsam2_ros.bags.errors import BagError
from detsam2_ros.bags.reading import Bag
from detsam2_ros.bags.stream import TopicReport
from detsam2_ros.bags.writing import sync

_JOB, _LOCK, _REPORT = 'job.json', 'lock', 'report.json'


class WorkFolder:
    """`<output>.part`, to be used as a context manager; one run at a time may hold it.

    job: what the results depend on, ready for json; a folder of another job is emptied first.
    """

    def __init__(self, output: Path, job: dict[str, Any]):
        self.path = output.with_name(output.name + '.part')
        self._output = output
        self._job = job
        self._lock: IO[str] | None = None
        self.other = False  # whether work of another job was found, and removed

    def __enter__(self) -> WorkFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / _LOCK).open('w')
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BagError(f'another segment_bag is writing {self._output}; wait for it') from None
        except OSError as error:
            raise BagError(f'cannot write {self.path}: {error.strerror or error}') from error
        try:
            before = json.loads((self.path / _JOB).read_text(encoding='utf-8'))
        except (OSError, ValueError):
            before = None
        if before != json.loads(json.dumps(self._job)):
            self.other = before is not None
            self._clear()
            self._write(self.path / _JOB, self._job)
        self._remove('*.tmp')
        return self

    def __exit__(self, *_: object) -> None:
        if self.path.is_dir() and not any(self.path.glob('topic_???')):
            shutil.rmtree(self.path)  # it holds no finished topic
        if self._lock is not None:
            self._lock.close()

    def finished(self, number: int) -> TopicReport | None:
        """Return the report of a topic that an earlier run finished, None if there is none."""
        folder = self.results(number)
        try:
            report = TopicReport(**json.loads((folder / _REPORT).read_text(encoding='utf-8')))
            with Bag(folder) as bag:
                count = sum(connection.msgcount for connection in bag.connections)
        except (OSError, ValueError, TypeError, BagError):
            shutil.rmtree(folder, ignore_errors=True)  # a part of it is lost: do the topic again
            return None
        return report if count >= 2 * report.segmented else None

    def results(self, number: int) -> Path:
        """Return the bag folder with the results of a finished topic."""
        return self.path / f'topic_{number:03d}'

    def begin(self, number: int) -> Path:
        """Return where to write the results of a topic."""
        path = self.path / f'topic_{number:03d}.tmp'
        shutil.rmtree(path, ignore_errors=True)
        return path

    def finish(self, number: int, report: TopicReport) -> None:
        """Keep the results of a topic for good."""
        begun = self.path / f'topic_{number:03d}.tmp'
        self._write(begun / _REPORT, report.as_dict())
        sync(begun)
        shutil.rmtree(self.results(number), ignore_errors=True)
        begun.rename(self.results(number))

    def output(self) -> Path:
        """Return the bag folder to write the output to."""
        return self.path / 'output.tmp' / (self._output.stem or 'bag')

    def publish(self) -> None:
        """Put the output in its place, in one step, and remove this folder."""
        made, target = self.output(), self._output
        sync(made)
        if target.suffix in ('.mcap', '.db3'):
            os.replace(made / f'{made.name}{target.suffix}', target)
        else:
            shutil.rmtree(target, ignore_errors=True)
            os.rename(made, target)
        shutil.rmtree(self.path, ignore_errors=True)

    def _clear(self) -> None:
        for path in self.path.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _remove(self, pattern: str) -> None:
        for path in self.path.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)

    def _write(self, path: Path, value: Any) -> None:
        path.write_text(json.dumps(value, indent=1), encoding='utf-8')
