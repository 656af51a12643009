# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The reverse pass: from the newest frame back, a pure function of what it is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from detsam2_ros.engine.memory import Context, Memory, Recall, select_context
from detsam2_ros.engine.sam2_model import Sam2Model
from detsam2_ros.engine.stages import Decoded, ImageFeatures, memorise, track

Clock = Callable[[str], AbstractContextManager[None]]
T = TypeVar('T')
Steps = Generator[None, None, T]  # work in parts; between two of them other work may be done


@dataclass(frozen=True)
class Tracked:
    """A mask from memory: float32 logits [S/4, S/4] and the object score logit, float32 []."""

    logits: torch.Tensor
    score: torch.Tensor


@dataclass
class PassOutput:
    """What a pass found for one object, by frame index.

    tracked: every frame of the pass but those in `PassInput.prompted`. memories: those of the
    newest frames, which tell the object again in the next window.
    """

    tracked: dict[int, Tracked] = field(default_factory=dict)
    memories: dict[int, Memory] = field(default_factory=dict)


@dataclass(frozen=True)
class PassInput:
    """One object as a pass sees it.

    recall: what it remembers. prompted: frames whose mask is prompted. newest: the frame that the
    pass begins on for this object, where that is not the pass's first.
    """

    recall: Recall
    prompted: frozenset[int] = frozenset()
    newest: int | None = None


def reverse_pass(*args: Any, **options: Any) -> list[PassOutput]:
    """Run a pass, see `reverse_steps`, in one go."""
    return finished(reverse_steps(*args, **options))


def finished(steps: Steps[T]) -> T:
    """Do all parts of some work; returns its outcome."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def reverse_steps(
    model: Sam2Model,
    features: Mapping[int, ImageFeatures],
    objects: Sequence[PassInput],
    newest: int,
    oldest: int,
    frames_seen: int,
    batch: bool = True,
    clock: Clock | None = None,
) -> Steps[list[PassOutput]]:
    """Track objects from frame `newest` back to frame `oldest`, both included, frame by frame.

    features: of every frame in between. Reads nothing that another pass has tracked, keeps
    nothing: equal inputs give equal outputs. batch=False tracks one object at a time. Do each
    part inside `Sam2Model.inference()`. (Det-SAM2 report, section 3; SAM2VideoPredictor.
    propagate_in_video with reverse=True, which starts at newest and tracks newest - oldest
    frames more.)
    """
    time = clock or (lambda stage: nullcontext())
    outputs = [PassOutput() for _ in objects]
    neighbours: list[dict[int, Memory]] = [dict(entry.recall.passing or {}) for entry in objects]
    for frame in range(newest, oldest - 1, -1):
        contexts = {
            row: select_context(
                model, entry.recall, neighbours[row], frame, frames_seen, reverse=True
            )
            for row, entry in enumerate(objects)
            if frame not in entry.prompted
            and (entry.newest is None or frame <= entry.newest)
        }
        for rows in same_layout(contexts, batch):
            with time('track'):
                decoded = track(model, features[frame], [contexts[row] for row in rows])
            with time('memorise'):
                spatial = memorise(model, features[frame], decoded, prompted=False)
            memories = memories_of(decoded, spatial)
            for i, (row, memory) in enumerate(zip(rows, memories, strict=True)):
                outputs[row].tracked[frame] = Tracked(decoded.logits[i], decoded.score[i])
                neighbours[row][frame] = memory
        _forget(neighbours, frame, model)
        if newest - frame < model.module.num_maskmem - 1:
            for row in contexts:
                outputs[row].memories[frame] = neighbours[row][frame]
        yield
    return outputs


def same_layout(contexts: Mapping[int, Context], batch: bool = True) -> list[list[int]]:
    """Group the keys of contexts that can be tracked as one batch."""
    if not batch:
        return [[row] for row in contexts]
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, context in contexts.items():
        groups[context.layout].append(row)
    return list(groups.values())


def memories_of(decoded: Decoded, spatial: torch.Tensor) -> list[Memory]:
    """Split a batch of B decoded objects and their spatial memories [B, C, h, w]."""
    return [Memory(spatial[i], decoded.pointer[i], decoded.score[i]) for i in range(len(spatial))]


def _forget(neighbours: list[dict[int, Memory]], frame: int, model: Sam2Model) -> None:
    """Drop what no frame before `frame` can read any more; keeps a pass's memory constant."""
    horizon = frame + max(model.module.num_maskmem, model.module.max_obj_ptrs_in_encoder)
    for memories in neighbours:
        for at in [at for at in memories if at >= horizon]:
            del memories[at]
