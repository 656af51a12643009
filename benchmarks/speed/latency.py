# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How long a frame waits for its first masks: a camera of some rate before the node's worker.

The inference thread of the node (`detsam2_ros.runtime.worker`) is given images at a rate, as
the node gives it those that arrive; what DDS and the node's other threads add is what `node.py`
measures.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.harness.place import Place, load
from benchmarks.speed.scenes import Film, film, real_config
from detsam2_ros.engine import Engine, EngineConfig, FrameResult
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.frame_queue import QueuedFrame
from detsam2_ros.runtime.worker import Worker

CAMERA = 'camera'
QUEUE = 20  # the node's default queue_size
MAX_DROPS = 0.01
SLOWER = (0.97, 0.93, 0.88, 0.8, 0.7, 0.6)  # of the rate when frames always wait


class Listener:
    """Notes when revision 0 of a frame comes, and what goes wrong."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.failures: list[str] = []
        self.changed = threading.Event()

    def on_result(self, camera: str, result: FrameResult) -> None:
        if result.revision == 0:
            self.latencies.append(time.monotonic() - result.tag.received)
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
    """A worker on an engine of its own, and images for it."""

    def __init__(self, model: Sam2Model, scene: Film, config: EngineConfig):
        self._scene = scene
        self._accounts = FrameAccounts()
        self.heard = Listener()
        self._worker = Worker([CAMERA], {CAMERA: self._accounts}, self.heard, QUEUE, 0.0)
        # The model is built by the caller: the worker's thread only runs it.
        self._worker.start(lambda: _Engine(model, scene, config)).result()
        self._worker.activate()
        self._sent = 0

    def send(self) -> None:
        """Offer the next frame, as if it had just arrived."""
        self._accounts.receive()
        image = self._scene.image(self._sent)
        self._worker.offer(CAMERA, QueuedFrame(image, self._sent, time.monotonic(), None))
        self._sent += 1

    @property
    def waiting(self) -> int:
        return self._worker.waiting()[CAMERA]

    def run(self, rate: float, frames: int) -> dict[str, Any]:
        """Send frames at a rate, Hz; returns latencies in s, drops, and the queue over time."""
        before, begin = self._accounts.snapshot(), time.monotonic()
        self.heard.latencies.clear()
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
        return {
            'rate': rate,
            'sent': frames,
            # The queue hides a rate that is too high until it is full: shares hold from there on.
            'drops': drops / (frames - (first_drop or 0)),
            'p50': float(np.quantile(latencies, 0.5)) if latencies else None,
            'p99': float(np.quantile(latencies, 0.99)) if latencies else None,
            'queue': [max(queue[:third]), max(queue[-third:])],
        }

    def saturate(self, frames: int) -> float:
        """Return the frames/s while frames always wait, over about so many of them."""
        begin, done = time.monotonic(), self._accounts.snapshot().processed
        while (now := self._accounts.snapshot().processed - done) < frames:
            self.heard.changed.clear()
            while self.waiting < 4:
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
