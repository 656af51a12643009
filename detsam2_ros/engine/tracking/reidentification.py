# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""New objects that are older ones, lost since the detection frame before."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.identity import FrameMasks, same_before_birth
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.reverse import PassInput, reverse_pass
from detsam2_ros.engine.tracking.toolbox import Toolbox


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
            found = {
                obj: output.tracked.get(at) for obj, output in zip(new, outputs, strict=True)
            }
            masks[at] = FrameMasks.gather(at, {**dict.fromkeys(lost), **found}, resizer)
    tools.stats.add(associated_frames=sum(len(output.tracked) for output in outputs))
    published = {at: other.published for at, other in past.items()}
    for older, younger in same_before_birth(masks, published, config.match_iou, index):
        older.absorb(younger, {index})
        objects.remove(younger)
