# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that were unseen for long: who returns gets the old id.

A retired object keeps its conditioning memories. Where a detection would start a new object of
its class, it is looked for with these on that one frame; and again where that new one is detected
later, as long as every frame that shows it can change. A wrong id is worse than a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from detsam2_ros.engine.sam2.attended_memories import select_context
from detsam2_ros.engine.sam2.steps import track_objects
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import BankView, TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.masks import box_iou

# Logits of presence by which one is found clearly better. With the shipped model things that look
# different lie 8 apart, and twins up to 4.
_CLEARLY = 6.0


def asleep(
    dormant: Sequence[TrackedObject], retired: Iterable[TrackedObject], most: int
) -> tuple[TrackedObject, ...]:
    """Return the dormant objects and some that have just retired, at most so many.

    A retired object that was never confirmed is not among them; nor is one that a bank knows,
    which is looked for on every frame.
    """
    new = []
    for obj in retired:
        if obj.confirmed and obj.prompts and not obj.bank:
            obj = replace(obj.draft(), tracked_memories={}, matched=frozenset(), bank=BankView())
            new.append(obj)
    return (*dormant, *new)[-most:] if most else ()


def recalled(
    tools: Toolbox,
    frame: Frame,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    dormant: Sequence[TrackedObject],
) -> dict[int, TrackedObject]:
    """Return which things on a frame are which dormant objects, by row.

    A dormant object is found where a thing of its class is, with a presence probability of at
    least recall_score, and clearly better than any other dormant one of the class, which may look
    alike and be meant. boxes: float32 [n, 4] xyxy pixels. class_ids: int [n].
    """
    asked = [obj for obj in dormant if obj.class_id in class_ids]
    if not asked:
        return {}
    config = tools.config
    with tools.stats.clock('associate'):
        contexts = {
            row: select_context(
                tools.model, obj.memory(config), {}, frame.index, frame.index + 1, reverse=False
            )
            for row, obj in enumerate(asked)
        }
        found = track_objects(tools.model, frame.encoded, contexts)
        overlap = box_iou(boxes, tools.resizer.boxes_of_rows(found, len(asked)))
    tools.stats.add(associated_frames=len(asked))
    logits = np.array([float(found[row].score) for row in range(len(asked))])
    presence = 1 / (1 + np.exp(-logits))
    answer = {}
    for row, obj in enumerate(asked):
        rivals = [
            logits[other]
            for other, own in enumerate(asked)
            if own is not obj and own.class_id == obj.class_id
        ]
        there = [
            i
            for i in range(len(boxes))
            if class_ids[i] == obj.class_id and overlap[i, row] >= config.match_iou
        ]
        sure = presence[row] >= config.recall_score
        if sure and len(there) == 1 and logits[row] - max(rivals, default=-np.inf) >= _CLEARLY:
            answer[there[0]] = obj
    return answer
