# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Masks that a pass must not take back: tracking had followed the object to them from a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.tracking.frame_masks import FrameMasks
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.masks import Mask


def followed(
    objects: Iterable[TrackedObject], frames: Sequence[Frame], config: EngineConfig
) -> dict[TrackedObject, set[int]]:
    """Return the frames on which a pass must not take back the mask of each confirmed object.

    None in mode window, where nothing is tracked forward. frames: those of the pass, ascending.
    """
    if config.mode != 'online':
        return {}
    return {obj: path(obj, frames, config.match_iou) for obj in objects if obj.confirmed}


def path(obj: TrackedObject, frames: Iterable[Frame], min_iou: float) -> set[int]:
    """Return the frames on which the published masks follow from a prompt, without a leap.

    From one frame to the next they overlap by at least min_iou (and are visible). frames: without
    a gap, ascending.
    """
    found: set[int] = set()
    last: Mask | None = None
    for frame in frames:
        mask = frame.mask_of(obj.id)
        if frame.index in obj.prompts:
            last = mask
        elif last and mask and last.iou(mask) >= min_iou:
            found.add(frame.index)
            last = mask
        else:
            last = None
    return found


def lost(
    masks: FrameMasks, frame: Frame, candidates: Iterable[TrackedObject]
) -> set[TrackedObject]:
    """Return which of some objects a pass found nothing of, where they were and nobody else is.

    An object whose published mask lies in the mask of another one had strayed there.
    """
    gone = set()
    for obj in candidates:
        before = frame.mask_of(obj.id)
        if masks.mask(obj) is None or masks.visible(obj) or not before:
            continue
        others = [own.mask for other, own in masks.found.items() if other is not obj]
        if all(2 * before.overlap(mask) <= before.area for mask in others):
            gone.add(obj)
    return gone
