# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which memories an object keeps and attends to on a frame, and at what distance in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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
class ObjectMemory:
    """What one object remembers, by frame index."""

    conditioning: Mapping[int, Memory]  # of frames with a prompt, all attended to
    # From another recording: attended to like conditioning ones, but without pointers, since
    # these memories lie in no time of this stream.
    bank: Sequence[Memory] = ()
    # Of frames that count by their nearness only: prompted ones beyond the cap. A pass adds those
    # that it tracks.
    non_conditioning: Mapping[int, Memory] = field(default_factory=dict)


def select_context(
    model: Sam2Model,
    memory: ObjectMemory,
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
    conditioning_row = module.num_maskmem - 1
    spatial = [(own, conditioning_row) for own in memory.bank]
    spatial += [(own, conditioning_row) for own in memory.conditioning.values()]
    for distance in range(module.num_maskmem - 1, 0, -1):
        near = tracked.get(frame + step * distance)
        if near is not None:
            spatial.append((near, distance - 1))

    reach = min(frames_seen, module.max_obj_ptrs_in_encoder)
    scale = max(reach - 1, 1)
    pointers = []
    for at, own in memory.conditioning.items():
        ahead = (at - frame) * step  # how far it lies on the side the pass comes from
        if ahead < 0 and module.only_obj_ptrs_in_the_past_for_eval:
            continue
        signed = module.use_signed_tpos_enc_to_obj_ptrs
        pointers.append((own, (ahead if signed else abs(ahead)) / scale))
    for distance in range(1, reach):
        near = tracked.get(frame + step * distance)
        if near is not None:
            pointers.append((near, distance / scale))
    return Context(tuple(spatial), tuple(pointers))


def choose(memories: Mapping[int, Memory], cap: int) -> list[int]:
    """Choose at most `cap` of an object's conditioned frames: the newest, then the most different.

    Greedy farthest-point choice on `Memory.summary`; ties go to the newer frame, so the choice is
    deterministic. memories: by frame index. Returns frame indices in ascending order.
    """
    if len(memories) <= cap:
        return sorted(memories)
    summaries = {frame: memory.summary for frame, memory in memories.items()}
    rest = sorted(memories, reverse=True)
    chosen = [rest.pop(0)]
    nearest = {f: float(summaries[f] @ summaries[chosen[0]]) for f in rest}
    while len(chosen) < cap:
        farthest = min(rest, key=lambda f: nearest[f])
        chosen.append(farthest)
        rest.remove(farthest)
        for f in rest:
            nearest[f] = max(nearest[f], float(summaries[f] @ summaries[farthest]))
    return sorted(chosen)
