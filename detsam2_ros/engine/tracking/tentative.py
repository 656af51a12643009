# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that a detection has started and that may stand for nothing.

Such an object is shown at once, as tentative. Later detections confirm it, or it is withdrawn
where the detector looks at the place and does not find it. (SAM 3's hot start withholds objects
instead, for 15 frames.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.merging import MaskLookup
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.masks import Mask, box_iou

# A detector may have overlooked it from this share of its pixels on in masks of other objects, and
# below this share of the pixels that it had when it was detected: then most of it is hidden.
_COVERED, _HIDDEN = 0.2, 0.5
# It is no thing of its own from this IoU on with the mask of a confirmed object, and from this
# share of its pixels on that lie in the mask of one of its class.
_REPEATED_IOU, _REPEATED = 0.7, 0.8


def decides_in_time(config: EngineConfig, interval: int, lateness: int = 0) -> bool:
    """Tell whether later detections can confirm an object before its frames are final.

    A window's pass makes frames final that lie M - K before its newest one. The detection that
    decides comes confirm_detections - 1 detection frames after the first. interval: frames from
    one detection frame to the next; 0 where none are known. lateness: frames by which detections
    come late.
    """
    return interval > 0 and config.max_propagation >= reach_to_decide(config, interval) + lateness


def reach_to_decide(config: EngineConfig, interval: int) -> int:
    """Return the least max_propagation (M) that gives time; see `decides_in_time`."""
    return config.window_size + interval * max(config.confirm_detections - 1, 0)


def seen_to_decide(config: EngineConfig, searched: Sequence[int], newest: int) -> bool:
    """Tell the same of a stream whose detections come from elsewhere, at any interval.

    searched: the frames in reach that a detector saw, ascending. newest: frame. One interval after
    the last of them, detections that are not there come with the next frame at the earliest.
    """
    if len(searched) < 2:
        return False
    interval = -(-(searched[-1] - searched[0]) // (len(searched) - 1))
    return decides_in_time(config, interval, max(newest - searched[-1] - interval + 1, 0))


def detected_area(obj: TrackedObject, mask_on: MaskLookup) -> int:
    """Return how many pixels an object has where it is detected, at most; 0 out of reach."""
    masks = [mask_on(index, obj) for index in obj.matched]
    return max((mask.area for mask in masks if mask), default=0)


def missed(
    obj: TrackedObject,
    frames: Iterable[Frame],
    others: Iterable[TrackedObject],
    mask_on: MaskLookup,
    match_iou: float,
) -> frozenset[int]:
    """Return the frames on which a detector should have found an object and did not.

    Frames after its first detection count, where a detector looked and the object is visible.
    Those do not count on which most of it is hidden, another object covers it, or a detection of
    another class lies there; but those do where its mask is that of a confirmed object, which it
    repeats. frames: those in reach. mask_on: an object's mask on a frame.
    """
    first = min(obj.matched, default=None)
    if first is None:
        return frozenset()
    missed_on = set()
    for frame in frames:
        if not frame.searched or frame.index <= first or frame.index in obj.matched:
            continue
        mask = mask_on(frame.index, obj)
        if not mask or mask.area < _HIDDEN * obj.detected_area:
            continue
        beside = [(other, mask_on(frame.index, other)) for other in others if other is not obj]
        if _is_missed(obj, mask, beside, frame, match_iou):
            missed_on.add(frame.index)
    return frozenset(missed_on)


def _is_missed(
    obj: TrackedObject,
    mask: Mask,
    beside: Iterable[tuple[TrackedObject, Mask | None]],
    frame: Frame,
    match_iou: float,
) -> bool:
    area, covered = mask.area, 0
    for other, theirs in beside:
        shared = mask.overlap(theirs) if theirs else 0
        if theirs and other.confirmed and shared:
            same_class = other.class_id == obj.class_id
            union = area + theirs.area - shared
            if shared >= _REPEATED_IOU * union or (same_class and shared >= _REPEATED * area):
                return True
        covered += shared
    if covered >= _COVERED * area:
        return False
    if not frame.detections:
        return True
    seen = box_iou(np.array([mask.box], np.float64), frame.detections.boxes)
    return bool(seen.max() < match_iou)
