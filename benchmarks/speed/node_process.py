# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node with a clock in it, as `node` starts it: with the real engine, or without one.

python -m benchmarks.speed.node_process REPORT [--no-engine] --ros-args -p NAME:=VALUE ...
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil

from detsam2_ros.engine.stats import Stats
from detsam2_ros.engine.tracking.pass_runner import Backlog
from detsam2_ros.results.frames import FrameResult, Object
from detsam2_ros.results.masks import Mask
from detsam2_ros.ros.camera import Camera
from detsam2_ros.ros.node import main

WINDOW = 10


class NullStream:
    """One square object on every frame; each window corrects the one before."""

    bank = None
    class_names: dict[int, str] = {0: 'square'}
    stamps: dict[int, int] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.reset()

    @property
    def backlog(self) -> Backlog:
        due = len(self.window) >= WINDOW
        tags = tuple(tag for _, tag, *_ in self.window)
        return Backlog(tags, due, begun=False, must_close_first=due, corrections=False)

    def add(self, image: np.ndarray, stamp: int, tag: Any = None) -> list[FrameResult]:
        self.window.append((self.index, tag, *image.shape[:2]))
        self.index += 1
        return []

    def step(self, early: bool = False) -> list[FrameResult]:
        results = [self._result(1, 40, *frame) for frame in self.past]
        results += [self._result(0, 0, *frame) for frame in self.window]
        self.past, self.window = self.window, []
        return results

    def _result(
        self, revision: int, shift: int, index: int, tag: Any, height: int, width: int
    ) -> FrameResult:
        side, x = height // 4, width // 3 + shift
        labels = np.zeros((height, width), np.uint16)
        labels[side : 2 * side, x : x + side] = 1
        square = Object(1, 0, 'square', 0.9, False, Mask.of(labels == 1))
        return FrameResult(
            stream=self.name,
            index=index,
            stamp=tag.stamp,
            revision=revision,
            final=revision > 0,
            objects=(square,),
            labels=labels,
            changed_ids=(1,),
            tag=tag,
        )

    def reset(self) -> None:
        self.index = 0
        self.window: list[tuple[Any, ...]] = []
        self.past: list[tuple[Any, ...]] = []


class NullEngine:
    def __init__(self) -> None:
        self.model = SimpleNamespace(identity=None, device='none')
        self.detector = None
        self.config = SimpleNamespace(mode='window', window_size=WINDOW)
        self.streams: dict[str, NullStream] = {}

    def open_stream(self, name: str) -> NullStream:
        return self.streams.setdefault(name, NullStream(name))

    def reconfigure(self, **changes: Any) -> None:
        pass

    def stats(self) -> Stats:
        return Stats()

    def close(self) -> None:
        pass


class Clock:
    """Times calls of the node's own code, and the process since its first image."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._begin = (0.0, 0.0)
        self._times: dict[str, list[tuple[float, float]]] = {}

    def timed(self, name: str, method: Any) -> Any:
        own: list[tuple[float, float]] = []

        def call(*args: Any) -> None:
            if not self._times:
                self._begin = time.perf_counter(), sum(self._process.cpu_times()[:2])
            self._times[name] = own
            wall, cpu = time.perf_counter(), time.thread_time()
            method(*args)
            own.append((time.perf_counter() - wall, time.thread_time() - cpu))

        return call

    def report(self) -> dict[str, Any]:
        wall, cpu = self._begin
        spent = sum(self._process.cpu_times()[:2]) - cpu
        return {
            'core_share': spent / (time.perf_counter() - wall),
            'rss_mb': self._process.memory_info().rss / 1e6,
            **{f'{name}_ms': summary(pairs) for name, pairs in self._times.items()},
        }


def summary(pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Return milliseconds of wall and processor time, given seconds."""
    wall, cpu = np.array(pairs).T * 1e3
    return {
        'median': statistics.median(wall), 'p99': float(np.quantile(wall, 0.99)),
        'cpu_median': statistics.median(cpu), 'count': len(pairs),
    }  # fmt: skip


def serve(report: str, *options: str) -> int:
    """Run the node until it is told to stop, and write down what its own code took."""
    clock = Clock()
    Camera._on_image = clock.timed('arrival_to_hand_over', Camera._on_image)  # type: ignore[method-assign]
    Camera.publish = clock.timed('result_to_publication', Camera.publish)  # type: ignore[method-assign]
    given: dict[str, Any] = {'args': [each for each in options if each != '--no-engine']}
    if '--no-engine' in options:
        given['engine_factory'] = lambda parameters: NullEngine()
    code = main(**given)
    Path(report).write_text(json.dumps(clock.report()), encoding='utf-8')
    return code


if __name__ == '__main__':
    sys.exit(serve(*sys.argv[1:]))
