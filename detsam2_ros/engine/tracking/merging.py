# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that came to share one mask: two that are one thing, or one that is lost.

Where both were detected apart, they are two things of one look, and tracking has lost one of them
to the other's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.masks import Box, Mask, box_iou

# Two things: prompted on so many frames with boxes that overlap less than this. One frame does
# not tell, a detector may see one thing as two halves.
_APART_FRAMES, _APART_IOU = 2, 0.2

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
    objects: Sequence[TrackedObject], newest: Sequence[int], lookup: MaskLookup, merge_iou: float
) -> list[tuple[TrackedObject, TrackedObject]]:
    """Find (older, younger) objects that came to share one mask over the newest frames."""
    named = {obj.id: obj for obj in objects if obj.id is not None and obj.born is not None}
    tracks = [
        MaskTrack(id_, obj.class_id, obj.born or 0, [lookup(index, obj) for index in newest])
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


def detected_apart(a: TrackedObject, b: TrackedObject, resizer: MaskResizer) -> bool:
    """Tell whether two objects were found in two places on the same frames."""
    both = sorted(a.prompts.keys() & b.prompts.keys())
    if len(both) < _APART_FRAMES:
        return False
    one, other = (
        resizer.boxes(torch.stack([obj.prompts[at].logits for at in both])) for obj in (a, b)
    )
    apart = np.diag(box_iou(one, other)) < _APART_IOU
    return int(apart.sum()) >= _APART_FRAMES


def found_apart_since(
    stays: TrackedObject,
    lost: TrackedObject,
    first: int,
    lookup: MaskLookup,
    resizer: MaskResizer,
) -> bool:
    """Tell whether a prompt of frame `first` or later has the lost object elsewhere."""
    for at in [at for at in lost.prompts if at >= first]:
        own = resizer.boxes(lost.prompts[at].logits[None])
        if at in stays.prompts:
            other = resizer.boxes(stays.prompts[at].logits[None])
        elif mask := lookup(at, stays):
            other = np.array([mask.box], np.float64)
        else:
            continue
        if box_iou(own, other)[0, 0] < _APART_IOU:
            return True
    return False


def lost_to(
    frames: Iterable[int],
    lookup: MaskLookup,
    pair: tuple[TrackedObject, TrackedObject],
    merge_iou: float,
) -> tuple[TrackedObject, TrackedObject, int] | None:
    """Return which of two objects stays at a shared mask, which is lost, and since which frame.

    The one whose mask was there before stays, or was nearer. Without any mask before, it is the
    one that was prompted last. frames: those in reach. None where the two share no mask.
    """
    first, place, alone = None, None, None
    for index in sorted(frames, reverse=True):
        one, other = (lookup(index, obj) for obj in pair)
        if one and other and _agree(one, other, merge_iou):
            first, place = index, one.box
        elif first is not None and one and other:
            assert place is not None and one.box is not None and other.box is not None
            stays = int(_distance(other.box, place) < _distance(one.box, place))
            return pair[stays], pair[1 - stays], first
        elif first is not None and alone is None and (one or other):
            alone = int(bool(other))
    if first is None:
        return None
    if alone is None:
        newest = [max(obj.prompts, default=-1) for obj in pair]
        alone = int(newest[1] > newest[0])
    return pair[alone], pair[1 - alone], first


def merged_pairs(tracks: Sequence[MaskTrack], merge_iou: float) -> list[tuple[int, int]]:
    """Find objects that came to share one mask; returns (id that lives, id that goes) pairs.

    Two objects of a class share a mask when their masks' IoU is at least merge_iou (and above
    0) on the newest frame where both are visible, and on at least half of the frames where one
    of them is visible, and on two frames at least (one, when there is just one frame). The
    older lives. Each id goes at most once, and an id that lives is not one that goes.
    """
    pairs: list[tuple[int, int]] = []
    living: list[MaskTrack] = []
    for track in sorted(tracks, key=lambda t: (t.born, t.id)):
        for older in living:
            if older.class_id == track.class_id and _share_mask(older, track, merge_iou):
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


def _distance(a: Box, b: Box) -> float:
    """Return how far the centres of two boxes lie apart, in pixels."""
    return float(np.hypot(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3])) / 2
