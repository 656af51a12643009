# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where every frame of a camera went, how fast, and how long it took; no ROS in here."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

LATENCY_SAMPLES = 512
# Seconds; a stamp farther from the clock is none of it: of a recording, or never filled in.
MAX_LATENCY = 3600.0
_RESTARTS = 32  # the last ones that are kept


@dataclass(frozen=True)
class Account:
    """The counts of one camera at one moment: received = processed + dropped + waiting, always.

    processed: frames whose masks of revision 0 came out of the engine. dropped: by reason.
    waiting: in the queue, in an unfinished window or in the pass that runs now. published,
    corrections: messages sent, which lag behind by what is on its way out. windows: those that
    were closed, with all that their passes decide. unstamped: of those dropped for a repeated
    stamp, the ones whose stamp is 0. restarts: the last times (seconds, monotonic) at which images
    did not follow those before, and why.
    """

    received: int
    processed: int
    waiting: int
    dropped: dict[str, int]
    published: int
    corrections: int
    windows: int
    resets: int
    unstamped: int
    restarts: tuple[tuple[float, str], ...]
    last_received: float | None
    last_published: float | None
    latencies: tuple[float, ...] = field(repr=False)
    lags: tuple[float, ...] = field(repr=False)

    @property
    def dropped_total(self) -> int:
        """Frames dropped for any reason."""
        return sum(self.dropped.values())

    def latency(self, share: float) -> float | None:
        """Return the quantile of stamp-to-publication seconds, None before the first frame."""
        return _quantile(self.latencies, share)

    def lag(self, share: float) -> float | None:
        """Return the quantile of seconds from a window's last frame to its end, None at first."""
        return _quantile(self.lags, share)


def _quantile(values: Sequence[float], share: float) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class FrameAccounts:
    """The counters of one camera; any thread writes, any thread reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = self._processed = self._published = 0
        self._corrections = self._windows = self._resets = self._unstamped = 0
        self._restarts: deque[tuple[float, str]] = deque(maxlen=_RESTARTS)
        self._dropped: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=LATENCY_SAMPLES)
        self._lags: deque[float] = deque(maxlen=LATENCY_SAMPLES)
        self._last_received: float | None = None
        self._last_published: float | None = None

    def receive(self) -> None:
        """Count a message that arrived; it waits from now on."""
        with self._lock:
            self._received += 1
            self._last_received = time.monotonic()

    def process(self, count: int = 1) -> None:
        """Count frames whose first masks came out."""
        with self._lock:
            self._processed += count

    def drop(self, reason: str, count: int = 1) -> None:
        """Count frames that will never have masks."""
        if count:
            with self._lock:
                self._dropped[reason] += count

    def repeat(self, stamp: int) -> None:
        """Note a stamp that repeats; `drop` counts its frame."""
        if stamp == 0:
            with self._lock:
                self._unstamped += 1

    def publish(self, latency: float) -> None:
        """Count first masks that were sent, latency seconds after the stamp of their image.

        A latency beyond MAX_LATENCY is not kept: stamp and clock do not belong together.
        """
        with self._lock:
            self._published += 1
            if abs(latency) <= MAX_LATENCY:
                self._latencies.append(latency)
            self._last_published = time.monotonic()

    def close_window(self, lag: float) -> None:
        """Note a window that was closed, lag seconds after its last frame arrived."""
        with self._lock:
            self._windows += 1
            self._lags.append(lag)

    def correct(self) -> None:
        """Count a correction that was sent."""
        with self._lock:
            self._corrections += 1

    def reset(self) -> None:
        """Count a stream that restarted."""
        with self._lock:
            self._resets += 1

    def note_restart(self, why: str) -> None:
        """Note that images do not follow those before; `reset` counts the restart."""
        with self._lock:
            self._restarts.append((time.monotonic(), why))

    def snapshot(self) -> Account:
        """Return all counts as of one moment."""
        with self._lock:
            return Account(
                received=self._received,
                processed=self._processed,
                waiting=self._received - self._processed - sum(self._dropped.values()),
                dropped=dict(self._dropped),
                published=self._published,
                corrections=self._corrections,
                windows=self._windows,
                resets=self._resets,
                unstamped=self._unstamped,
                restarts=tuple(self._restarts),
                last_received=self._last_received,
                last_published=self._last_published,
                latencies=tuple(self._latencies),
                lags=tuple(self._lags),
            )
