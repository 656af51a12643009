# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The reverse pass: from the newest frame back, a pure function of what it is given."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from detsam2_ros.engine.sam2.attended_memories import ObjectMemory, select_context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.memory_attention import KeyCache
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import (
    ImageFeatures,
    MaskPrediction,
    encode_memories,
    track_objects,
)

Clock = Callable[[str], AbstractContextManager[None]]
T = TypeVar('T')
Steps = Generator[None, None, T]  # work in parts; between two of them other work may be done


@dataclass
class PassOutput:
    """What a pass found for one object, by frame index."""

    # Every frame of the pass but those in PassInput.prompted.
    tracked: dict[int, MaskPrediction] = field(default_factory=dict)
    # Of the newest frames, which tell the object from others in the next window.
    memories: dict[int, Memory] = field(default_factory=dict)


@dataclass(frozen=True)
class PassInput:
    """One object as a pass sees it."""

    memory: ObjectMemory
    prompted: frozenset[int] = frozenset()  # frames whose mask is prompted
    newest: int | None = None  # where the pass begins for this object; None = where the pass does
    # Masks that the pass may stop at when it finds them again, bool [S/4, S/4] by frame index.
    published: Mapping[int, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class StopRule:
    """When a pass is over for an object: it found published masks again, several in a row.

    Frames before that stay as they were published.
    """

    iou: float  # what counts as found again
    frames: int  # how many in a row


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
    span: range,
    frames_seen: int,
    batch: bool = True,
    clock: Clock | None = None,
    stop: StopRule | None = None,
) -> Steps[list[PassOutput]]:
    """Track objects backwards over the frames of `span`, indices that ascend, frame by frame.

    features: of every frame of the span. Reads nothing that another pass has tracked, keeps
    nothing: equal inputs give equal outputs. batch=False tracks one object at a time. stop: ends
    the pass early for objects whose published masks it finds again. Do each part inside
    `Sam2Model.inference()`. (Det-SAM2 report, section 3; SAM2VideoPredictor.propagate_in_video
    with reverse=True, which starts at the newest frame and tracks the others of the span.)
    """
    newest = span.stop - 1
    time = clock or (lambda stage: nullcontext())
    outputs = [PassOutput() for _ in objects]
    neighbours = [dict(item.memory.non_conditioning) for item in objects]
    cache = KeyCache()
    streaks = [0] * len(objects)
    done: set[int] = set()
    for frame in reversed(span):
        if len(done) == len(objects):
            break
        contexts = {
            row: select_context(
                model, item.memory, neighbours[row], frame, frames_seen, reverse=True
            )
            for row, item in enumerate(objects)
            if frame not in item.prompted
            and row not in done
            and frame <= (newest if item.newest is None else item.newest)
        }
        with time('track'):
            tracked = track_objects(model, features[frame], contexts, cache, batch)
        with time('encode_memory'):
            memories = encode_memories(model, features[frame], tracked)
        for row in contexts:
            outputs[row].tracked[frame] = tracked[row]
            neighbours[row][frame] = memories[row]
        if stop is not None:
            known = {row: objects[row].published.get(frame) for row in contexts}
            for row, again in _found_again(tracked, known, stop.iou).items():
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
    tracked: Mapping[int, MaskPrediction],
    published: Mapping[int, torch.Tensor | None],
    min_iou: float,
) -> dict[int, bool]:
    """Tell for each object whether its mask is the published one."""
    known = {row: mask for row, mask in published.items() if mask is not None}
    answers = dict.fromkeys(published, False)
    if not known:
        return answers
    now = torch.stack([tracked[row].logits for row in known]).flatten(1) > 0
    then = torch.stack(list(known.values())).flatten(1)
    both, either = (now & then).sum(1), (now | then).sum(1)
    again = both >= min_iou * either  # two empty masks agree
    answers.update(zip(known, again.tolist(), strict=True))
    return answers


def _forget(neighbours: list[dict[int, Memory]], frame: int, model: Sam2Model) -> None:
    """Drop what no frame before `frame` can read any more; keeps a pass's memory constant."""
    horizon = frame + max(model.module.num_maskmem, model.module.max_obj_ptrs_in_encoder)
    for memories in neighbours:
        for at in [at for at in memories if at >= horizon]:
            del memories[at]
