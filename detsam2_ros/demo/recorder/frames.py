# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The recorder's frames, held until no correction can reach them; no ROS in here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from detsam2_ros.client import TimelineFrame

# Limit of waiting frames: a node that publishes nothing must not fill the memory.
MAX_WAITING = 400


@dataclass
class Recorded:
    """A frame with everything received for it; times are nanoseconds of the recorder's clock."""

    stamp: int
    phase: str = ''  # of the story
    image: np.ndarray | None = None  # uint8 [H, W, 3] RGB
    arrived: int = 0  # time of the image
    truth: np.ndarray | None = None  # uint16 [H, W], ball ids
    balls: np.ndarray | None = None  # ids of the balls that are visible enough to count
    names: Mapping[int, str] = field(default_factory=dict)  # of all balls
    first: TimelineFrame | None = None  # masks as first published; None: no masks
    last: TimelineFrame | None = None  # the last masks; equal to `first` if never corrected
    masked: int = 0  # time of the first masks
    corrected: int = 0  # time of the last correction
    corrections: int = 0

    @property
    def counting_balls(self) -> np.ndarray | None:
        """Ids of the balls to score, by default all in the truth; None without truth."""
        if self.truth is None:
            return None
        if self.balls is not None:
            return self.balls
        found = np.unique(self.truth)
        return found[found > 0]


class FrameLog:
    """Collects messages by frame, and hands out each frame, in order, once it is done.

    hold: a frame is done when `hold` later frames have masks; more than M, so that all its
    corrections have arrived. take: called with each frame, on the thread of the last message.
    phase: of the frames whose image arrives from now on. Several threads may use it.
    """

    def __init__(self, hold: int, take: Callable[[Recorded], None]):
        if hold < 1:
            raise ValueError(f'hold must be >= 1, got {hold}')
        self.phase = ''
        self.images = self.masks = self.corrections = self.unknown = 0
        self._hold = hold
        self._take = take
        self._lock = threading.RLock()
        self._waiting: dict[int, Recorded] = {}
        self._done_until = -1

    def add_image(self, stamp: int, image: np.ndarray, now: int) -> None:
        """Take an image, uint8 [H, W, 3] RGB."""
        with self._lock:
            self.images += 1
            recorded = self._recorded(stamp)
            if recorded is not None:
                recorded.image, recorded.phase, recorded.arrived = image, self.phase, now
                self._hand_out()

    def add_truth(self, stamp: int, truth: np.ndarray) -> None:
        """Take the true labels of a frame, uint16 [H, W]."""
        with self._lock:
            recorded = self._recorded(stamp)
            if recorded is not None:
                recorded.truth = truth

    def add_balls(self, stamp: int, balls: np.ndarray, names: Mapping[int, str]) -> None:
        """Take the ids of a frame's balls that count, and the names of all."""
        with self._lock:
            recorded = self._recorded(stamp)
            if recorded is not None:
                recorded.balls, recorded.names = balls, names

    def add_masks(self, frame: TimelineFrame, now: int) -> None:
        """Take a frame of a timeline: its first masks, or corrected ones."""
        with self._lock:
            recorded = self._recorded(frame.stamp)
            if recorded is None:
                return
            if recorded.first is None:
                recorded.first, recorded.masked = frame, now
                self.masks += 1
            if frame.revision:
                recorded.corrected = now
                recorded.corrections += 1
                self.corrections += 1
            recorded.last = frame
            self._hand_out()

    def drain(self) -> None:
        """Hand out all frames: the stream has ended."""
        with self._lock:
            for stamp in sorted(self._waiting):
                self._finish(stamp)

    def _recorded(self, stamp: int) -> Recorded | None:
        """Return what is known of a frame, None if the frame has been handed out."""
        if stamp <= self._done_until:
            self.unknown += 1
            return None
        return self._waiting.setdefault(stamp, Recorded(stamp))

    def _hand_out(self) -> None:
        stamps = sorted(self._waiting)
        masked = sum(self._waiting[stamp].first is not None for stamp in stamps)
        for stamp in stamps:
            masked -= self._waiting[stamp].first is not None
            if masked < self._hold and len(self._waiting) <= MAX_WAITING:
                break
            self._finish(stamp)

    def _finish(self, stamp: int) -> None:
        recorded = self._waiting.pop(stamp)
        self._done_until = stamp
        if recorded.image is not None:
            self._take(recorded)
