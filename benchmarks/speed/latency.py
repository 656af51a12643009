# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How long a frame waits for its first masks: a camera of some rate before the node's worker.

The inference thread of the node (`detsam2_ros.runtime.worker`) is given images at a rate, as
the node gives it those that arrive; what DDS and the node's other threads add is what `node.py`
measures.

python -m benchmarks.speed.latency                  # overload: three times the rate that is held
python -m benchmarks.speed.latency --docs           # and write it to docs/measured/load.md

Overload is measured in mode online with the shipped model on images of 1280 x 720, by number of
cameras and length of the queue. *One inference* is the median wait of a frame that finds nothing
else to do. The *held* rate is what comes out of all cameras together while frames always wait.
Then each camera sends three times its share of that. A *gap* is the time between the first masks
of two frames of one camera.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.harness.pages import MEASURED, markdown, write
from benchmarks.harness.place import Place, add_options, load, place_of
from benchmarks.speed.scenes import Film, film, real_config
from detsam2_ros.engine import Engine, EngineConfig, FrameResult
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.frame_queue import QueuedFrame
from detsam2_ros.runtime.worker import Worker

CAMERA = 'camera'
QUEUE = 20  # frames; a shorter queue is one that takes the freshest frame
OVERLOAD = 3  # times the rate that can be held
MAX_DROPS = 0.01
SLOWER = (0.97, 0.93, 0.88, 0.8, 0.7, 0.6)  # of the rate when frames always wait


