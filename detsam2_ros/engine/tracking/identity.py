# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who is who: ids for what is new; from masks, lost objects found again and two that are one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.tracking.association import IdAllocator, MaskTrack, merged_pairs
from detsam2_ros.engine.tracking.frames import Frame, Published
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.reverse import PassInput, reverse_pass
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.masks import Mask

# An object's mask on a frame; None where it was not looked for.
MaskLookup = Callable[[int, TrackedObject], Mask | None]


@dataclass
class IdAssigner:
    """Gives ids, on a draft of a stream's allocator."""

    ids: IdAllocator
    in_use: set[int]  # ids that may not be given
    given: int = 0  # how many were given

    def note(self, tracked: TrackedObject, seen: Sequence[int], sure: bool = True) -> None:
        """Note on which frames an object was seen; it gets its id with the first or a prompt.

        sure: whether it was seen well enough for one without a prompt to get an id.
        """
        if tracked.waits and not sure:
            return
        if tracked.id is None and (seen or tracked.prompts):
            if tracked.born is None:
                tracked.born = min([*seen, *tracked.prompts])
            tracked.id = self.ids.take(self.in_use)
            self.in_use.add(tracked.id)
            self.given += 1
        tracked.last_seen = max([tracked.last_seen, *seen])


@dataclass(frozen=True)
class FoundMask:
    """An object's mask on a frame, as a pass or forward tracking found it."""

    logits: torch.Tensor  # float32 [S/4, S/4]
    score: float  # presence probability, 0..1
    mask: Mask


@dataclass(frozen=True)
class FrameMasks:
    """The masks that were found for one frame, by object."""

    found: Mapping[TrackedObject, FoundMask] = field(default_factory=dict)

    @classmethod
    def gather(
        cls,
        index: int,
        tracked: Mapping[TrackedObject, MaskPrediction | None],
        resizer: MaskResizer,
    ) -> FrameMasks:
        """Gather a frame's masks: prompted ones where there are prompts, else tracked ones.

        Objects that were neither prompted nor tracked there are left out.
        """
        logits, scores = {}, []
        for obj, own in tracked.items():
            prompt = obj.prompts.get(index)
            if prompt is not None:
                logits[obj] = prompt.logits
                scores.append(prompt.memory.score)
            elif own is not None:
                logits[obj] = own.logits
                scores.append(own.score)
        if not logits:
            return cls()
        masks = resizer.masks(torch.stack(list(logits.values())))
        probabilities = torch.stack(scores).sigmoid().tolist()
        parts = zip(logits.values(), probabilities, masks, strict=True)
        return cls({obj: FoundMask(*part) for obj, part in zip(logits, parts, strict=True)})

    def mask(self, obj: TrackedObject) -> Mask | None:
        """Return an object's mask, None where it was not looked for."""
        found = self.found.get(obj)
        return None if found is None else found.mask

    def published_masks(self) -> dict[int, torch.Tensor]:
        """Return the masks by object id, bool [S/4, S/4], copied."""
        return {
            obj.id: found.logits > 0 for obj, found in self.found.items() if obj.id is not None
        }

    def surely_visible(self, obj: TrackedObject, min_score: float) -> bool:
        """Tell whether the object is visible here with at least this presence probability."""
        return self.visible(obj) and self.found[obj].score >= min_score

    def visible(self, obj: TrackedObject) -> bool:
        """Tell whether the object has a mask with pixels here."""
        return bool(self.mask(obj))


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
    if not evidence:
        return 0.0
    found_again = [
        masks[index].found[new].mask.iou(mask) if mask else 0.0
        for index, mask in evidence.items()
    ]
    return sum(found_again) / len(evidence)


def shared_masks(
    objects: Sequence[TrackedObject],
    window: Sequence[int],
    lookup: MaskLookup,
    merge_iou: float,
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find (older, younger) objects that came to share one mask over a window's frames."""
    named = {obj.id: obj for obj in objects if obj.id is not None and obj.born is not None}
    tracks = [
        MaskTrack(id_, obj.class_id, obj.born or 0, [lookup(index, obj) for index in window])
        for id_, obj in named.items()
    ]
    return [(named[old], named[young]) for old, young in merged_pairs(tracks, merge_iou)]


def shared_frames(
    frames: Iterable[int],
    lookup: MaskLookup,
    pair: tuple[TrackedObject, TrackedObject],
    merge_iou: float,
) -> set[int]:
    """Return the frames on which two objects have one mask."""
    shared = set()
    for index in frames:
        one, other = lookup(index, pair[0]), lookup(index, pair[1])
        if one and other is not None and one.iou(other) >= merge_iou:
            shared.add(index)
    return shared


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
