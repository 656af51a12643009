# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Starts node processes that need not import torch again; run by node_process, not by hand.

Reads one JSON object a line: {"argv", "environment", "log"} forks a process that runs node_colour
as its main program and answers its pid; {"pid"} answers its exit status, null while it runs. ROS
is imported after the fork: Fast DDS has threads from its import on, which a fork would not copy.
"""

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

# What takes long to import and starts no threads.
import cv2  # noqa: F401
import fakes  # noqa: F401
import scipy.optimize  # noqa: F401

import detsam2_ros.engine  # noqa: F401

SCRIPT = Path(__file__).with_name('node_colour.py')


def _become_node(order: dict[str, Any]) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(order['log'], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.update(order['environment'])
    sys.argv = [str(SCRIPT), *order['argv']]
    runpy.run_path(str(SCRIPT), run_name='__main__')


def _ended(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _serve() -> None:
    assert len(os.listdir('/proc/self/task')) == 1, 'a process with threads cannot fork safely'
    children: set[int] = set()
    for line in iter(sys.stdin.readline, ''):
        order = json.loads(line)
        if 'argv' in order:
            answer: int | None = os.fork()
            if answer == 0:
                _become_node(order)  # which exits
            assert answer is not None
            children.add(answer)
        else:
            answer = _ended(order['pid'])
            if answer is not None:
                children.discard(order['pid'])
        print(json.dumps(answer), flush=True)
    for pid in children:  # the test run ended and left them
        os.kill(pid, signal.SIGKILL)


if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the test run
    _serve()
