# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the recorder knows of each frame, until no correction can reach it; no ROS in here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from detsam2_ros.client import TimelineFrame

# So many frames may wait in all: a node that publishes nothing must not fill the memory.
MAX_WAITING = 400


@dataclass
class Recorded:
    """A frame and all that came for it; times are nanoseconds of the recorder's clock.

    image: uint8 [H, W, 3] RGB. truth: uint16 [H, W], ball ids; balls: those that count, by how
    much of them shows; names: of the balls. first, last: masks as first published and as they
    ended, the same one if never corrected; None when the node published none.
    """

    stamp: int
    phase: str = ''
    image: np.ndarray | None = None
    arrived: int = 0
    truth: np.ndarray | None = None
    balls: np.ndarray | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    first: TimelineFrame | None = None
    last: TimelineFrame | None = None
    masked: int = 0
    corrected: int = 0
    corrections: int = 0

    @property
    def counting_balls(self) -> np.ndarray | None:
        """Ids of the balls to score, all of the truth's unless said otherwise; None without."""
        if self.truth is None:
            return None
        if self.balls is not None:
            return self.balls
        found = np.unique(self.truth)
        return found[found > 0]


class FrameLog:
    """Collects what arrives, and hands out each frame, in order, once it is done.

    hold: a frame is done when so many later ones have masks; more than M, so that the
    corrections of the last pass over it are in. take: gets the frames, on the thread that
    brought the message. phase: given to the frames whose image arrives from now on. May be used
    from several threads.
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
        """Take what a timeline knows of a frame after a message: first masks or better ones."""
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
