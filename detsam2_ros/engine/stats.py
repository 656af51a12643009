# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an engine has done so far, counted and timed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

import torch

STAGES = ('encode', 'detect', 'associate', 'decode_prompt', 'track', 'encode_memory', 'masks')


@dataclass(frozen=True)
class Stats:
    """Counts since the engine was made, over all its streams.

    frames: taken by `push`. encodings: images encoded, equal to frames (but for frames that were
    not taken because tracking them forward failed). published_frames:
    revisions 0. dropped_frames: taken but never published, because a stream was reset.
    tracked_frames: frames of an object tracked in passes. forward_frames: the same, tracked on
    arrival in mode online. associated_frames: the same, tracked to tell which detection is which
    object. conditioned_frames: frames of an object with a prompt; prompts: those that came by
    `Stream.prompt`. passes: those run again for objects that were recognised included.
    corrections: revisions above 0. detector_frames: images that the detector answered for;
    detector_failures: windows on which it failed, in mode online frames. detections: boxes it
    found, of which rejected_detections were unusable and ignored_detections came beyond
    max_objects. objects: ids given, of which withdrawn_objects were taken back; recalled_objects:
    those that returned with their id. seconds: by stage, on the device. device_bytes: allocated by
    PyTorch on a GPU, 0 on a CPU.
    """

    frames: int = 0
    encodings: int = 0
    published_frames: int = 0
    dropped_frames: int = 0
    tracked_frames: int = 0
    forward_frames: int = 0
    associated_frames: int = 0
    conditioned_frames: int = 0
    prompts: int = 0
    confirmed_detections: int = 0
    withdrawn_objects: int = 0
    recalled_objects: int = 0
    passes: int = 0
    corrections: int = 0
    detector_frames: int = 0
    detector_failures: int = 0
    detections: int = 0
    rejected_detections: int = 0
    ignored_detections: int = 0
    objects: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    device_bytes: int = 0


_COUNTS = frozenset(f.name for f in fields(Stats)) - {'seconds', 'device_bytes'}


class StatsRecorder:
    """Collects the stats; one thread writes, any thread reads."""

    def __init__(self, device: torch.device):
        self._device = device
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    def add(self, **counts: int) -> None:
        """Add to counts, by the names of Stats."""
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    @contextlib.contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """Time a stage; on a GPU by events, so that nothing waits for the device."""
        if self._device.type == 'cuda':
            begin = torch.cuda.Event(enable_timing=True)
            end = torch.cuda.Event(enable_timing=True)
            begin.record()
            try:
                yield
            finally:
                end.record()
                self._pending.append((stage, begin, end))
            return
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add_seconds(stage, time.perf_counter() - start)

    def settle(self) -> None:
        """Read the events that the device has passed; keeps their number bounded."""
        events, self._pending = self._pending, []  # one that fails is not asked again
        for stage, begin, end in events:
            if end.query():
                self._add_seconds(stage, begin.elapsed_time(end) / 1000)
            else:
                self._pending.append((stage, begin, end))

    def snapshot(self) -> Stats:
        """Return the stats as of now."""
        device_bytes = 0
        if self._device.type == 'cuda':
            device_bytes = torch.cuda.memory_allocated(self._device)
        with self._lock:
            stats = Stats(**self._counts, seconds=dict(self._seconds))
        return replace(stats, device_bytes=device_bytes)

    def _add_seconds(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage] += seconds
