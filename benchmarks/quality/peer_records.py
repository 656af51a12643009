# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""All that a tracker said of a clip, in a compressed file: label images as runs of one value.

Whoever measures something else later reads the file and runs no tracker again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from detsam2_ros.quality.segments import (
    RevisedVideo,
    Revision,
    Segment,
    SegmentedFrame,
    SegmentedVideo,
)
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import CLASS_NAMES

_IGNORED = 65535  # in the label image of a truth


def save(path: Path, video: RevisedVideo) -> None:
    """Write what was said of a clip; masks of a frame must not overlap."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(r.frame, r.revision, r.newest, r.final) for r in video.revisions]
    withdrawn = [(i, id_) for i, r in enumerate(video.revisions) for id_ in sorted(r.withdrawn)]
    shown = [revision.shown for revision in video.revisions]
    np.savez_compressed(
        path, name=video.name, size=video.size, rows=np.array(rows, np.int32).reshape(-1, 4),
        withdrawn=np.array(withdrawn, np.int32).reshape(-1, 2),
        settled=np.array(sorted(video.settled.items()), np.int32).reshape(-1, 2),
        **_packed(shown, video.size),
    )  # fmt: skip


def load(path: Path) -> RevisedVideo:
    """Read what was said of a clip."""
    with np.load(path) as file:
        size = (int(file['size'][0]), int(file['size'][1]))
        shown = _unpacked(file, size)
        withdrawn: dict[int, set[int]] = {}
        for row, id_ in file['withdrawn'].tolist():
            withdrawn.setdefault(row, set()).add(id_)
        revisions = tuple(
            Revision(frame, revision, newest, bool(final), each, frozenset(withdrawn.get(i, ())))
            for i, ((frame, revision, newest, final), each) in enumerate(
                zip(file['rows'].tolist(), shown, strict=True)
            )
        )
        settled = dict(file['settled'].tolist())
        return RevisedVideo(str(file['name']), size, revisions, CLASS_NAMES, settled)


def save_truth(path: Path, video: SegmentedVideo) -> None:
    """Write a truth that knows the frames from 0 on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = [video.frames[index] for index in range(len(video.frames))]
    np.savez_compressed(path, name=video.name, size=video.size, **_packed(shown, video.size))


def load_truth(path: Path) -> SegmentedVideo:
    """Read a truth."""
    with np.load(path) as file:
        size = (int(file['size'][0]), int(file['size'][1]))
        frames = dict(enumerate(_unpacked(file, size)))
        return SegmentedVideo(str(file['name']), size, frames, CLASS_NAMES)


def of_labels(labels: np.ndarray, classes: dict[int, int]) -> SegmentedFrame:
    """Return what a label image shows, integer [H, W], 0 = background; classes: by id."""
    ids = [int(id_) for id_ in np.unique(labels) if id_ not in (0, _IGNORED)]
    segments = tuple(Segment(id_, classes[id_], Mask.of(labels == id_)) for id_ in ids)
    ignored = labels == _IGNORED
    return SegmentedFrame(segments, Mask.of(ignored) if ignored.any() else None)


def _packed(shown: Iterable[SegmentedFrame], size: tuple[int, int]) -> dict[str, np.ndarray]:
    values, lengths, counts, classes = [], [], [], {}
    for each in shown:
        flat = _labels(each, size).ravel()
        begins = np.flatnonzero(np.diff(flat, prepend=flat[0] + 1))
        values.append(flat[begins])
        lengths.append(np.diff(begins, append=flat.size))
        counts.append(len(begins))
        classes.update({segment.id: segment.class_id for segment in each.segments})
    return {
        'values': np.concatenate(values).astype(np.uint16),
        'lengths': np.concatenate(lengths).astype(np.uint32),
        'counts': np.array(counts, np.int32),
        'classes': np.array(sorted(classes.items()), np.int32).reshape(-1, 2),
    }


def _unpacked(file: np.lib.npyio.NpzFile, size: tuple[int, int]) -> list[SegmentedFrame]:
    ends = np.cumsum(file['counts'])[:-1]
    classes = dict(file['classes'].tolist())
    return [
        of_labels(np.repeat(values, lengths).reshape(size), classes)
        for values, lengths in zip(
            np.split(file['values'], ends), np.split(file['lengths'], ends), strict=True
        )
    ]


def _labels(shown: SegmentedFrame, size: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(size, np.int32)
    if shown.ignored is not None:
        labels[shown.ignored.pixels()] = _IGNORED
    for segment in shown.segments:
        own = segment.mask.pixels()
        if labels[own].any():
            raise ValueError(f'the mask of {segment.id} overlaps another one')
        labels[own] = segment.id
    return labels
