# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a stream holds between two calls, and nothing else: a value that is only ever replaced."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.sam2.memory_attention import KeyCache
from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.tracking.bank_objects import look_for_bank, rebanked
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.ids import IdAllocator, IdAssigner
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.errors import EngineError, PromptError


@dataclass(frozen=True)
class StreamState:
    """A stream's frames and objects; ids and bank outlive a reset.

    Nothing in here is changed in place: an operation makes a new state from drafts, and
    `StateHolder.commit` takes that over. So an operation that fails leaves no trace.
    """

    ids: IdAllocator = field(default_factory=IdAllocator)
    bank: MemoryBank | None = None
    resizer: MaskResizer | None = None  # once the image size is known
    next_index: int = 0
    horizon: int = 0  # the first frame that is not final
    frames: Mapping[int, Frame] = field(default_factory=dict)  # those that a later pass can reach
    window: tuple[int, ...] = ()  # those of the frames whose window is not closed
    objects: tuple[TrackedObject, ...] = ()
    dormant: tuple[TrackedObject, ...] = ()  # retired, the longest unseen first; see dormant.py
    # Ids that went into others, or were removed, and still show on frames in reach.
    merged_or_removed_ids: frozenset[int] = frozenset()
    withdrawn_ids: frozenset[int] = frozenset()  # the same, of ids that stood for nothing
    # By id: frames on which a lost object shows at another one's place, until they are final.
    lost: Mapping[int, range] = field(default_factory=dict)
    cache: KeyCache = field(default_factory=KeyCache)  # of forward tracking; saves time only

    def with_frames(self, frames: Iterable[Frame]) -> StreamState:
        """Return the state with other versions of some of its frames."""
        return replace(self, frames={**self.frames, **{frame.index: frame for frame in frames}})

    def with_bank(self, bank: MemoryBank | None, device: torch.device) -> StreamState:
        """Return the state with another bank, and the objects as that knows them."""
        objects = rebanked(self.objects, bank, device, self.next_index or None)
        return replace(self, bank=bank, objects=objects)

    def restarted(self, device: torch.device) -> StreamState:
        """Return a state without frames, and without objects but those that the bank knows."""
        objects = look_for_bank(self.bank, (), device)
        return StreamState(ids=self.ids, bank=self.bank, objects=objects)

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
        if not self.frames:
            raise PromptError(f"stream '{stream}' has no frame yet; try again when images come")
        if index not in self.frames:
            raise PromptError(
                f"stream '{stream}' does not hold frame {index!r:.40}; those that can still "
                f'change are from {min(self.frames)} to {self.next_index - 1}'
            )
        return self.frames[index]

    @property
    def has_unread_prompts(self) -> bool:
        """Whether frames in reach wait for a pass: prompted since, or with objects removed."""
        published = {i: frame.published for i, frame in self.frames.items() if frame.published}
        if not published:
            return False
        if any(index in self.frames for tracked in self.objects for index in tracked.unread):
            return True
        gone = self.merged_or_removed_ids | self.withdrawn_ids
        if not gone and not self.lost:  # the usual case, asked several times a frame
            return False
        return any(
            shown.visible
            for index, frame in published.items()
            for shown in frame.objects.values()
            if shown.id in gone or index in self.lost.get(shown.id, ())
        )

    def id_assigner(self) -> IdAssigner:
        """Return a draft of the ids, to give some that no living, dormant or shown object has."""
        owners = *self.objects, *self.dormant
        owned = {id_ for obj in owners for id_ in (obj.id, obj.former_id) if id_ is not None}
        return IdAssigner(copy.copy(self.ids), owned | self.shown_ids())

    def shown_ids(self) -> set[int]:
        """Return the ids on frames in reach as published, those of retired objects included."""
        return {
            id_
            for frame in self.frames.values()
            if frame.published is not None
            for id_ in frame.published.objects
        }


class StateHolder:
    """Holds the state of a stream; `commit` alone replaces it."""

    def __init__(self, state: StreamState):
        self._state = state
        self._closed = ''  # why there is no state any more, a sentence

    @property
    def state(self) -> StreamState:
        """The state as of the last commit; EngineError after `close`."""
        if self._closed:
            raise EngineError(self._closed)
        return self._state

    def close(self, reason: str) -> None:
        """Let all that is held go; reason: a sentence for those who ask for the state."""
        self.commit(StreamState())
        self._closed = reason

    def commit(self, state: StreamState) -> None:
        """Make a state that an operation has made the stream's own."""
        self._state = state
