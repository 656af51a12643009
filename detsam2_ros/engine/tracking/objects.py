# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An object of a stream: its identity and what is remembered of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.sam2.attended_memories import ObjectMemory, choose
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.results.frames import ObjectState

_serials = itertools.count()


@dataclass(frozen=True)
class ConditioningFrame:
    """An object on a frame with a prompt."""

    memory: Memory
    logits: torch.Tensor  # float32 [S/4, S/4], the prompted mask
    stamp: int  # of the frame, nanoseconds
    tracked_until: int  # the newest frame that was tracked without this prompt; else its own frame
    read: bool = False  # a pass has read it

    @classmethod
    def of(
        cls, frame: Frame, memory: Memory, logits: torch.Tensor, tracked_until: int = 0
    ) -> ConditioningFrame:
        """Take one row of a batch, copied: a view would keep the whole batch alive."""
        own = Memory(memory.spatial.clone(), memory.pointer.clone(), memory.score.clone())
        until = max(frame.index, tracked_until)
        return cls(own, logits.clone(), frame.stamp, until)


@dataclass(frozen=True)
class BankView:
    """What a memory bank holds of an object."""

    keys: tuple[str, ...] = ()  # the bank's names for it, several when bank objects became one
    memories: tuple[Memory, ...] = ()  # on the device; none when the bank was dropped
    # The first frame that could be tracked with these memories, until a pass has gone back from
    # it; then None.
    since: int | None = None

    def __bool__(self) -> bool:
        return bool(self.memories)

    def joined(self, other: BankView) -> BankView:
        """Return what both hold, for two objects that became one."""
        since = [at for at in (self.since, other.since) if at is not None]
        return BankView(
            self.keys + other.keys, self.memories + other.memories, max(since, default=None)
        )


