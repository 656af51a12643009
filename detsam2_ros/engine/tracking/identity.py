# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who is who: ids for what is new, and from masks lost objects and two that are one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.association import IdAllocator, TrackView, merged_pairs
from detsam2_ros.engine.tracking.frames import Frame, Published
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.reverse import PassInput, Tracked, reverse_pass
from detsam2_ros.results.masks import PackedMasks

# The masks of a frame and an object's row in them; None where it has none.
View = Callable[[int, TrackedObject], tuple[PackedMasks, int] | None]


@dataclass
class Names:
    """Gives ids, on a draft of a stream's allocator; given counts them.

    in_use: ids that may not be given.
    """

    ids: IdAllocator
    in_use: set[int]
    given: int = 0

    def note(self, entry: TrackedObject, seen: Sequence[int], sure: bool = True) -> None:
        """Note on which frames an object was seen; it gets its id with the first or a prompt.

        sure: whether it was seen well enough for one without a prompt to get an id.
        """
        if entry.id is None and not entry.conditioned and not sure:
            return
        if entry.id is None and (seen or entry.conditioned):
            entry.born = min([*seen, *entry.conditioned]) if entry.born < 0 else entry.born
            entry.id = self.ids.take(self.in_use)
            self.in_use.add(entry.id)
            self.given += 1
        entry.last_seen = max([entry.last_seen, *seen])


@dataclass
class FrameMasks:
    """The masks that a window found for one frame; row i of each belongs to objects[i].

    logits: float32 [n, S/4, S/4]. scores: presence probabilities, 0..1.
    """

    objects: list[TrackedObject]
    logits: torch.Tensor
    scores: list[float]
    packed: PackedMasks

    @classmethod
    def gather(
        cls, index: int, tracked: Mapping[TrackedObject, Tracked | None], composer: Composer
    ) -> FrameMasks:
        """Gather a frame's masks: prompted ones where there are prompts, else tracked ones.

        Objects that were neither prompted nor tracked there are left out.
        """
        objects, logits, scores = [], [], []
        for entry, own in tracked.items():
            prompt = entry.conditioned.get(index)
            if prompt is not None:
                own = Tracked(prompt.logits, prompt.memory.score)
            if own is None:
                continue
            objects.append(entry)
            logits.append(own.logits)
            scores.append(own.score)
        size = composer.mask_size
        stacked = torch.stack(logits) if logits else torch.zeros(0, size, size)
        return cls(
            objects=objects,
            logits=stacked,
            scores=torch.stack(scores).sigmoid().tolist() if scores else [],
            packed=composer.pack(stacked),
        )

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

    def sure(self, entry: TrackedObject, least: float) -> bool:
        """Tell whether the object is visible here with at least this presence probability."""
        return self.visible(entry) and self.scores[self.objects.index(entry)] >= least

    def visible(self, entry: TrackedObject) -> bool:
        """Tell whether the object has a mask with pixels here."""
        view = self.view(entry)
        return view is not None and bool(view[0].bits[view[1]])


def same_before_birth(
    masks: Mapping[int, FrameMasks],
    published: Mapping[int, Published | None],
    least_iou: float,
    start: int,
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find new objects that are older ones, by where a reverse pass followed them back to.

    start: the window's first frame; an object is new that was first detected since, or that has
    no id yet, but not one that somebody pointed out. On frames
    before its first detection, a new object's masks are compared with those of each older
    object of its class: on frames where that one has a prompt, else as published. Mean IoUs of
    at least least_iou are assigned one to one. Two objects with prompts on one frame are never
    the same. Returns (older, younger) pairs.
    """
    objects = list(dict.fromkeys(entry for found in masks.values() for entry in found.objects))
    younger = [
        entry
        for entry in objects
        if entry.born in entry.conditioned
        and (start <= entry.born or entry.id is None)
        and not entry.by_hand
    ]
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
    objects: Sequence[TrackedObject], window: Sequence[int], view: View, merge_iou: float
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find (older, younger) objects that came to share one mask over a window's frames."""
    named = {entry.id: entry for entry in objects if entry.id is not None}
    tracks = [
        TrackView(id_, entry.class_id, entry.born, [view(index, entry) for index in window])
        for id_, entry in named.items()
    ]
    return [(named[old], named[young]) for old, young in merged_pairs(tracks, merge_iou)]


def shared_frames(
    frames: Iterable[int], view: View, a: TrackedObject, b: TrackedObject, merge_iou: float
) -> set[int]:
    """Return the frames on which two objects have one mask."""
    shared = set()
    for index in frames:
        one, other = view(index, a), view(index, b)
        if one is None or other is None or not one[0].bits[one[1]]:
            continue
        if one[0].iou(one[1], *other) >= merge_iou:
            shared.add(index)
    return shared


def recognise(
    model: Sam2Model,
    config: EngineConfig,
    composer: Composer,
    stats: StatsRecorder,
    frame: Frame,
    frames: Mapping[int, Frame],
    objects: list[TrackedObject],
    new: Collection[TrackedObject],
    tracked: Mapping[TrackedObject, Tracked | None],
) -> None:
    """Recognise new objects that are older ones, lost since the detection frame before.

    As in a window's pass, but before an id is given and shown: a new object is followed back to
    where an older one of its class, not detected now, has prompts or published masks. new: of
    the objects, those first detected on the frame; what is recognised is taken out of them.
    tracked: what else is known of the frame.
    """
    index = frame.index
    lost = [e for e in objects if 0 <= e.born < index not in e.conditioned]
    new = [e for e in new if any(e.class_id == other.class_id for other in lost)]
    oldest = index - (config.detect_interval or config.window_size)
    past = {at: other for at, other in frames.items() if oldest <= at < index}
    if not new or not past:
        return
    features = {at: other.features for at, other in (past | {index: frame}).items()}
    with stats.clock('associate'):
        outputs = reverse_pass(
            model,
            features,
            [PassInput(e.recall(config, 1), frozenset(e.conditioned)) for e in new],
            newest=index,
            oldest=min(past),
            frames_seen=index + 1,
        )
        masks = {index: FrameMasks.gather(index, {**tracked, **dict.fromkeys(new)}, composer)}
        for at in past:
            found = {e: o.tracked.get(at) for e, o in zip(new, outputs, strict=True)}
            masks[at] = FrameMasks.gather(at, {**dict.fromkeys(lost), **found}, composer)
    stats.add(associated_frames=sum(len(output.tracked) for output in outputs))
    published = {at: other.published for at, other in past.items()}
    for older, younger in same_before_birth(masks, published, config.match_iou, index):
        older.absorb(younger, {index})
        objects.remove(younger)
