# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Results of a tracker, with all that it said of each frame or with one view of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from detsam2_ros.media.label_images import read_labels
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.tables import read_lines
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.reading import MAX_FRAMES, OBJECTS, REVISIONS, is_run, report
from detsam2_ros.quality.formats.revisions import read_revisions
from detsam2_ros.quality.formats.scene import PREFIXES
from detsam2_ros.quality.formats.sinks import Collector, shown_by
from detsam2_ros.quality.formats.truth import read_truth
from detsam2_ros.quality.segments import RevisedVideo, Revision, SegmentedFrame, SegmentedVideo

_MASKS = 'masks'
_BAG_FILES = ('.mcap', '.db3', '.zstd')
_log = logging.getLogger(__name__)


def read_results(path: Path | str) -> list[RevisedVideo]:
    """Read what a tracker said, by the content of the path.

    A revisions.jsonl file, or a folder of segment_video with one: every revision. A bag with
    masks, objects and corrections: likewise. A folder of segment_video without revisions.jsonl:
    the last revision of each frame, with a warning. A folder of such folders: a video each. A
    standard format, see read_truth: one view, each frame said once when it came, as revision 0.
    Raises InputError.
    """
    if str(path).startswith(PREFIXES):
        return [as_revised(video) for video in read_truth(path)]
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f'results {path} do not exist')
        if not (path.is_file() or path.is_dir()):
            raise InputError(f'results {path} are neither a file nor a folder')
        return _read(path)
    except OSError as error:  # a folder without permission, links in a circle
        raise InputError(f'results {path} cannot be read: {error.strerror or error}') from error


def _read(path: Path) -> list[RevisedVideo]:
    if path.is_file():
        if path.suffix == '.jsonl':
            return _revisions(path)
        if path.suffix in _BAG_FILES or path.name == 'metadata.yaml':
            return _bag(path)
        return [as_revised(video) for video in read_truth(path)]
    if is_run(path):
        return [_run(path)] if not (path / REVISIONS).is_file() else _revisions(path / REVISIONS)
    if (path / 'metadata.yaml').is_file() or any(path.glob('*.mcap')) or any(path.glob('*.db3')):
        return _bag(path)
    runs = sorted(folder for folder in path.iterdir() if folder.is_dir() and is_run(folder))
    if runs:
        return [video for folder in runs for video in _read(folder)]
    return [as_revised(video) for video in read_truth(path)]


def _revisions(path: Path) -> list[RevisedVideo]:
    collector, notes = Collector(), Notes()
    read_revisions(path, collector, notes)
    report(path, notes)
    return collector.videos()


def _bag(path: Path) -> list[RevisedVideo]:
    try:
        from detsam2_ros.bags import BagError
        from detsam2_ros.bags.revisions import read_revisions as read_bag
    except ModuleNotFoundError as error:
        raise InputError(
            f"{path} is a bag, which is read with the library rosbags, of which '{error.name}' is "
            f'missing; pip install rosbags'
        ) from error
    collector, notes = Collector(), Notes()
    try:
        read_bag(path, collector, notes)
    except BagError as error:
        raise InputError(str(error)) from error
    report(path, notes)
    return collector.videos()


def as_revised(video: SegmentedVideo) -> RevisedVideo:
    """Return one view of a video as if each frame had been said once, when it came."""
    revisions = tuple(
        Revision(
            frame=number, revision=0, newest=number, final=True,
            shown=SegmentedFrame(frame.segments),
        )
        for number, frame in sorted(video.frames.items())
    )  # fmt: skip
    settled = {number: number for number in video.frames}
    return RevisedVideo(video.name, video.size, revisions, video.class_names, settled)


def _run(folder: Path) -> RevisedVideo:
    """Read masks and objects of segment_video, which keep the last revision of each frame."""
    notes, last = Notes(), _last_records(folder)
    collector, is_begun = Collector(), False
    for number, record in sorted(last.items()):
        file = folder / _MASKS / f'{number:06d}.png'
        labels = read_labels(file) if file.is_file() else None
        if labels is None:
            notes.add('frame', 'its mask image is missing or unreadable', str(file))
            continue
        size = (labels.shape[0], labels.shape[1])
        if not is_begun:
            collector.begin(folder.absolute().name, size)
            is_begun, first_size = True, size
        if size != first_size:
            notes.add('frame', 'its mask image is of another size', str(file))
            continue
        things = [SimpleNamespace(**row) for row in record['objects']]
        shown, names = shown_by(labels, things, notes, f'on frame {number}')
        gone = frozenset(record['withdrawn_ids'])
        revision = Revision(
            number, record['revision'], record['newest'], bool(record['final']), shown, gone)
        collector.take(revision, names, record['stamp'])
    report(folder, notes)
    if not is_begun:
        raise InputError(
            f'{folder} has no masks that can be read; segment_video without --no-masks writes '
            f'them, with --revisions those of each revision'
        )
    if any(record['revision'] for record in last.values()):
        _log.warning(
            '%s keeps the last masks of each frame only, and says nothing of those first '
            'published; segment_video --revisions keeps all', folder,
        )  # fmt: skip
    return collector.videos()[0]


def _last_records(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the last line of objects.jsonl on each frame; other lines are counted."""
    notes, last = Notes(), {}
    for place, line in enumerate(read_lines(folder / OBJECTS, 'objects'), 1):
        try:
            row = json.loads(line)
            if _is_record(row):
                last[row['frame']] = row
                continue
        except (ValueError, RecursionError):
            pass  # counted below
        notes.add('line', 'it is no revision of a frame', f'line {place} of {OBJECTS}')
    report(folder, notes)
    return last


def _is_record(row: Any) -> bool:
    whole = ('frame', 'revision', 'newest', 'stamp')
    return (
        isinstance(row, dict)
        and all(type(row.get(key)) is int and row[key] >= 0 for key in whole)
        and row['frame'] <= MAX_FRAMES
        and all(isinstance(row.get(key), list) for key in ('objects', 'withdrawn_ids'))
        and all(map(_is_object, row['objects']))
        and all(type(id_) is int for id_ in row['withdrawn_ids'])
        and 'final' in row
    )


def _is_object(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and type(row.get('id')) is int
        and type(row.get('class_id')) is int
        and isinstance(row.get('class_name'), str)
    )
