# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which memories an object attends to on a frame, and at what distance in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import Sam2Model


@dataclass(frozen=True)
class Context:
    """The memories that one object attends to on one frame, with their place in time.

    spatial: memories with the row of `Sam2Model.temporal_code` that marks their distance.
    pointers: memories whose pointer is read, with the distance in time scaled to about 0..1.
    Objects with equal `layout` can be tracked as one batch.
    """

    spatial: tuple[tuple[Memory, int], ...]
    pointers: tuple[tuple[Memory, float], ...]

    @property
    def layout(self) -> tuple[int, int]:
        """How many spatial memories and how many pointers there are."""
        return len(self.spatial), len(self.pointers)


@dataclass(frozen=True)
class Recall:
    """What one object remembers, by frame index.

    conditioned: memories of frames with a prompt, all attended to. bank: memories from another
    recording, attended to like conditioned ones, but without pointers: they lie in no time of
    this stream. passing: memories of frames that count by their nearness only - prompted ones
    beyond the cap; a pass adds those that it tracks.
    """

    conditioned: Mapping[int, Memory]
    bank: Sequence[Memory] = ()
    passing: Mapping[int, Memory] | None = None

    def __bool__(self) -> bool:
        return bool(self.conditioned) or bool(self.bank)


def select_context(
    model: Sam2Model,
    recall: Recall,
    tracked: Mapping[int, Memory],
    frame: int,
    frames_seen: int,
    reverse: bool,
) -> Context:
    """Choose what an object attends to on a frame, as SAM 2 does.

    tracked: memories of neighbouring frames, written on the way to this frame: later ones in
    a reverse pass, earlier ones going forward. frames_seen: frames of the stream up to its
    newest. (SAM2Base._prepare_memory_conditioned_features, whose comments call the rows t_pos)
    """
    module = model.module
    step = 1 if reverse else -1
    conditioned_row = module.num_maskmem - 1
    spatial = [(memory, conditioned_row) for memory in recall.bank]
    spatial += [(memory, conditioned_row) for memory in recall.conditioned.values()]
    for distance in range(module.num_maskmem - 1, 0, -1):
        memory = tracked.get(frame + step * distance)
        if memory is not None:
            spatial.append((memory, distance - 1))

    reach = min(frames_seen, module.max_obj_ptrs_in_encoder)
    scale = max(reach - 1, 1)
    pointers = []
    for at, memory in recall.conditioned.items():
        ahead = (at - frame) * step  # how far it lies on the side the pass comes from
        if ahead < 0 and module.only_obj_ptrs_in_the_past_for_eval:
            continue
        signed = module.use_signed_tpos_enc_to_obj_ptrs
        pointers.append((memory, (ahead if signed else abs(ahead)) / scale))
    for distance in range(1, reach):
        memory = tracked.get(frame + step * distance)
        if memory is not None:
            pointers.append((memory, distance / scale))
    return Context(tuple(spatial), tuple(pointers))