@dataclass(eq=False)
class TrackedObject:
    """One physical thing, or a bank object that is still being looked for."""

    # None for a bank object not seen yet, and in mode window until the window in which the object
    # was first detected has closed.
    id: int | None
    class_id: int
    class_name: str
    born: int | None = None  # the frame of the first sight or detection
    last_seen: int = -1  # the newest frame on which it was seen or detected; -1 before
    bank: BankView = BankView()
    prompts: Mapping[int, ConditioningFrame] = field(default_factory=dict)  # by frame index
    # Memories of the newest tracked frames, which no pass reads. In mode window those of the last
    # pass, which tell this object from others at the next detection frame; in mode online those
    # that forward tracking wrote and reads.
    tracked_memories: dict[int, Memory] = field(default_factory=dict)
    # Frames in a row, up to the newest, on which an object that only a bank knows was surely seen
    # (mode online).
    sightings: int = 0
    # Mode online: pixels of its mask on its newest prompted frame, and the frame from which on its
    # mask was about as large on every frame.
    area: int = 0
    steady_since: int = 0
    by_hand: bool = False  # somebody said that it is one of its own
    former_id: int | None = None  # what an object that a bank knows had before it retired
    # Frames on which a detection was this object, until it is confirmed: then nobody asks.
    matched: frozenset[int] = frozenset()
    missed: frozenset[int] = frozenset()  # frames on which a detector should have found it
    detected_area: int = 0  # pixels of its mask on one of these, at most, as passes found it
    confirmed: bool = False  # it is there; see tentative.py
    # Serial of the dormant object that it was found to be, and on how many looks in a row.
    looks_like: tuple[int, int] = (-1, 0)
    serial: int = field(default_factory=_serials.__next__)  # the same for all drafts of one object

    def draft(self, newest: int | None = None) -> TrackedObject:
        """Return a copy that a step may change.

        newest: leave out prompts of later frames.
        """
        prompts = {
            at: prompt for at, prompt in self.prompts.items() if newest is None or at <= newest
        }
        return replace(self, prompts=prompts, tracked_memories=dict(self.tracked_memories))

    @property
    def remembers(self) -> bool:
        """Whether there is any memory to track it from."""
        return bool(self.prompts) or bool(self.bank)

    @property
    def is_known(self) -> bool:
        """Whether it was seen or detected; a bank object that is looked for is not."""
        return self.born is not None

    @property
    def waits(self) -> bool:
        """Whether only a bank knows it, and it was not seen for long enough to get an id."""
        return self.id is None and not self.prompts

    @property
    def is_steady(self) -> bool:
        """Whether its mask was about as large on every frame since its newest prompt."""
        return self.steady_since <= max(self.prompts, default=-1)

    @property
    def unread(self) -> set[int]:
        """The prompts that no pass has read."""
        return {at for at, prompt in self.prompts.items() if not prompt.read}

    def attended(self, cap: int) -> list[int]:
        """Return the prompted frames that it attends to, at most `cap`, ascending."""
        return choose({at: prompt.memory for at, prompt in self.prompts.items()}, cap)

    def memory(self, config: EngineConfig, cap: int | None = None) -> ObjectMemory:
        """Return what it remembers; prompted frames beyond the cap count by nearness only.

        cap: instead of max_conditioned_memories.
        """
        attended = self.attended(config.max_conditioned_memories if cap is None else cap)
        return ObjectMemory(
            conditioning={at: self.prompts[at].memory for at in attended},
            bank=self.bank.memories,
            non_conditioning={
                at: prompt.memory for at, prompt in self.prompts.items() if at not in attended
            },
        )

    def prompt(self, index: int, prompt: ConditioningFrame) -> None:
        """Condition it on a frame, in place of an earlier prompt there."""
        self.prompts = {**self.prompts, index: prompt}
        self.last_seen = max(self.last_seen, index)

    def read(self, newest: int) -> None:
        """Note that a pass from frame `newest` has read the prompts, and what it left behind."""
        self.prompts = {
            # Once read, only its own frame counts, also when another object takes it over.
            at: replace(prompt, read=True, tracked_until=at)
            if prompt.tracked_until <= newest
            else replace(prompt, read=False)
            for at, prompt in self.prompts.items()
        }
        self.bank = replace(self.bank, since=None)

    def retrack(self, until: int) -> None:
        """Have frames after its newest prompt tracked again: another object was there."""
        newest = max(self.prompts)
        if until > self.prompts[newest].tracked_until:
            own = replace(self.prompts[newest], tracked_until=until, read=False)
            self.prompts = {**self.prompts, newest: own}

    def match(self, index: int, score: float, config: EngineConfig) -> None:
        """Note that a detection on a frame was this object, which may confirm it."""
        if self.confirmed:
            return
        self.matched |= {index}
        enough = len(self.matched) >= config.confirm_detections
        self.confirmed = enough or score >= config.confirm_score

    @property
    def state(self) -> ObjectState:
        """What is said of it in results."""
        return ObjectState.CONFIRMED if self.confirmed else ObjectState.TENTATIVE

    def forget(self, cap: int, reach: int, newest: int) -> None:
        """Drop prompted frames beyond the cap that nothing later reads (before `reach`).

        newest: of the window that has closed; later prompts neither count nor go.
        """
        attended = set(self.draft(newest).attended(cap))
        first = min(reach, newest + 1)
        self.prompts = {
            at: prompt for at, prompt in self.prompts.items() if at >= first or at in attended
        }

    def absorb(self, other: TrackedObject, frames: set[int]) -> None:
        """Be one with another object: take over its prompts on some frames, and its bank."""
        self.follow(other, frames)
        self.last_seen = max(self.last_seen, other.last_seen)
        self.bank = self.bank.joined(other.bank)
        self.learn(other)

    def learn(self, other: TrackedObject) -> None:
        """Take over how sure it is that another object is there, which is this one."""
        self.matched |= other.matched
        self.confirmed |= other.confirmed

    def follow(self, other: TrackedObject, frames: set[int]) -> None:
        """Take over another object's prompts on some frames, and its trail if that is as new.

        Then the own trail was of something else, or of nothing: it does not count any more.
        """
        if max(other.prompts, default=-1) >= max(self.prompts, default=-1):
            self.tracked_memories = dict(other.tracked_memories)
        new = {
            at: replace(prompt, read=False)
            for at, prompt in other.prompts.items()
            if at in frames and at not in self.prompts
        }
        self.prompts = {**self.prompts, **new}
        self.tracked_memories = {
            at: memory for at, memory in self.tracked_memories.items() if at not in self.prompts
        }
