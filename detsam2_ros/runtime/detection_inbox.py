# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detections of another node on their way to their frames, by stamp, bounded; no ROS in here."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from detsam2_ros.runtime.detections import NamedDetections

CAPACITY = 64  # messages of one camera that wait for their frame
MAX_PER_FRAME = 4  # messages: several detectors may share a topic, a flood may not


class Unused(str, Enum):
    """Why a whole message was not used; the values are counted by in the diagnostics."""

    LATE = 'late'
    NO_FRAME = 'no_frame'
    REPEATED = 'repeated_stamp'
    EXPIRED = 'expired'
    RESET = 'stream_reset'
    INACTIVE = 'inactive'
    FAILED = 'failed'


EXPLANATIONS = {
    Unused.LATE: 'they come for frames that no pass can reach any more; a faster detector, or a '
    'larger max_propagation helps',
    Unused.NO_FRAME: 'no frame has their stamp; the detector must copy the header of the image, '
    'and frames that this node dropped have none',
    Unused.REPEATED: f'there were {MAX_PER_FRAME} messages with the same stamp before, and no '
    f'more are taken for one image',
    Unused.EXPIRED: f'{CAPACITY} others came after them, and still no image with their stamp; do '
    f'detector and node see the same camera and clock?',
    Unused.RESET: 'the stream restarted',
    Unused.INACTIVE: 'the node was deactivated',
    Unused.FAILED: 'inference failed, see the error',
}


@dataclass(frozen=True)
class DetectionCounts:
    """Where messages went: received = used + waiting + unused, always; and their boxes.

    unused, refused: by reason, of messages and of boxes that cannot be. matched, started,
    ignored: boxes of late messages that prompted an object, began one, or neither.
    """

    received: int
    used: int
    waiting: int
    unused: Mapping[str, int]
    boxes: int
    refused: Mapping[str, int]
    matched: int
    started: int
    ignored: int
    unused_total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'unused_total', sum(self.unused.values()))


class DetectionInbox:
    """The messages of one camera; executor threads fill it, the inference thread empties it.

    A message may come before its frame: `CAPACITY` of them wait. report: hears of each reason
    the first time that a message is not used for it; may be called from any thread.
    """

    def __init__(self, report: Callable[[Unused], None] = lambda why: None):
        self._report = report
        self._lock = threading.Lock()
        self._waiting: list[NamedDetections] = []
        self._taken: Counter[int] = Counter()  # messages used, by stamp of the frame in reach
        self._called = False
        self._received = self._used = self._boxes = 0
        self._matched = self._started = self._ignored = 0
        self._unused: Counter[Unused] = Counter()
        self._refused: Counter[str] = Counter()

    def receive(self, boxes: NamedDetections, refused: Mapping[str, int]) -> bool:
        """Take a message; returns whether inference is to be asked to look, once for many.

        refused: of its boxes, how many cannot be, by reason.
        """
        with self._lock:
            self._received += 1
            self._boxes += len(boxes)
            self._refused.update(refused)
            before = sum(other.stamp == boxes.stamp for other in self._waiting)
            why: Unused | None = None
            if before + self._taken[boxes.stamp] >= MAX_PER_FRAME:
                why = Unused.REPEATED
            else:
                self._waiting.append(boxes)
                if len(self._waiting) > CAPACITY:
                    why = Unused.EXPIRED
                    del self._waiting[0]
            first = why is not None and self._count(why)
            call = why is not Unused.REPEATED and not self._called
            self._called = self._called or call
        if first and why is not None:
            self._report(why)
        return call

    def lose(self) -> None:
        """Count a message that could not be read."""
        with self._lock:
            self._received += 1
            self._count(Unused.FAILED)

    def due(
        self, frames: Mapping[int, int], newest: int | None
    ) -> list[tuple[int, NamedDetections]]:
        """Take out the messages whose frames are there, in the order of the frames.

        frames: index by stamp of those in reach. newest: stamp of the newest frame that was
        taken. What can have no frame any more is dropped and counted.
        """
        oldest = min(frames, default=newest)
        found, gone = [], []
        with self._lock:
            self._called = False
            self._taken = Counter({s: n for s, n in self._taken.items() if s in frames})
            early = []
            for boxes in self._waiting:
                if boxes.stamp in frames:
                    self._taken[boxes.stamp] += 1
                    found.append((frames[boxes.stamp], boxes))
                elif newest is None or oldest is None or boxes.stamp > newest:
                    early.append(boxes)
                else:
                    why = Unused.LATE if boxes.stamp < oldest else Unused.NO_FRAME
                    if self._count(why):
                        gone.append(why)
            self._waiting = early
        for why in gone:
            self._report(why)
        return sorted(found, key=lambda pair: pair[0])

    def clear(self, why: Unused) -> None:
        """Drop what waits."""
        with self._lock:
            count = len(self._waiting)
            self._waiting.clear()
            self._taken.clear()
            first = bool(count) and self._count(why, count)
        if first:
            self._report(why)

    def use(self, matched: int, started: int, ignored: int) -> None:
        """Count a message that was used, and what became of its boxes."""
        with self._lock:
            self._used += 1
            self._matched += matched
            self._started += started
            self._ignored += ignored

    def refuse(self, reason: str, count: int) -> None:
        """Count boxes that turned out not to be possible."""
        with self._lock:
            self._refused[reason] += count

    def fail(self, count: int = 1) -> None:
        """Count messages that the engine could not take."""
        with self._lock:
            first = bool(count) and self._count(Unused.FAILED, count)
        if first:
            self._report(Unused.FAILED)

    def snapshot(self) -> DetectionCounts:
        """Return all counts as of one moment."""
        with self._lock:
            unused = {why.value: n for why, n in self._unused.items()}
            # What was taken out and is being worked on waits too.
            waiting = self._received - self._used - sum(unused.values())
            return DetectionCounts(
                received=self._received,
                used=self._used,
                waiting=waiting,
                unused=unused,
                boxes=self._boxes,
                refused=dict(self._refused),
                matched=self._matched,
                started=self._started,
                ignored=self._ignored,
            )

    def _count(self, why: Unused, count: int = 1) -> bool:
        """Count messages; returns whether they are the first ones of that reason."""
        self._unused[why] += count
        return self._unused[why] == count
