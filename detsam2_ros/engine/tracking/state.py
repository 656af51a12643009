# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a stream holds between two calls, and nothing else."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.sam2.attention import KeyCache
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.tracking.association import IdAllocator
from detsam2_ros.engine.tracking.frames import Frame, Published
from detsam2_ros.engine.tracking.identity import Names
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.errors import PromptError
from detsam2_ros.results.frames import FrameResult


@dataclass
class StreamState:
    """A stream's frames and objects; what it knows beyond them outlives a reset.

    frames: by index, those that a later pass can reach. window: those of them whose window is not
    closed. horizon: the first frame that is not final. gone: ids that went into others and still
    show on frames in reach. composer: once the image size is known. cache: keys of the memories
    that forward tracking reads; it saves time only.
    """

    ids: IdAllocator = field(default_factory=IdAllocator)
    bank: MemoryBank | None = None
    composer: Composer | None = None
    next_index: int = 0
    horizon: int = 0
    frames: dict[int, Frame] = field(default_factory=dict)
    window: list[Frame] = field(default_factory=list)
    objects: list[TrackedObject] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    cache: KeyCache = field(default_factory=KeyCache)

    def add(self, frame: Frame, composer: Composer) -> None:
        """Take a frame in."""
        self.composer = composer
        self.next_index += 1
        self.frames[frame.index] = frame
        self.window.append(frame)

    def note(self, result: FrameResult) -> None:
        """Remember what was published."""
        self.frames[result.index].published = Published(
            result.revision, result.objects, result.packed
        )

    def find_frame(self, stream: str, stamp: int | None) -> int:
        """Return the newest frame with a stamp, None: of all; PromptError without one."""
        if not self.frames:
            raise PromptError(f"stream '{stream}' has no frame yet; try again when images come")
        if stamp is None:
            return max(self.frames)
        for index in sorted(self.frames, reverse=True):
            if self.frames[index].stamp == stamp:
                return index
        first, last = self.frames[min(self.frames)], self.frames[max(self.frames)]
        raise PromptError(
            f"stream '{stream}' holds no frame with stamp {stamp} ns; those that can still change "
            f'are from {first.stamp} to {last.stamp} ns'
        )

    def frame(self, stream: str, index: int) -> Frame:
        """Return a frame that a pass can reach; PromptError when it is not there."""
        if index not in self.frames:
            raise PromptError(
                f"stream '{stream}' does not hold frame {index}; those that can still change are "
                f'from {min(self.frames, default=0)} to {self.next_index - 1}'
            )
        return self.frames[index]

    @property
    def news(self) -> bool:
        """Whether frames in reach wait for a pass: prompted since, or with objects removed."""
        frames = [frame for frame in self.frames.values() if frame.published is not None]
        if not frames:
            return False
        if any(index in self.frames for entry in self.objects for index in entry.unread):
            return True
        return any(
            shown.id in self.gone and shown.visible
            for frame in frames
            for shown in frame.published.objects  # type: ignore[union-attr]
        )

    def names(self) -> Names:
        """Return a draft of the ids, to give some: not those of living or of shown objects."""
        living = {entry.id for entry in self.objects if entry.id is not None}
        return Names(copy.copy(self.ids), living | self.shown_ids())

    def shown_ids(self) -> set[int]:
        """Return the ids on frames in reach as published, those of retired objects included."""
        return {
            entry.id
            for frame in self.frames.values()
            if frame.published is not None
            for entry in frame.published.objects
        }
