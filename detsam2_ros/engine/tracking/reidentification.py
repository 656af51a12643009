# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""New objects that are lost ones found again, recognised by their masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.tracking.frame_masks import FrameMasks
from detsam2_ros.engine.tracking.frames import Frame, Published
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.reverse_pass import PassInput, reverse_pass
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.masks import Mask


def same_before_birth(
    masks: Mapping[int, FrameMasks],
    published: Mapping[int, Published | None],
    min_iou: float,
    start: int,
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find new objects that are older ones, by where a reverse pass followed them back to.

    start: the window's first frame; an object is new that was first detected since, or that has
    no id yet, but not one that somebody pointed out. On frames before its first detection, a new
    object's masks are compared with those of each older object of its class: on frames where the
    older one has a prompt, else as published. Mean IoUs of at least min_iou are assigned one to
    one. Two objects with prompts on one frame are never the same. Returns (older, younger) pairs.
    """
    objects = list(dict.fromkeys(obj for found in masks.values() for obj in found.found))
    younger = [
        obj
        for obj in objects
        if obj.born is not None
        and obj.born in obj.prompts
        and (start <= obj.born or obj.id is None)
        and not obj.by_hand
    ]
    agreement = np.zeros((len(objects), len(younger)))
    for i, old in enumerate(objects):
        for j, new in enumerate(younger):
            if _may_be_older(old, new):
                agreement[i, j] = _agreement_before(old, new, masks, published)
    agreement[agreement < min_iou] = 0.0
    pairs = zip(*linear_sum_assignment(agreement, maximize=True), strict=True)
    found = [(objects[i], younger[j]) for i, j in pairs if agreement[i, j] > 0]
    # A chain (a third detection of the same object in one window) is resolved a window later.
    ends = {id(new) for _, new in found}
    return [(old, new) for old, new in found if id(old) not in ends]


def _may_be_older(old: TrackedObject, new: TrackedObject) -> bool:
    """Tell whether a new object could be an older one by all but its masks."""
    return (
        old is not new
        and old.class_id == new.class_id
        and old.born is not None
        and new.born is not None
        and old.born < new.born
        and not old.prompts.keys() & new.prompts.keys()
    )


def _agreement_before(
    old: TrackedObject,
    new: TrackedObject,
    masks: Mapping[int, FrameMasks],
    published: Mapping[int, Published | None],
) -> float:
    """Return the mean IoU of two objects on frames before the newer was first detected."""
    assert new.born is not None
    evidence: dict[int, Mask] = {}
    for index, found in masks.items():
        if index < new.born and index in old.prompts:
            evidence[index] = found.found[old].mask
    if not evidence and old.id is not None:
        for index, known in published.items():
            shown = known.objects.get(old.id) if known is not None else None
            if shown is not None and shown.visible and index in masks:
                evidence[index] = shown.mask
    # A pass that stopped early did not come to all of them.
    again = {index: masks[index].mask(new) for index in evidence}
    found_again = [
        own.iou(evidence[index]) if evidence[index] else 0.0
        for index, own in again.items()
        if own is not None
    ]
    return sum(found_again) / len(found_again) if found_again else 0.0


def reidentify(
    tools: Toolbox,
    frame: Frame,
    frames: Mapping[int, Frame],
    objects: list[TrackedObject],
    new: Collection[TrackedObject],
    tracked: Mapping[TrackedObject, MaskPrediction | None],
) -> None:
    """Recognise new objects as older ones before they get an id and are shown.

    As in a window's pass: a new object is followed back to where an older one of its class, not
    detected now, has prompts or published masks. frames: those in reach. new: of the objects,
    those first detected on the frame; what is recognised is taken out of the objects, in place.
    tracked: what else is known of the frame.
    """
    index, config = frame.index, tools.config
    lost = [
        obj
        for obj in objects
        if obj.born is not None and obj.born < index and index not in obj.prompts
    ]
    new = [obj for obj in new if any(obj.class_id == other.class_id for other in lost)]
    oldest = index - (config.detect_interval or config.window_size)
    past = {at: other for at, other in frames.items() if oldest <= at < index}
    if not new or not past:
        return
    with tools.stats.clock('associate'):
        outputs = reverse_pass(
            tools.model,
            {at: other.encoded for at, other in (past | {index: frame}).items()},
            [PassInput(obj.memory(config, 1), frozenset(obj.prompts)) for obj in new],
            span=range(min(past), index + 1),
            frames_seen=index + 1,
        )
        resizer = tools.resizer
        masks = {index: FrameMasks.gather(index, {**tracked, **dict.fromkeys(new)}, resizer)}
        for at in past:
            found = {obj: output.tracked.get(at) for obj, output in zip(new, outputs, strict=True)}
            masks[at] = FrameMasks.gather(at, {**dict.fromkeys(lost), **found}, resizer)
    tools.stats.add(associated_frames=sum(len(output.tracked) for output in outputs))
    published = {at: other.published for at, other in past.items()}
    for older, younger in same_before_birth(masks, published, config.match_iou, index):
        older.absorb(younger, {index})
        objects.remove(younger)