class Listener:
    """Notes when revision 0 of a frame comes, and what goes wrong."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.times: dict[str, list[float]] = defaultdict(list)  # by camera
        self.failures: list[str] = []
        self.changed = threading.Event()

    def on_result(self, camera: str, result: FrameResult) -> None:
        if result.revision == 0:
            self.times[camera].append(time.monotonic())
            self.latencies.append(self.times[camera][-1] - result.tag.received)
            self.changed.set()

    def on_classes(self, class_names: Mapping[int, str]) -> None:
        pass

    def on_dropped(self, camera: str, reason: str) -> None:
        pass  # the accounts count it

    def on_reset(self, camera: str, why: str) -> None:
        self.failures.append(why)

    def on_failure(self, camera: str, message: str) -> None:
        self.failures.append(message)


class Camera:
    """A worker on an engine of its own, and images for it; several cameras send at once."""

    def __init__(
        self, model: Sam2Model, scene: Film, config: EngineConfig, cameras: int = 1,
        queue: int = QUEUE,
    ):  # fmt: skip
        self._scene = scene
        self._names = [f'{CAMERA}{number}' for number in range(cameras)]
        self._accounts = FrameAccounts()  # of all of them
        self.heard = Listener()
        accounts = dict.fromkeys(self._names, self._accounts)
        self._worker = Worker(
            self._names, accounts, self.heard, queue, 0.0, freshest=queue < QUEUE
        )
        # The model is built by the caller: the worker's thread only runs it.
        self._worker.start(lambda: _Engine(model, scene, config)).result()
        self._worker.activate()
        self._sent, self._fill = 0, min(4, queue)

    def send(self) -> None:
        """Offer the next frame, as if it had just arrived."""
        image = self._scene.image(self._sent)
        for name in self._names:
            self._accounts.receive()
            self._worker.offer(name, QueuedFrame(image, self._sent, time.monotonic(), None))
        self._sent += 1

    @property
    def waiting(self) -> int:
        return max(self._worker.waiting().values())

    def run(self, rate: float, frames: int) -> dict[str, Any]:
        """Send frames at a rate, Hz; returns latencies in s, drops, and the queue over time."""
        before, begin = self._accounts.snapshot(), time.monotonic()
        self.heard.latencies.clear()
        self.heard.times.clear()
        queue, first_drop = [], None
        for number in range(frames):
            time.sleep(max(begin + number / rate - time.monotonic(), 0.0))
            queue.append(self.waiting)
            self.send()
            dropped = self._accounts.snapshot().dropped_total > before.dropped_total
            first_drop = number if dropped and first_drop is None else first_drop
        # One more period, so that the last frame has as long as the others.
        time.sleep(max(begin + frames / rate - time.monotonic(), 0.0))
        after = self._accounts.snapshot()
        drops = after.dropped_total - before.dropped_total
        third = max(frames // 3, 1)
        latencies = list(self.heard.latencies)
        gaps = [gap for times in self.heard.times.values() for gap in np.diff(times)]
        return {
            'rate': rate,
            'sent': frames,
            # The queue hides a rate that is too high until it is full: shares hold from there on.
            'drops': drops / ((frames - (first_drop or 0)) * len(self._names)),
            'masks': [len(times) for times in self.heard.times.values()],
            'gaps': [float(np.quantile(gaps, q)) for q in (0.5, 0.99, 1)] if gaps else None,
            'p50': float(np.quantile(latencies, 0.5)) if latencies else None,
            'p99': float(np.quantile(latencies, 0.99)) if latencies else None,
            'queue': [max(queue[:third]), max(queue[-third:])],
        }

    def saturate(self, frames: int) -> float:
        """Return the frames/s while frames always wait, over about so many of them."""
        begin, done = time.monotonic(), self._accounts.snapshot().processed
        while (now := self._accounts.snapshot().processed - done) < frames:
            self.heard.changed.clear()
            while self.waiting < self._fill:
                self.send()
            # Not after each push does a result come: look again soon.
            self.heard.changed.wait(0.002)
        return now / (time.monotonic() - begin)

    def drain(self) -> None:
        """Wait until nothing is queued or worked on."""
        while self.waiting:
            time.sleep(0.002)
        self._worker.call(lambda _: None).result()

    def close(self) -> None:
        if not self._worker.stop(60.0):
            raise RuntimeError('the inference thread did not end within 60 s')


class _Engine(Engine):
    """Leaves the model to its other users when it is closed."""

    def close(self) -> None:
        for name in list(self.streams):
            self.close_stream(name)


def measure(job: dict[str, Any], place: Place, limit_s: float = float('inf')) -> dict[str, Any]:
    """Measure at the rates of a job, and look for the highest rate that is held.

    job: model, size, objects, K, M, frame, mode, rates, frames. Held is a rate with less than 1 %
    of its frames dropped and a queue that does not grow.
    """
    K, M, frames = job['K'], job['M'], job['frames']
    model, _ = load(job['model'], job['size'], place)
    scene = film(job['objects'], *job['frame'])
    camera = Camera(model, scene, real_config(job['model'], K, K, M, mode=job['mode']))
    begin, runs = time.monotonic(), []
    try:
        # The first windows are short, and the device has to warm up.
        for _ in range(max(-(-M // K), 4) * K):
            camera.send()
            camera.drain()
        capacity = camera.saturate(min(frames, 10 * K))
        camera.drain()
        for rate in job['rates']:
            # What a rate beyond the capacity does to the latency shows after two full queues.
            runs.append(camera.run(rate, frames if rate < capacity else min(frames, 3 * QUEUE)))
            camera.drain()
        held = None
        for share in SLOWER:
            if time.monotonic() - begin + frames / (share * capacity) > limit_s:
                break
            found = camera.run(share * capacity, frames)
            camera.drain()
            if found['drops'] < MAX_DROPS and found['queue'][1] <= found['queue'][0] + 2:
                held = found
                break
    finally:
        camera.close()
    if place.cuda:
        torch.cuda.empty_cache()
    if camera.heard.failures:
        raise RuntimeError(f'the worker failed: {camera.heard.failures[0]}')
    return {'capacity': capacity, 'runs': runs, 'held': held}


def measure_overload(cameras: int, queue: int, frames: int, place: Place) -> dict[str, Any]:
    """Measure what three times the rate that is held does to first masks; see above."""
    model, _ = load('demo', None, place)
    config = EngineConfig(10, 10, 20, mode='online')
    camera = Camera(model, film(3, 1280, 720), config, cameras, queue)
    try:
        for number in range(70):
            if number == 40:  # until then the first windows are short
                camera.heard.latencies.clear()
            camera.send()
            camera.drain()
        # The first camera waits for nothing, the others for those before them.
        inference = statistics.median(camera.heard.latencies[::cameras])
        held = camera.saturate(frames)
        camera.drain()
        sent = round(OVERLOAD * frames / cameras)
        found = camera.run(OVERLOAD * held / cameras, sent)
    finally:
        camera.close()
    if camera.heard.failures:
        raise RuntimeError(f'the worker failed: {camera.heard.failures[0]}')
    return {'cameras': cameras, 'length': queue, 'inference': inference, 'held': held, **found}


def table(lines: list[dict[str, Any]]) -> str:
    """Format overloads as a markdown table."""
    head = (
        'cameras', 'queue', 'one inference', 'held', 'sent', 'dropped', 'first masks p50',
        'p99', 'p99 in inferences', 'gap p50', 'longest gap', 'masks by camera',
    )  # fmt: skip
    return markdown(head, [
        [
            str(x['cameras']), str(x['length']), f'{x["inference"]:.3f} s', f'{x["held"]:.1f}/s',
            f'{x["rate"] * x["cameras"]:.1f}/s', f'{x["drops"]:.0%}', f'{x["p50"]:.2f} s',
            f'{x["p99"]:.2f} s', f'{x["p99"] / x["inference"]:.1f}', f'{x["gaps"][0]:.2f} s',
            f'{x["gaps"][2]:.2f} s', ', '.join(str(count) for count in x['masks']),
        ]
        for x in lines
    ])  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--cameras', type=int, nargs='+', default=[1, 3])
    parser.add_argument('--queues', type=int, nargs='+', default=[2, 20])
    parser.add_argument('--frames', type=int, default=40, help='that are held, for each line')
    parser.add_argument('--docs', action='store_true', help='write docs/measured/load.md')
    add_options(parser)
    options = parser.parse_args()
    place = place_of(options)
    lines = [
        measure_overload(cameras, queue, options.frames, place)
        for cameras in options.cameras for queue in options.queues
    ]  # fmt: skip
    print(table(lines))
    if options.docs:
        write(MEASURED / 'load.md', {'overload': table(lines)})
    return 0


if __name__ == '__main__':
    sys.exit(main())
