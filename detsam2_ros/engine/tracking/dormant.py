# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that were unseen for long: who returns gets the old id.

A retired object keeps its conditioning memories. Where a detection would start a new object of
its class, it is looked for with these on that one frame; and again where that new one is detected
later, as long as every frame that shows it can change. A wrong id is worse than a new one: where
others of the class are away too, one look does not decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.sam2.attended_memories import select_context
from detsam2_ros.engine.sam2.steps import track_objects
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import BankView, TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.masks import box_iou

# Logits of presence by which one is found clearly better. With the shipped model things that look
# different lie 8 apart, and twins up to 4.
_CLEARLY = 6.0
# So often, where another one may be meant. Which of two twins is found better changes from one
# look to the next: on 4 of 10 clips one was clearly better twice, on none three times.
_LOOKS = 3


@dataclass(frozen=True)
class Look:
    """What was found where a thing is."""

    obj: TrackedObject | None  # the dormant object that is clearly there; None: in doubt
    contested: bool = True  # others of its class are away, and may be meant


def asleep(
    dormant: Sequence[TrackedObject], retired: Iterable[TrackedObject], config: EngineConfig
) -> tuple[TrackedObject, ...]:
    """Return the dormant objects and some that have just retired, at most max_dormant_objects.

    They keep the conditioned memories that they read. A retired object that was never confirmed is
    not among them; nor is one that a bank knows, which is looked for on every frame.
    """
    new = []
    for obj in retired:
        if obj.confirmed and obj.prompts and not obj.bank:
            obj = replace(obj.draft(), tracked_memories={}, matched=frozenset(), bank=BankView())
            attended = obj.attended(config.max_conditioned_memories)
            obj.prompts = {at: obj.prompts[at] for at in attended}
            new.append(obj)
    most = config.max_dormant_objects
    return (*dormant, *new)[-most:] if most else ()


def may_be_back(obj: TrackedObject, index: int, oldest: int) -> bool:
    """Tell whether an object may be a dormant one that a prompt on frame `index` shows.

    It is young, that is, no frame before `oldest` shows it, and nobody said who it is. On its
    first frame it was looked for.
    """
    young = obj.born is not None and oldest <= obj.born < index
    return young and index in obj.prompts and not obj.by_hand and not obj.bank


def recalled(
    tools: Toolbox,
    frame: Frame,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    dormant: Sequence[TrackedObject],
    living: Sequence[TrackedObject] = (),
    unseen: Sequence[TrackedObject] = (),
) -> dict[int, Look]:
    """Look for dormant objects where things are on a frame; returns what was found, by row.

    A dormant object is there when a thing of its class is, with a presence probability of at
    least recall_score, and clearly better than any other of the class that is away, which may
    look alike and be meant. One that is found at another detection is not better here, but leaves
    a doubt, unless the living object there has often looked like it. boxes: float32 [n, 4] xyxy
    pixels. class_ids: int [n]. unseen: living objects that the frame does not show.
    """
    asked = [obj for obj in dormant if obj.class_id in class_ids]
    if not asked:
        return {}
    config = tools.config
    away = [*asked, *(obj for obj in unseen if obj.class_id in class_ids)]
    places, logits = _searched(tools, frame, away)
    classes = np.array([obj.class_id for obj in away])
    here = (box_iou(boxes, places) >= config.match_iou) & (class_ids[:, None] == classes)
    elsewhere = np.zeros(len(away), bool)  # at some detection of the class
    if frame.detections:
        found = box_iou(frame.detections.boxes, places) >= config.match_iou
        elsewhere = (found & (frame.detections.class_ids[:, None] == classes)).any(axis=0)
    claimed = {serial for serial, looks in (obj.looks_like for obj in living) if looks > 1}
    known = elsewhere & np.array([obj.serial in claimed for obj in away])
    sure = 1 / (1 + np.exp(-logits)) >= config.recall_score
    looks = {}
    for row in range(len(boxes)):
        if (here[row] & (logits > 0)).any():
            looks[row] = Look(None)
        for one in np.flatnonzero(here[row, : len(asked)] & sure[: len(asked)]):
            others = (classes == class_ids[row]) & (np.arange(len(away)) != one)
            rival = logits[others & (here[row] | ~elsewhere)].max(initial=-np.inf)
            if here[:, one].sum() == 1 and logits[one] - rival >= _CLEARLY:
                looks[row] = Look(asked[one], bool((others & ~(known & ~here[row])).any()))
    return looks


def _searched(
    tools: Toolbox, frame: Frame, objects: Sequence[TrackedObject]
) -> tuple[np.ndarray, np.ndarray]:
    """Look for objects on a frame by their conditioned memories alone.

    Returns boxes, float32 [n, 4] xyxy, zeros unseen, and logits of presence, float [n].
    """
    with tools.stats.clock('associate'):
        contexts = {
            row: select_context(
                tools.model, obj.memory(tools.config), {}, frame.index, frame.index + 1,
                reverse=False,
            )
            for row, obj in enumerate(objects)
        }  # fmt: skip
        found = track_objects(tools.model, frame.encoded, contexts)
        boxes = tools.resizer.boxes_of_rows(found, len(objects))
    tools.stats.add(associated_frames=len(objects))
    return boxes, np.array([float(found[row].score) for row in range(len(objects))])


def is_back(thing: TrackedObject, look: Look | None) -> bool:
    """Note what a look at a young object found; returns whether it is that dormant object.

    Nothing found neither speaks for anybody nor against.
    """
    if look is None:
        return False
    if look.obj is None:
        thing.looks_like = (-1, 0)
        return False
    serial, looks = thing.looks_like
    looks = looks + 1 if serial == look.obj.serial else 1
    thing.looks_like = (look.obj.serial, looks)
    return not look.contested or looks >= _LOOKS
