# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Two objects that came to share one mask are one: which pairs, and on which frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.masks import Mask

# An object's mask on a frame; None where it was not looked for.
MaskLookup = Callable[[int, TrackedObject], Mask | None]


@dataclass(frozen=True)
class MaskTrack:
    """An object's masks over the frames of a window, as `merged_pairs` reads them.

    born orders objects by age: the smaller is the older (the id decides between equals).
    masks: one item a frame, oldest frame first, the same frames for every track: None where
    the object was not looked for.
    """

    id: int
    class_id: int
    born: int
    masks: Sequence[Mask | None]


def shared_masks(
    objects: Sequence[TrackedObject],
    window: Sequence[int],
    lookup: MaskLookup,
    merge_iou: float,
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find (older, younger) objects that came to share one mask over a window's frames.

    Two that were prompted on one frame apart from each other are two: one of them has strayed.
    """
    named = {obj.id: obj for obj in objects if obj.id is not None and obj.born is not None}
    tracks = [
        MaskTrack(id_, obj.class_id, obj.born or 0, [lookup(index, obj) for index in window])
        for id_, obj in named.items()
    ]

    def apart(old: int, young: int) -> bool:
        return _were_apart(named[old], named[young])

    pairs = merged_pairs(tracks, merge_iou, apart)
    return [(named[old], named[young]) for old, young in pairs]


def _were_apart(one: TrackedObject, other: TrackedObject) -> bool:
    """Tell whether prompts on one frame have less than half of the smaller mask in common.

    A detector that finds a thing and a part of it has found one thing.
    """
    for index in one.prompts.keys() & other.prompts.keys():
        a, b = one.prompts[index].logits > 0, other.prompts[index].logits > 0
        if bool(2 * (a & b).sum() < torch.minimum(a.sum(), b.sum())):
            return True
    return False


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


def merged_pairs(
    tracks: Sequence[MaskTrack],
    merge_iou: float,
    apart: Callable[[int, int], bool] = lambda old, young: False,
) -> list[tuple[int, int]]:
    """Find objects that came to share one mask; returns (id that lives, id that goes) pairs.

    Two objects of a class share a mask when their masks' IoU is at least merge_iou (and above
    0) on the newest frame where both are visible, and on at least half of the frames where one
    of them is visible, and on two frames at least (one, when there is just one frame). The
    older lives. Each id goes at most once, and an id that lives is not one that goes. apart: tells
    of two ids, the older first, that they are two all the same.
    """
    pairs: list[tuple[int, int]] = []
    living: list[MaskTrack] = []
    for track in sorted(tracks, key=lambda t: (t.born, t.id)):
        for older in living:
            one = older.class_id == track.class_id and _share_mask(older, track, merge_iou)
            if one and not apart(older.id, track.id):
                pairs.append((older.id, track.id))
                break
        else:
            living.append(track)
    return pairs


def _share_mask(a: MaskTrack, b: MaskTrack, merge_iou: float) -> bool:
    either = agreeing = 0
    newest = True
    for mask_a, mask_b in zip(reversed(a.masks), reversed(b.masks), strict=True):
        either += bool(mask_a) or bool(mask_b)
        if not mask_a or not mask_b:
            continue
        agrees = _agree(mask_a, mask_b, merge_iou)
        if newest and not agrees:
            return False
        newest = False
        agreeing += agrees
    return agreeing >= min(2, len(a.masks)) and agreeing > 0 and 2 * agreeing >= either


def _agree(a: Mask, b: Mask, min_iou: float) -> bool:
    """Tell whether two masks overlap with at least an IoU (and above 0)."""
    assert a.box is not None and b.box is not None
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = a.box, b.box
    # Most pairs lie apart: the boxes say so without unpacking a mask.
    if min(ax1, bx1) <= max(ax0, bx0) or min(ay1, by1) <= max(ay0, by0):
        return False
    iou = a.iou(b)
    return iou > 0 and iou >= min_iou
