# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The entry points of the programs: Ctrl-C ends each without a traceback, from the start on.

This module imports nothing that takes time; the modules of the programs take seconds.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
# OpenCV, which reads this when it is loaded: the programs say in words of their own what is wrong
# with a file.
_QUIET = {'OPENCV_LOG_LEVEL': 'FATAL', 'OPENCV_FFMPEG_LOGLEVEL': '-8'}


def _program(name: str, module: str, function: str = 'main') -> Callable[[], NoReturn]:
    """Return the entry point that imports a module and runs its function."""

    def run() -> NoReturn:
        _answer_interrupts(name)
        for variable, value in _QUIET.items():
            os.environ.setdefault(variable, value)
        try:
            code = getattr(import_module(module), function)()
        except KeyboardInterrupt:  # before or after what the program itself answers
            print(f'\n{name}: interrupted', file=sys.stderr)
            code = EXIT_INTERRUPTED
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # only Python's clean-up is left
        sys.exit(code)

    return run


def _answer_interrupts(name: str) -> None:
    """Raise KeyboardInterrupt at Ctrl-C where a program can handle it, else end the process."""

    def answer(number: int, frame: FrameType | None) -> None:
        if not _is_importing(frame):
            raise KeyboardInterrupt
        # Many modules cannot be interrupted while they are imported: some catch what is raised,
        # others leave themselves half made.
        os.write(2, f'\n{name}: interrupted\n'.encode())
        os._exit(EXIT_INTERRUPTED)

    # A program that is started in the background of a script ignores SIGINT.
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, answer)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == '<frozen importlib._bootstrap>':
            return True
        frame = frame.f_back
    return False


demo_camera = _program('demo_camera', 'detsam2_ros.demo.camera')
demo_recorder = _program('demo_recorder', 'detsam2_ros.demo.recorder.node')
detsam2_node = _program('detsam2', 'detsam2_ros.ros.node', 'run')
detsam2_space = _program('detsam2_space', 'detsam2_ros.ros.space.node')
detsam2_viewer = _program('detsam2_viewer', 'detsam2_ros.viewer.main')
evaluate = _program('evaluate', 'detsam2_ros.cli.evaluate.main')
memory_bank = _program('memory_bank', 'detsam2_ros.cli.memory_bank.main')
segment_bag = _program('segment_bag', 'detsam2_ros.cli.segment_bag')
segment_video = _program('segment_video', 'detsam2_ros.cli.segment_video')
