# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How a test steers what runs in the process of a node: files in a folder, read at each step."""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = 'DETSAM2_TEST_CONTROL'

# The places where a node with the colour engine can be held, slowed down or made to fail.
LOADING, DETECTING, ENCODING = 'loading', 'detecting', 'encoding'
PASSING = 'passing'  # before each part of closing a window
DRAWING, COMPRESSING = 'drawing', 'compressing'  # counted only


class Control:
    """A folder that both sides know: the test writes orders, the node obeys in `reach`."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def of_environment(cls) -> Control | None:
        """Return that of the process's environment, None when it has none."""
        folder = os.environ.get(VARIABLE)
        return cls(Path(folder)) if folder else None

    # ---- the test's side -----------------------------------------------------------------------

    def hold(self, place: str) -> None:
        """Whoever reaches a place waits there until `release`, and cannot be interrupted."""
        self._file('hold', place).touch()

    def wait_held(self, place: str, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while not self._file('held', place).exists():
            assert time.monotonic() < deadline, f'the node did not come to {place}'
            time.sleep(0.01)

    def release(self, place: str) -> None:
        """Let go on what was held, and what would have been."""
        self._file('hold', place).unlink(missing_ok=True)

    def delay(self, place: str, seconds: float, busy: bool = False) -> None:
        """Let each visit of a place take time; busy: of Python code, which keeps the GIL."""
        self._write('busy' if busy else 'delay', place, str(seconds))

    def fail(self, place: str, message: str) -> None:
        self._write('fail', place, message)

    def recover(self, place: str) -> None:
        """Undo `delay` and `fail`."""
        for order in ('delay', 'busy', 'fail'):
            self._file(order, place).unlink(missing_ok=True)

    def counted(self, place: str) -> int:
        """Return how often the node came to a place that it counts."""
        file = self._file('count', place)
        return file.stat().st_size if file.exists() else 0

    # ---- the node's side -----------------------------------------------------------------------

    def reach(self, place: str) -> None:
        """Do at a place what the test ordered."""
        held = self._file('held', place)
        if self._file('hold', place).exists():
            held.touch()
            while self._file('hold', place).exists():
                time.sleep(0.005)
            held.unlink(missing_ok=True)
        if (seconds := self._read('delay', place)) is not None:
            time.sleep(float(seconds))
        if (seconds := self._read('busy', place)) is not None:
            end = time.monotonic() + float(seconds)
            while time.monotonic() < end:
                sum(range(100))
        if (message := self._read('fail', place)) is not None:
            raise RuntimeError(message)

    def count(self, place: str) -> None:
        with open(self._file('count', place), 'ab') as file:
            file.write(b'.')

    def _file(self, order: str, place: str) -> Path:
        return self.folder / f'{order}-{place}'

    def _write(self, order: str, place: str, text: str) -> None:
        unfinished = self.folder / 'unfinished'
        unfinished.write_text(text)
        unfinished.rename(self._file(order, place))

    def _read(self, order: str, place: str) -> str | None:
        try:
            return self._file(order, place).read_text()
        except FileNotFoundError:
            return None
