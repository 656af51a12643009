# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Videos and their truth: a video with label images, or the demo's scene."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detsam2_ros.banks.evaluate import FrameImage, Truth
from detsam2_ros.media.folders import list_files
from detsam2_ros.media.tables import read_table
from detsam2_ros.media.video import InputError, open_source
from detsam2_ros.scene.scene import CLASS_NAMES, Scene
from detsam2_ros.words import counted

SCENE = 'scene:'
_SCENE_FRAMES = 60
_MIN_VISIBLE = 0.25  # fraction of a ball; a sliver behind a hand is no test of masks


@dataclass(frozen=True)
class Input:
    """A video that can be read several times."""

    name: str
    has_truth: bool  # whether its frames have a truth
    frames: Callable[[], Iterator[FrameImage]]  # reads the video from its start
    limit: int | None  # stop after this number of frames
    count: int | None  # number of frames to come, None when unknown


def open_input(
    video: str, truth: Path | None, limit: int | None = None, fps: float | None = None
) -> Input:
    """Open the video and truth of the command line; raises InputError for unusable ones."""
    if video.startswith(SCENE):
        return _scene(video, truth, limit)
    source = open_source(Path(video), fps)
    files = [] if truth is None else _label_files(truth)
    names = {} if truth is None else _class_names(truth)

    def frames() -> Iterator[FrameImage]:
        index = -1
        for index, frame in enumerate(source.frames()):
            own = None
            if truth is not None:
                if index == len(files):
                    raise _too_few(truth, len(files), video)
                own = Truth(_read_labels(files[index], frame.image.shape[:2]), names)
            yield FrameImage(frame.image, frame.stamp, own)
        if index + 1 < len(files):
            logging.warning(
                'truth %s has %d label images, but %s only %d frames',
                truth, len(files), video, index + 1,
            )  # fmt: skip

    count = source.count if limit is None else min(source.count or limit, limit)
    if truth is not None:
        # Before hours of inference. Containers miscount by a frame or two.
        if len(files) < 0.95 * (count or 0):
            raise _too_few(truth, len(files), video)
        for file in files[:count]:
            _read_labels(file, source.size_wh[::-1])
    return Input(video, truth is not None, frames, limit, count)


def _too_few(truth: Path, count: int, video: str) -> InputError:
    return InputError(
        f'truth {truth} has {counted(count, "label image")}, but {video} has more frames; give '
        f'one a frame, or --max-frames {count}'
    )


def _scene(video: str, truth: Path | None, limit: int | None) -> Input:
    seed = video.removeprefix(SCENE)
    if not seed.isdecimal():
        raise InputError(f"'{video}': give a seed, a whole number >= 0, as in {SCENE}7")
    if truth is not None:
        raise InputError(f'truth {truth}: a scene has its own truth; leave it out')
    length = limit or _SCENE_FRAMES
    scene = Scene(int(seed), length=length)
    names = {
        int(ball): CLASS_NAMES[int(kind)]
        for ball, kind in zip(scene.ids, scene.class_ids, strict=True)
    }

    def frames() -> Iterator[FrameImage]:
        for frame in scene:
            seen = frame.ids[frame.visible_fraction >= _MIN_VISIBLE]
            labels = np.where(np.isin(frame.labels, seen), frame.labels, 0)
            yield FrameImage(frame.image, round(frame.index * 1e9 / 30), Truth(labels, names))

    return Input(video, True, frames, length, length)


def _label_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f'truth {folder} is no folder; give one of label images (PNG)')
    files = list_files(folder, ('.png',))
    if not files:
        raise InputError(f'truth {folder} holds no PNG')
    return files


def _class_names(folder: Path) -> dict[int, str]:
    file = folder / 'classes.json'
    if not file.exists():
        return {}
    table = read_table(file, 'class names')
    try:
        return {int(label): str(name) for label, name in table.items()}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f'{file} is no table of labels and class names, as in {{"1": "cup"}}: {error}'
        ) from error


def _read_labels(file: Path, size: tuple[int, ...]) -> np.ndarray:
    labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise InputError(f'label image {file} cannot be read')
    if labels.ndim != 2:
        raise InputError(f'label image {file} has colours; give one channel, pixel = object')
    if labels.shape != tuple(size):
        raise InputError(
            f'label image {file} is {labels.shape[1]}x{labels.shape[0]} pixels, its frame '
            f'{size[1]}x{size[0]}'
        )
    return labels.astype(np.int64)
