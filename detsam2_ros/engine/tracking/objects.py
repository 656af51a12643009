# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An object of a stream: who it is and what is remembered of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.sam2.context import Recall
from detsam2_ros.engine.sam2.memory import Memory, choose, summary

_serials = itertools.count()


@dataclass(frozen=True)
class Conditioning:
    """An object on a frame with a prompt.

    logits: float32 [S/4, S/4], the prompted mask. stamp: of the frame, nanoseconds. summary:
    see memory.summary.
    """

    memory: Memory
    logits: torch.Tensor
    summary: torch.Tensor
    stamp: int

    @classmethod
    def of(cls, memory: Memory, logits: torch.Tensor, stamp: int) -> Conditioning:
        """Take one row of a batch, copied: a view would keep the whole batch alive."""
        own = Memory(memory.spatial.clone(), memory.pointer.clone(), memory.score.clone())
        return cls(own, logits.clone(), summary(own), stamp)


@dataclass(eq=False)
class TrackedObject:
    """One physical thing, or a bank object that is still being looked for.

    id: None for a bank object not seen yet, and in mode window until the window in which it was
    first detected has closed. born, last_seen: frame indices, -1 before. conditioned: by frame
    index. recent: memories of the newest tracked frames, which no pass reads: in mode window
    those of the last pass, which serve to tell this object from others at the next detection
    frame; in mode online those that forward tracking wrote and reads. keys: the memory bank's
    names for it, several when bank objects turned out to be one thing; bank: its memories of
    these. bank_since: the first frame that could be tracked with these, until a pass has gone
    back from it; else -1. sightings: frames in a row, up to the newest, on which an object that
    only a bank knows was surely seen (mode online). passed: prompts that a pass has read. late:
    prompts that came when later frames had been tracked, with the newest of these. by_hand:
    somebody said that it is one of its own. serial: the same for all drafts of one object.
    """

    id: int | None
    class_id: int
    class_name: str
    born: int
    last_seen: int
    keys: tuple[str, ...] = ()
    bank: tuple[Memory, ...] = ()
    bank_since: int = -1
    conditioned: dict[int, Conditioning] = field(default_factory=dict)
    recent: dict[int, Memory] = field(default_factory=dict)
    sightings: int = 0
    passed: frozenset[int] = frozenset()
    late: Mapping[int, int] = field(default_factory=dict)
    by_hand: bool = False
    serial: int = field(default_factory=_serials.__next__)

    def draft(self, newest: int | None = None) -> TrackedObject:
        """Copy what a step may change, so that one that fails leaves no trace.

        newest: leave out prompts of later frames.
        """
        conditioned = {
            frame: entry
            for frame, entry in self.conditioned.items()
            if newest is None or frame <= newest
        }
        return replace(self, conditioned=conditioned, recent=dict(self.recent))

    @property
    def remembers(self) -> bool:
        """Whether there is any memory to track it from."""
        return bool(self.conditioned) or bool(self.bank)

    def attended(self, cap: int) -> list[int]:
        """Return the conditioned frames that it attends to, at most `cap`, ascending."""
        summaries = {frame: entry.summary for frame, entry in self.conditioned.items()}
        return choose(list(self.conditioned), summaries, cap)

    def recall(self, config: EngineConfig, cap: int | None = None) -> Recall:
        """Return what it remembers; prompted frames beyond the cap count as passing ones.

        cap: instead of max_conditioned_memories.
        """
        attended = self.attended(config.max_conditioned_memories if cap is None else cap)
        return Recall(
            conditioned={frame: self.conditioned[frame].memory for frame in attended},
            bank=self.bank,
            passing={
                frame: entry.memory
                for frame, entry in self.conditioned.items()
                if frame not in attended
            },
        )

    def forget(self, cap: int, reach: int, newest: int) -> None:
        """Drop prompted frames beyond the cap that nothing later reads (before `reach`).

        newest: of the window that has closed; later prompts neither count nor go.
        """
        attended = set(self.draft(newest).attended(cap))
        self.conditioned = {
            frame: entry
            for frame, entry in self.conditioned.items()
            if frame >= min(reach, newest + 1) or frame in attended
        }
        self.passed &= self.conditioned.keys()
        self.late = {frame: at for frame, at in self.late.items() if frame in self.conditioned}

    @property
    def unread(self) -> set[int]:
        """The prompts that no pass has read."""
        return self.conditioned.keys() - self.passed

    def read(self, newest: int) -> None:
        """Note that a pass from frame `newest` has read the prompts, and what it left behind."""
        self.passed = frozenset(f for f in self.conditioned if self.late.get(f, f) <= newest)
        self.late = {frame: at for frame, at in self.late.items() if at > newest}
        self.bank_since = -1

    def absorb(self, other: TrackedObject, frames: set[int]) -> None:
        """Be one with another object: take over its prompts on some frames, and its bank."""
        self.follow(other, frames)
        self.last_seen = max(self.last_seen, other.last_seen)
        self.keys += other.keys
        self.bank += other.bank
        self.bank_since = max(self.bank_since, other.bank_since)

    def follow(self, other: TrackedObject, frames: set[int]) -> None:
        """Take over another object's prompts on some frames, and its trail if they are as new.

        Then the own trail was of something else, or of nothing: it does not count any more.
        """
        if max(other.conditioned, default=-1) >= max(self.conditioned, default=-1):
            self.recent = dict(other.recent)
        for frame in frames & other.conditioned.keys():
            self.conditioned.setdefault(frame, other.conditioned[frame])
        late = {frame: at for frame, at in other.late.items() if frame in frames}
        self.late = {**self.late, **late}
        self.recent = {at: m for at, m in self.recent.items() if at not in self.conditioned}

    @property
    def is_known(self) -> bool:
        """Whether it was seen or detected; a bank object that is looked for is not."""
        return self.born >= 0
