# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that a detection has started and that may stand for nothing.

Such an object is shown at once, as tentative. Later detections confirm it, or it is withdrawn
where the detector looks at the place and does not find it. (SAM 3's hot start withholds objects
instead, for 15 frames.)
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.merging import MaskLookup
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.masks import Mask, box_iou

# Shares of a mask's pixels that lie in the mask of another object.
_COVERED = 0.2  # from here on the detector may have overlooked it
_REPEATED = 0.8  # from here on it is no thing of its own


def decides_in_time(config: EngineConfig) -> bool:
    """Tell whether later detections can confirm an object before its frames are final.

    A window's pass makes frames final that lie M - K before its newest one. The detection that
    decides comes confirm_detections - 1 detection frames after the first.
    """
    wait = config.detect_interval * max(config.confirm_detections - 1, 0)
    return config.max_propagation > config.window_size + wait


def missed(
    obj: TrackedObject,
    frames: Iterable[Frame],
    others: Iterable[TrackedObject],
    mask_on: MaskLookup,
    match_iou: float,
) -> int:
    """Count the frames on which a detector should have found an object and did not.

    Frames after its first detection count, where a detector looked and the object is visible, but
    is neither covered by another one nor at a place where a detection of another class lies.
    frames: those in reach. mask_on: an object's mask on a frame.
    """
    first = min(obj.matched, default=None)
    if first is None:
        return 0
    count = 0
    for frame in frames:
        if not frame.searched or frame.index <= first or frame.index in obj.matched:
            continue
        mask = mask_on(frame.index, obj)
        if not mask:
            continue
        beside = [(other, mask_on(frame.index, other)) for other in others if other is not obj]
        count += _is_missed(obj, mask, beside, frame, match_iou)
    return count


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
        if other.confirmed and other.class_id == obj.class_id and shared >= _REPEATED * area:
            return True
        covered += shared
    if covered >= _COVERED * area:
        return False
    if not frame.detections:
        return True
    seen = box_iou(np.array([mask.box], np.float64), frame.detections.boxes)
    return bool(seen.max() < match_iou)
