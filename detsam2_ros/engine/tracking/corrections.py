# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From a frame's masks to its next revision: revision 0, a correction, or nothing new."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from detsam2_ros.engine.tracking.frame_masks import FoundMask, FrameMasks
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.frames import FrameResult, Object, ObjectState


@dataclass(frozen=True)
class Vanished:
    """Ids whose masks vanish from a frame."""

    withdrawn: Collection[int] = ()  # they stood for nothing
    other: Collection[int] = ()  # that went into others, were removed, or must not become final

    def __contains__(self, id_: object) -> bool:
        return id_ in self.withdrawn or id_ in self.other


def revise(
    tools: Toolbox,
    frame: Frame,
    masks: FrameMasks,
    gone: Vanished,
    final: bool,
    sure: Collection[int | None] = (),
) -> FrameResult | None:
    """Return the frame's next revision, or None when its masks are as published.

    Objects that are not in `masks`, retired ones say, keep what was published of them; where masks
    overlap they yield. sure: ids that are confirmed by now.
    """
    found = {
        obj.id: (_describe(obj, own, frame.index), own)
        for obj, own in masks.found.items()
        if obj.id is not None and obj.id not in gone
    }
    before = frame.published
    now = {id_: thing for id_, (thing, _) in found.items()}
    kept = [
        replace(thing, state=ObjectState.CONFIRMED) if id_ in sure else thing
        for id_, thing in (before.objects if before is not None else {}).items()
        if id_ not in now and id_ not in gone
    ]
    objects = [*now.values(), *kept]
    changed, agreement = _compare(objects, None if before is None else before.objects)
    if before is not None and (not changed or agreement >= tools.config.correction_iou < 1.0):
        return None
    labels = _labels(tools, [own for _, own in found.values()], list(now), kept)
    if kept:
        objects.sort(key=lambda thing: thing.id)
    return FrameResult(
        stream=tools.stream,
        index=frame.index,
        stamp=frame.stamp,
        revision=0 if before is None else before.revision + 1,
        final=final,
        objects=tuple(objects),
        labels=labels,
        changed_ids=tuple(sorted(changed)),
        withdrawn_ids=tuple(sorted(changed.intersection(gone.withdrawn))),
        tag=frame.tag,
    )


def _labels(
    tools: Toolbox, found: Sequence[FoundMask], ids: Sequence[int], kept: Sequence[Object]
) -> np.ndarray:
    """Return the label image, uint16 [H, W], of what was found and what stays as published."""
    size = tools.resizer.mask_size
    logits = torch.stack([own.logits for own in found]) if found else torch.zeros(0, size, size)
    labels = tools.resizer.labels(logits, ids)
    for thing in kept:  # of what was published no logits are left
        if thing.mask.box is not None:
            x0, y0, x1, y1 = thing.mask.box
            free = (labels[y0:y1, x0:x1] == 0) & thing.mask.crop()
            labels[y0:y1, x0:x1][free] = thing.id
    return labels


def _describe(obj: TrackedObject, found: FoundMask, index: int) -> Object:
    assert obj.id is not None
    return Object(
        id=obj.id,
        class_id=obj.class_id,
        class_name=obj.class_name,
        score=found.score,
        conditioned=index in obj.prompts,
        mask=found.mask,
        state=obj.state,
    )


def _compare(
    objects: Sequence[Object], before: Mapping[int, Object] | None
) -> tuple[set[int], float]:
    """Return the ids whose mask differs from the published one, and the least IoU with it.

    The least IoU is -1 where an id is gone.
    """
    if before is None:
        return {thing.id for thing in objects if thing.visible}, 0.0
    changed, least = set(), 1.0
    for thing in objects:
        known = before.get(thing.id)
        if known is None:
            iou = 0.0 if thing.visible else 1.0
        else:
            iou = thing.mask.iou(known.mask)
        if iou < 1.0:
            changed.add(thing.id)
            least = min(least, iou)
    vanished = before.keys() - {thing.id for thing in objects}
    for id_ in vanished:
        if before[id_].visible:
            changed.add(id_)
            least = -1.0  # below any correction_iou: what was removed must not stay
    return changed, least
