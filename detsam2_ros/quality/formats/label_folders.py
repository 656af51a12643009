# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Folders of label PNGs: DAVIS with a palette, KITTI MOTS with 16 bits, and plain label images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from detsam2_ros.media.folders import list_files
from detsam2_ros.media.label_images import png_mode, read_labels
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.davis_out import VOID
from detsam2_ros.quality.formats.kitti_mots_out import IGNORE_CLASS, OF_A_CLASS
from detsam2_ros.quality.formats.reading import (
    MAX_FRAMES,
    MAX_THINGS,
    GrowingVideo,
    label_masks,
    label_values,
    report,
)
from detsam2_ros.quality.formats.sidecar import Sidecar, read_sidecar
from detsam2_ros.quality.segments import Segment, SegmentedVideo

KITTI_CLASSES = {1: 'car', 2: 'pedestrian'}
_INSIDE = ('Annotations*', 'Annotations*/*', 'instances')
_LOOKED_AT = 100  # pictures, to tell KITTI MOTS from other label images


def find_videos(root: Path) -> dict[str, list[Path]]:
    """Return the PNGs of each video by its name; {} where there are none.

    They lie in the folder itself, in a folder for each video, or in such folders inside
    Annotations, Annotations/480p or instances. Raises InputError where that is ambiguous.
    """
    own = list_files(root, ('.png',))
    if own:
        return {root.absolute().name: own}
    bases = [root, *(path for pattern in _INSIDE for path in sorted(root.glob(pattern)))]
    found = {}
    for base in bases:
        folders = sorted(path for path in base.iterdir()) if base.is_dir() else []
        videos = {
            folder.name: files
            for folder in folders
            if folder.is_dir() and not folder.name.startswith('.')
            if (files := list_files(folder, ('.png',)))
        }
        if videos:
            found[base] = videos
    if len(found) > 1:
        names = ' and '.join(str(base) for base in found)
        raise InputError(f'{root} holds several sets of label images, {names}; give one of them')
    return next(iter(found.values()), {})


def is_kitti(videos: dict[str, list[Path]]) -> bool:
    """Return whether label images hold numbers of KITTI MOTS: 16 bits, all from 1000 on."""
    files = [file for files in videos.values() for file in files]
    modes = {png_mode(file) for file in files[:_LOOKED_AT]}
    if not any((mode or '').startswith('I') for mode in modes):
        return False
    for file in files[:_LOOKED_AT]:
        labels = read_labels(file)
        if labels is not None and labels.any():
            return bool(labels[labels > 0].min() >= OF_A_CLASS)
    return False


def read_folders(root: Path, videos: dict[str, list[Path]], kitti: bool) -> list[SegmentedVideo]:
    """Read the videos that `find_videos` found.

    The number of a frame is the last number in the name of its file; frames without a file are
    missing. DAVIS: a pixel is an id, 255 is ignored. But where a video of grey images has 255 and
    nothing else, 255 is an object (DAVIS 2016). KITTI MOTS: id = pixel = 1000 * class + instance,
    class 10 is ignored. Broken images are left out and counted. Raises InputError for images in
    colour, and where no video is left.
    """
    notes, read = Notes(), []
    known = read_sidecar(root)
    if not known.videos:
        known = read_sidecar(root.absolute().parent)
    for name, files in videos.items():
        video = _read(name, files, kitti, notes)
        if not video.segments:
            notes.add('video', 'none of its PNGs can be used', name)
            continue
        done = video.done(KITTI_CLASSES if kitti else {})
        if not kitti and not any(png_mode(file) == 'P' for file in files):
            done = _grey(done)
        read.append(restored(done, name, known))
    report(root, notes)
    if not read:
        files = [file for files in videos.values() for file in files]
        raise InputError(
            f'{root}: none of its {len(files)} PNGs is a label image that can be used, the first '
            f'is {files[0].relative_to(root)}; export them again'
        )
    return read


def _read(name: str, files: list[Path], kitti: bool, notes: Notes) -> GrowingVideo:
    video: GrowingVideo | None = None
    for number, file in _numbered(files, notes):
        labels = read_labels(file)
        example = f'{name}/{file.name}'
        if labels is None:
            notes.add('image', 'unreadable or cut short', example)
            continue
        if video is None:
            height, width = labels.shape
            video = GrowingVideo(name, (height, width), notes)
        if labels.shape != video.size:
            notes.add('image', 'of another size than those before', example)
        elif len(label_values(labels)) > MAX_THINGS:
            notes.add('image', f'more than {MAX_THINGS} values: it shows no labels', example)
        elif number in video.segments:
            notes.add('image', 'another one has its number', example)
        else:
            _take(video, number, labels, kitti, example)
    return video or GrowingVideo(name, (1, 1), notes)


def _take(
    video: GrowingVideo, number: int, labels: np.ndarray, kitti: bool, example: str
) -> None:
    video.add_frames(range(number, number + 1))
    for value, mask in label_masks(labels):
        class_id = value // OF_A_CLASS if kitti else 0
        if class_id == IGNORE_CLASS if kitti else value == VOID:
            video.ignore(number, mask)
        elif kitti and not class_id:
            video.notes.add('object', 'its number is below 1000, so it has no class', example)
        else:
            video.add(number, Segment(value, class_id, mask), example)


def _numbered(files: list[Path], notes: Notes) -> Iterator[tuple[int, Path]]:
    for file in files:
        digits = re.findall(r'[0-9]+', file.stem)
        if not digits or len(digits[-1]) > 9 or int(digits[-1]) >= MAX_FRAMES:
            notes.add('image', 'its name has no number of a frame', file.name)
        else:
            yield int(digits[-1]), file


def _grey(video: SegmentedVideo) -> SegmentedVideo:
    """Return a video of 0 and 255 alone with 255 as the object that it is in DAVIS 2016."""
    if any(frame.segments for frame in video.frames.values()):
        return video
    frames = {
        number: frame if frame.ignored is None
        else replace(frame, segments=(Segment(1, 0, frame.ignored),), ignored=None)
        for number, frame in video.frames.items()
    }  # fmt: skip
    return replace(video, frames=frames)


def restored(video: SegmentedVideo, file: str, known: Sidecar) -> SegmentedVideo:
    """Return a video with the name, ids and classes that the writer noted beside the folder."""
    record = known.videos.get(file)
    if record is None or record.size != video.size:
        return video
    frames = {
        number: replace(frame, segments=tuple(
            Segment(*record.objects.get(thing.id, (thing.id, thing.class_id)), thing.mask)
            for thing in frame.segments
        ))
        for number, frame in video.frames.items()
    }  # fmt: skip
    return replace(video, name=record.name, frames=frames, class_names=known.class_names)
