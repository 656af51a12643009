# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The truth of a rendered scene."""

from __future__ import annotations

import re

from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.reading import GrowingVideo, label_masks
from detsam2_ros.quality.segments import Segment, SegmentedVideo
from detsam2_ros.scene.scene import CLASS_NAMES, Scene
from detsam2_ros.scene.score import MIN_VISIBLE

PREFIX = 'scene:'
_FRAMES = 60
_MAX_FRAMES = 100_000


def read_scene(text: str) -> SegmentedVideo:
    """Return the truth of scene:SEED or scene:SEED:FRAMES; raises InputError."""
    found = re.fullmatch(rf'{PREFIX}(\d{{1,9}})(?::(\d{{1,9}}))?', text)
    if found is None or not 1 <= int(found[2] or _FRAMES) <= _MAX_FRAMES:
        raise InputError(
            f"'{text}': give a seed and, if not {_FRAMES}, a number of frames up to "
            f'{_MAX_FRAMES}, as in {PREFIX}7:90'
        )
    return scene_truth(Scene(int(found[1]), length=int(found[2] or _FRAMES)), text)


def scene_truth(scene: Scene, name: str) -> SegmentedVideo:
    """Return the truth of a scene that ends.

    A ball of which less than MIN_VISIBLE is seen says little about masks: its pixels are ignored.
    """
    video = GrowingVideo(name, (scene.height, scene.width), Notes())
    classes = dict(zip(scene.ids.tolist(), scene.class_ids.tolist(), strict=True))
    for frame in scene:
        video.add_frames(range(frame.index, frame.index + 1))
        seen = set(frame.ids[frame.visible_fraction >= MIN_VISIBLE].tolist())
        for ball, mask in label_masks(frame.labels):
            if ball in seen:
                video.add(frame.index, Segment(ball, classes[ball], mask), name)
            else:
                video.ignore(frame.index, mask)
    return video.done(CLASS_NAMES)
