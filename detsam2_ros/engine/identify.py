# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who is who, told from masks: lost objects found again, two objects that are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from detsam2_ros.engine.association import TrackView, merged_pairs
from detsam2_ros.engine.frames import Published
from detsam2_ros.engine.masks import PackedMasks
from detsam2_ros.engine.objects import TrackedObject


@dataclass
class FrameMasks:
    """The masks that a window found for one frame; row i of each belongs to objects[i].

    logits: float32 [n, S/4, S/4]. scores: presence probabilities, 0..1.
    """

    objects: list[TrackedObject]
    logits: torch.Tensor
    scores: list[float]
    packed: PackedMasks

    def view(self, entry: TrackedObject) -> tuple[PackedMasks, int] | None:
        """Return the frame's masks and the object's row in them, or None without one."""
        for row, other in enumerate(self.objects):
            if other is entry:
                return self.packed, row
        return None

    def settled(self) -> dict[int, torch.Tensor]:
        """Return the masks by object id, bool [S/4, S/4], copied."""
        return {
            entry.id: self.logits[row] > 0
            for row, entry in enumerate(self.objects)
            if entry.id is not None
        }

    def visible(self, entry: TrackedObject) -> bool:
        """Tell whether the object has a mask with pixels here."""
        view = self.view(entry)
        return view is not None and bool(view[0].bits[view[1]])


def same_before_birth(
    masks: Mapping[int, FrameMasks],
    published: Mapping[int, Published | None],
    least_iou: float,
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find new objects that are older ones, by where a reverse pass followed them back to.

    On frames before its first detection, a new object's masks are compared with those of each
    older object of its class: on frames where that one has a prompt, else as published. Mean
    IoUs of at least least_iou are assigned one to one. Two objects with prompts on one frame
    are never the same. Returns (older, younger) pairs.
    """
    objects = masks[max(masks)].objects if masks else []
    younger = [entry for entry in objects if entry.id is None and entry.conditioned]
    agreement = np.zeros((len(objects), len(younger)))
    for i, old in enumerate(objects):
        for j, new in enumerate(younger):
            if (
                old is not new
                and old.class_id == new.class_id
                and 0 <= old.born < new.born
                and not old.conditioned.keys() & new.conditioned.keys()
            ):
                agreement[i, j] = _agreement_before(old, new, masks, published)
    agreement[agreement < least_iou] = 0.0
    pairs = zip(*linear_sum_assignment(agreement, maximize=True), strict=True)
    found = [(objects[i], younger[j]) for i, j in pairs if agreement[i, j] > 0]
    # A chain (a third detection of the same object in one window) is resolved a window later.
    ends = {id(new) for _, new in found}
    return [(old, new) for old, new in found if id(old) not in ends]


def _agreement_before(
    old: TrackedObject,
    new: TrackedObject,
    masks: Mapping[int, FrameMasks],
    published: Mapping[int, Published | None],
) -> float:
    """Return the mean IoU of two objects on frames before the newer was first detected."""
    evidence: list[tuple[PackedMasks, int, int]] = []
    for index, found in masks.items():
        if index < new.born and index in old.conditioned:
            view = found.view(old)
            assert view is not None
            evidence.append((*view, index))
    if not evidence:
        for index, known in published.items():
            if known is None or index not in masks:
                continue
            for row, entry in enumerate(known.objects):
                if entry.id == old.id and entry.visible:
                    evidence.append((known.packed, row, index))
    if not evidence:
        return 0.0
    total = 0.0
    for packed, row, index in evidence:
        view = masks[index].view(new)
        assert view is not None
        total += packed.iou(row, *view) if packed.bits[row] else 0.0
    return total / len(evidence)


def shared_masks(
    window: Sequence[FrameMasks], merge_iou: float
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find (older, younger) objects that came to share one mask over a window's frames."""
    named = {e.id: e for e in (window[-1].objects if window else []) if e.id is not None}
    views = [
        TrackView(id_, entry.class_id, entry.born, [found.view(entry) for found in window])
        for id_, entry in named.items()
    ]
    return [(named[old], named[young]) for old, young in merged_pairs(views, merge_iou)]


def shared_frames(
    masks: Mapping[int, FrameMasks], a: TrackedObject, b: TrackedObject, merge_iou: float
) -> set[int]:
    """Return the frames on which two objects have one mask."""
    shared = set()
    for index, found in masks.items():
        one, other = found.view(a), found.view(b)
        if one is None or other is None or not found.visible(a):
            continue
        if one[0].iou(one[1], *other) >= merge_iou:
            shared.add(index)
    return shared
