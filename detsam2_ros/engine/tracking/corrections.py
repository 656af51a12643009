# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From a window's masks to results: revisions 0, corrections, and what stays as published."""

from __future__ import annotations

from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.tracking.frames import Frame, Published
from detsam2_ros.engine.tracking.identity import FrameMasks
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.frames import FrameResult, Object
from detsam2_ros.results.masks import PackedMasks


def publish_frame(
    stream: str,
    frame: Frame,
    found: FrameMasks,
    gone: set[int],
    composer: Composer,
    correction_iou: float,
    final: bool,
) -> FrameResult | None:
    """Return the frame's next revision, or None when its masks are as published.

    gone: ids that went into others; their masks vanish. Objects that are not in `found`, retired
    ones say, keep what was published of them; where masks overlap they yield.
    """
    rows = [
        row
        for row, entry in enumerate(found.objects)
        if entry.id is not None and entry.id not in gone
    ]
    objects = [_describe(found.objects[row], found, row, frame.index) for row in rows]
    packed = found.packed.rows(rows)
    before = frame.published
    kept: list[int] = []
    if before is not None:
        current = {entry.id for entry in objects} | gone
        kept = [i for i, entry in enumerate(before.objects) if entry.id not in current]
        objects += [before.objects[i] for i in kept]
        packed = packed.joined(before.packed.rows(kept))
    changed, agreement = _compare(objects, packed, before)
    if before is not None and (not changed or agreement >= correction_iou < 1.0):
        return None
    tracked = [found.objects[row].id or 0 for row in rows]
    labels = composer.labels(found.logits[rows], tracked)
    for row in range(len(rows), len(objects)):  # of what was published no logits are left
        if packed.bits[row]:
            x0, y0, x1, y1 = (int(v) for v in packed.boxes[row])
            free = (labels[y0:y1, x0:x1] == 0) & packed.crop(row)
            labels[y0:y1, x0:x1][free] = objects[row].id
    if kept:
        order = sorted(range(len(objects)), key=lambda row: objects[row].id)
        objects, packed = [objects[row] for row in order], packed.rows(order)
    revision = 0 if before is None else before.revision + 1
    return FrameResult(
        stream=stream,
        index=frame.index,
        stamp=frame.stamp,
        revision=revision,
        final=final,
        objects=tuple(objects),
        packed=packed,
        labels=labels,
        changed_ids=tuple(sorted(changed)),
    )


def _describe(entry: TrackedObject, found: FrameMasks, row: int, index: int) -> Object:
    assert entry.id is not None
    visible = bool(found.packed.bits[row])
    x0, y0, x1, y1 = (float(v) for v in found.packed.boxes[row])
    return Object(
        id=entry.id,
        class_id=entry.class_id,
        class_name=entry.class_name,
        score=found.scores[row],
        box=(x0, y0, x1, y1) if visible else None,
        visible=visible,
        conditioned=index in entry.conditioned,
    )


def _compare(
    objects: list[Object], packed: PackedMasks, before: Published | None
) -> tuple[set[int], float]:
    """Return the ids whose mask differs from the published one, and the least IoU with it."""
    if before is None:
        return {entry.id for entry in objects if entry.visible}, 0.0
    old = {entry.id: row for row, entry in enumerate(before.objects)}
    changed, least = set(), 1.0
    for row, entry in enumerate(objects):
        before_row = old.pop(entry.id, None)
        if before_row is None:
            iou = 0.0 if entry.visible else 1.0
        else:
            iou = packed.iou(row, before.packed, before_row)
        if iou < 1.0:
            changed.add(entry.id)
            least = min(least, iou)
    for id_, row in old.items():
        if before.packed.bits[row]:
            changed.add(id_)
            least = 0.0
    return changed, least
