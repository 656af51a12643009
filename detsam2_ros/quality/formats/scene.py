# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The truth of rendered scenes: any, or that of the demo's camera."""

from __future__ import annotations

import re
from collections.abc import Mapping

from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.reading import GrowingVideo, label_masks
from detsam2_ros.quality.segments import Segment, SegmentedVideo
from detsam2_ros.scene.options import CLASS_NAMES, DEMO, SceneOptions
from detsam2_ros.scene.scene import SMALLEST, Scene
from detsam2_ros.scene.score import MIN_VISIBLE

SCENES: Mapping[str, SceneOptions] = {'scene': SceneOptions(), 'demo': DEMO}
PREFIXES = tuple(f'{kind}:' for kind in SCENES)
FORM = 'SEED[:FRAMES[:SIZE]]'
_FRAMES, _SIZE = 60, 256
_MAX_FRAMES, _MAX_SIZE = 100_000, 4096


def read_scene(text: str) -> SegmentedVideo:
    """Return the truth of scene:SEED[:FRAMES[:SIZE]], or demo:...; raises InputError.

    SIZE: width and height in pixels.
    """
    kind, *numbers = text.split(':')
    given = [int(each) if re.fullmatch('[0-9]{1,9}', each) else -1 for each in numbers]
    seed, frames, size = [*given, *(-1, _FRAMES, _SIZE)[len(given) :]][:3]
    known = kind in SCENES and len(given) <= 3 and seed >= 0
    if not known or not 1 <= frames <= _MAX_FRAMES or not SMALLEST <= size <= _MAX_SIZE:
        raise InputError(
            f"'{text}': give a seed and, if not {_FRAMES}, a number of frames up to "
            f'{_MAX_FRAMES}, and if not {_SIZE}, the width of the square images, {SMALLEST} to '
            f'{_MAX_SIZE} pixels, as in {kind}:7:90:512'
        )
    return scene_truth(Scene(seed, size, size, frames, SCENES[kind]), text)


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
