# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An object of a stream: who it is and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from detsam2_ros.engine.memory import Memory, Recall, choose, summary


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

    id: None for a bank object not seen yet, and until the window in which it was first detected
    has closed. born, last_seen: frame indices, -1 before. conditioned: by frame index. recent:
    memories of the newest frames that the last pass tracked; they only serve to tell this object
    from others at the next detection frame, no pass reads them. keys: the memory bank's names for
    it, several when bank objects turned out to be one thing; bank: its memories of these.
    """

    id: int | None
    class_id: int
    class_name: str
    born: int
    last_seen: int
    keys: tuple[str, ...] = ()
    bank: tuple[Memory, ...] = ()
    conditioned: dict[int, Conditioning] = field(default_factory=dict)
    recent: dict[int, Memory] = field(default_factory=dict)

    def draft(self) -> TrackedObject:
        """Copy what a window may change, so that a failed window leaves no trace."""
        return replace(self, conditioned=dict(self.conditioned), recent=dict(self.recent))

    @property
    def remembers(self) -> bool:
        """Whether there is any memory to track it from."""
        return bool(self.conditioned) or bool(self.bank)

    def attended(self, cap: int) -> list[int]:
        """Return the conditioned frames that it attends to, at most `cap`, ascending."""
        summaries = {frame: entry.summary for frame, entry in self.conditioned.items()}
        return choose(list(self.conditioned), summaries, cap)

    def recall(self, cap: int) -> Recall:
        """Return what it remembers; prompted frames beyond the cap count as passing ones."""
        attended = self.attended(cap)
        return Recall(
            conditioned={frame: self.conditioned[frame].memory for frame in attended},
            bank=self.bank,
            passing={
                frame: entry.memory
                for frame, entry in self.conditioned.items()
                if frame not in attended
            },
        )

    def forget(self, cap: int, reach: int) -> None:
        """Drop prompted frames beyond the cap that no later pass reaches (before `reach`)."""
        attended = set(self.attended(cap))
        self.conditioned = {
            frame: entry
            for frame, entry in self.conditioned.items()
            if frame >= reach or frame in attended
        }

    def absorb(self, other: TrackedObject, frames: set[int]) -> None:
        """Be one with another object: take over its prompts on some frames, and its bank."""
        for frame in frames & other.conditioned.keys():
            self.conditioned.setdefault(frame, other.conditioned[frame])
        self.last_seen = max(self.last_seen, other.last_seen)
        self.keys += other.keys
        self.bank += other.bank

    @property
    def is_known(self) -> bool:
        """Whether it was seen or detected; a bank object that is looked for is not."""
        return self.born >= 0
