# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that were unseen for long: who returns gets the old id.

A retired object keeps its conditioning memories. Where a detection would start a new object of
its class, it is looked for with these on that one frame. A wrong id is worse than a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from detsam2_ros.engine.sam2.attended_memories import select_context
from detsam2_ros.engine.sam2.steps import track_objects
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import BankView, TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.masks import box_iou


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
    detections: Detections,
    starts: Sequence[int],
    dormant: Sequence[TrackedObject],
) -> dict[int, TrackedObject]:
    """Return which of the detections that would start an object is which dormant one.

    A dormant object is a candidate where it is found at the detection, with a presence
    probability of at least recall_score. A detection with several candidates is none of them:
    they look alike. So is a candidate for several detections. starts: rows of the detections.
    """
    wanted = {int(detections.class_ids[i]) for i in starts}
    asked = [obj for obj in dormant if obj.class_id in wanted]
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
        boxes = tools.resizer.boxes_of_rows(found, len(asked))
    tools.stats.add(associated_frames=len(asked))
    sure = [row for row, own in found.items() if own.score.sigmoid() >= config.recall_score]
    overlap = box_iou(detections.boxes, boxes)
    candidates = {
        (i, row)
        for i in starts
        for row in sure
        if asked[row].class_id == detections.class_ids[i] and overlap[i, row] >= config.match_iou
    }
    times_i, times_row = (Counter(pair[side] for pair in candidates) for side in (0, 1))
    return {i: asked[row] for i, row in candidates if times_i[i] == times_row[row] == 1}
