# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The reverse pass: from the newest frame back, a pure function of what it is given."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from detsam2_ros.engine.sam2.attention import KeyCache
from detsam2_ros.engine.sam2.context import Recall, select_context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import (
    Decoded,
    ImageFeatures,
    memories_of,
    memorise,
    same_layout,
    track,
)

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

    recall: what it remembers. prompted: frames whose mask is prompted. newest: where the pass
    begins for this object; None where the pass itself does. settled: masks that a pass may stop
    at when it finds them again, bool [S/4, S/4] by frame index; see `StopRule`.
    """

    recall: Recall
    prompted: frozenset[int] = frozenset()
    newest: int | None = None
    settled: Mapping[int, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class StopRule:
    """When a pass is over for an object: it found `frames` settled masks in a row again.

    iou: what counts as found again. Frames before that stay as they were published.
    """

    iou: float
    frames: int


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
    stop: StopRule | None = None,
) -> Steps[list[PassOutput]]:
    """Track objects from frame `newest` back to frame `oldest`, both included, frame by frame.

    features: of every frame in between. Reads nothing that another pass has tracked, keeps
    nothing: equal inputs give equal outputs. batch=False tracks one object at a time. stop: ends
    the pass early for objects whose settled masks it finds again. Do each part inside
    `Sam2Model.inference()`. (Det-SAM2 report, section 3; SAM2VideoPredictor.propagate_in_video
    with reverse=True, which starts at newest and tracks newest - oldest frames more.)
    """
    time = clock or (lambda stage: nullcontext())
    outputs = [PassOutput() for _ in objects]
    neighbours: list[dict[int, Memory]] = [dict(entry.recall.passing or {}) for entry in objects]
    cache = KeyCache()
    streaks = [0] * len(objects)
    done: set[int] = set()
    for frame in range(newest, oldest - 1, -1):
        if len(done) == len(objects):
            break
        contexts = {
            row: select_context(
                model, entry.recall, neighbours[row], frame, frames_seen, reverse=True
            )
            for row, entry in enumerate(objects)
            if frame not in entry.prompted
            and row not in done
            and frame <= (newest if entry.newest is None else entry.newest)
        }
        for rows in same_layout(contexts, batch):
            with time('track'):
                decoded = track(model, features[frame], [contexts[row] for row in rows], cache)
            with time('memorise'):
                spatial = memorise(model, features[frame], decoded, prompted=False)
            memories = memories_of(decoded, spatial)
            for i, (row, memory) in enumerate(zip(rows, memories, strict=True)):
                outputs[row].tracked[frame] = Tracked(decoded.logits[i], decoded.score[i])
                neighbours[row][frame] = memory
            if stop is not None:
                settled = [objects[row].settled.get(frame) for row in rows]
                for row, again in zip(rows, _found_again(decoded, settled, stop), strict=True):
                    streaks[row] = streaks[row] + 1 if again else 0
                    if streaks[row] >= stop.frames:
                        done.add(row)
        _forget(neighbours, frame, model)
        cache.advance()
        if newest - frame < model.module.num_maskmem - 1:
            for row in contexts:
                outputs[row].memories[frame] = neighbours[row][frame]
        yield
    return outputs


def _found_again(
    decoded: Decoded, settled: Sequence[torch.Tensor | None], stop: StopRule
) -> list[bool]:
    """Tell for each object of a batch whether its mask is the settled one."""
    rows = [row for row, mask in enumerate(settled) if mask is not None]
    answers = [False] * len(settled)
    if not rows:
        return answers
    now = decoded.logits[rows].flatten(1) > 0
    then = torch.stack([mask for mask in settled if mask is not None]).flatten(1)
    both, either = (now & then).sum(1), (now | then).sum(1)
    again = both >= stop.iou * either  # two empty masks agree
    for row, answer in zip(rows, again.tolist(), strict=True):
        answers[row] = answer
    return answers


def _forget(neighbours: list[dict[int, Memory]], frame: int, model: Sam2Model) -> None:
    """Drop what no frame before `frame` can read any more; keeps a pass's memory constant."""
    horizon = frame + max(model.module.num_maskmem, model.module.max_obj_ptrs_in_encoder)
    for memories in neighbours:
        for at in [at for at in memories if at >= horizon]:
            del memories[at]
