# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A node as a process of its own: started, watched, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

HERE = Path(__file__).resolve().parent
ENDS_WITHIN = 5.0  # seconds, whatever the node does when it is told to
# All that a node may write: sentences of its own logger, one line each, or why it does not start;
# rcl_lifecycle's about a transition that a test asked for in vain; and what a test asked for with
# the log level debug.
_SENTENCE = re.compile(
    r'\[(INFO|WARN|ERROR)\] \[[\d.]+\] \[(?!rcl\b|rclpy|rmw)[\w.]+\]: \S.*'
    r'|\[DEBUG\] .*|detsam2: \S.*')


class _Started(Protocol):
    pid: int

    def poll(self) -> int | None: ...


class NodeServer:
    """Forks colour nodes from a process that has imported torch already: 0.2 s instead of 4."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / 'node_server.py')],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def ask(self, **order: Any) -> Any:
        """Send an order and return the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + '\n')
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, 'the server of nodes has ended'
        return json.loads(answer)

    def close(self) -> None:
        """End the server, and what it started and was not ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class _Forked:
    def __init__(
        self, server: NodeServer, argv: list[str], environment: dict[str, str], log: Path
    ):
        self._server = server
        self._code: int | None = None
        self.pid: int = server.ask(argv=argv, environment=environment, log=str(log))

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._server.ask(pid=self.pid)
        return self._code


class NodeProcess:
    """A running node, and what it wrote.

    command: what to run; without one, the colour node, forked by the server. parameters: become
    a YAML file. arguments: go after --ros-args.
    """

    def __init__(
        self,
        folder: Path,
        server: NodeServer | None = None,
        command: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ):
        self._log = folder / 'log.txt'
        argv = ['--ros-args', '--log-level', 'rcl:=error']
        if parameters is not None:
            file = folder / 'parameters.yaml'
            file.write_text(yaml.safe_dump({'/**': {'ros__parameters': dict(parameters)}}))
            argv += ['--params-file', str(file)]
        argv += arguments
        added = {
            'PYTHONUNBUFFERED': '1',
            'PYTHONFAULTHANDLER': '1',
            'RCUTILS_COLORIZED_OUTPUT': '0',
            'ROS_LOG_DIR': str(folder),
            'ROS_HOME': str(folder),
            **(environment or {}),
        }
        self.started = time.monotonic()
        self._process: _Started
        if server is not None:
            self._process = _Forked(server, argv, added, self._log)
        else:
            with open(self._log, 'ab') as log:
                self._process = subprocess.Popen(
                    [*command, *argv], env={**os.environ, **added}, stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True,
                )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def log(self) -> str:
        """Return what it wrote to standard output and standard error."""
        return self._log.read_text(errors='replace') if self._log.exists() else ''

    def lines(self, text: str) -> list[str]:
        """Return the lines it wrote that hold a text."""
        return [line for line in self.log().splitlines() if text in line]

    def wait_log(self, text: str, count: int = 1, timeout: float = 60.0) -> None:
        """Wait until it wrote a text so many times."""
        deadline = time.monotonic() + timeout
        while len(self.lines(text)) < count:
            assert self.running, f'it ended before it wrote {text!r}:\n{self.log()}'
            assert time.monotonic() < deadline, f'it did not write {text!r}:\n{self.log()}'
            time.sleep(0.02)

    def resident_bytes(self) -> int:
        """Return how much memory of it is in RAM."""
        status = Path(f'/proc/{self.pid}/status').read_text()
        found = re.search(r'^VmRSS:\s+(\d+) kB', status, re.MULTILINE)
        assert found is not None
        return 1024 * int(found.group(1))

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Wait until it ended; returns the exit code."""
        deadline = time.monotonic() + timeout
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline:
                self._abort()
                raise AssertionError(f'it did not end within {timeout} s:\n{self.log()}')
            time.sleep(0.01)
        return code

    def _abort(self) -> None:
        """End it in a way that makes it write what its threads did."""
        os.kill(self.pid, signal.SIGABRT)
        while self.running:
            time.sleep(0.01)

    def end(self, number: int = signal.SIGINT, code: int = 0) -> float:
        """Tell it to end; returns the seconds that took, after checking how it ended."""
        begin = time.monotonic()
        self.send_signal(number)
        ended = self.wait(ENDS_WITHIN)
        seconds = time.monotonic() - begin
        assert ended == code, f'exit code {ended}:\n{self.log()}'
        self.check_log()
        return seconds

    def check_log(self) -> None:
        """Check that nothing was written, until now, but the node's own sentences."""
        for line in self.log().splitlines():
            assert _SENTENCE.fullmatch(line), f'{line!r} in:\n{self.log()}'

    def kill(self) -> None:
        """End it at once, if it still runs."""
        if self.running:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(30.0)
