# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Starts a group of processes with a log each, watches them and ends them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from detsam2_ros.stop_flag import StopFlag

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 15


class ProcessError(Exception):
    """A process that ended too early or did not end; the message holds the end of its log."""


class Processes:
    """Starts processes, each in a session of its own and with the log folder/NAME.log.

    Use it as a context manager, which ends all processes that still run.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self.folder = folder
        self._environment = dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, command: Sequence[str]) -> None:
        """Start a process; its output goes to its log."""
        with self.log_path(name).open('wb') as log:
            self._running[name] = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env=self._environment, start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip

    def log_path(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.folder / f'{name}.log'

    def check(self) -> None:
        """Raise ProcessError if a process has ended that should run."""
        for name, process in self._running.items():
            code = process.poll()
            if code is not None:
                raise ProcessError(f'the {name} ended early, {_ending(code)}{self.tail(name)}')

    def stop(self, name: str, seconds: float) -> None:
        """Have a process end by SIGINT; raises ProcessError if it fails or takes too long."""
        process = self._running.pop(name)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ProcessError(
                f'the {name} did not end within {seconds:.0f} s of SIGINT and was killed'
                f'{self.tail(name)}'
            ) from None
        if code != 0:
            raise ProcessError(f'the {name} failed, {_ending(code)}{self.tail(name)}')

    def stop_all(self, seconds: float = 6.0) -> None:
        """End all running processes by SIGINT, after the deadline by SIGKILL."""
        left = [process for process in self._running.values() if process.poll() is None]
        self._running.clear()
        for process in left:
            process.send_signal(signal.SIGINT)
        end = time.monotonic() + seconds
        for process in left:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def tail(self, name: str) -> str:
        """Return the end of a log as text that continues a sentence."""
        try:
            text = self.log_path(name).read_text('utf-8', 'replace')
        except OSError:
            text = ''
        lines = text.splitlines()[-_TAIL_LINES:]
        if not lines:
            return f'; its log {self.log_path(name)} is empty'
        end = '\n'.join(f'    {line}' for line in lines)
        return f'; the end of {self.log_path(name)}:\n{end}'

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all()


def stop_on_signals() -> StopFlag:
    """Return a flag that SIGINT and SIGTERM set from now on; replaces their handlers."""
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _end_with_parent() -> None:
    """Have Linux end this process when its parent has ended in any way."""
    if sys.platform == 'linux':
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:  # the parent ended before this line
            os._exit(1)


def _ending(code: int) -> str:
    if code >= 0:
        return f'with exit code {code}'
    try:
        return f'by {signal.Signals(-code).name}'
    except ValueError:
        return f'by signal {-code}'
