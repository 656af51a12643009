# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""KITTI MOTS text files: a line 'frame id class height width rle' for each mask.

MOTSChallenge has such lines in SEQUENCE/gt/gt.txt, where frames count from 1.
"""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from detsam2_ros.media.coco_masks import to_mask
from detsam2_ros.media.folders import list_files
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.tables import read_lines
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.kitti_mots_out import IGNORE_CLASS
from detsam2_ros.quality.formats.label_folders import KITTI_CLASSES, restored
from detsam2_ros.quality.formats.reading import (
    MAX_FRAMES,
    MAX_ID,
    GrowingVideo,
    is_size,
    report,
)
from detsam2_ros.quality.formats.sidecar import Sidecar, read_sidecar
from detsam2_ros.quality.segments import Segment, SegmentedVideo
from detsam2_ros.results.masks import Mask

_LINE = re.compile(r'\s*' + 5 * r'(-?[0-9]{1,18})\s+' + r'(\S+)\s*', re.ASCII)
_SEQMAPS = '*.seqmap*'
_INSIDE = ('instances_txt',)
_CHALLENGE = ('gt/gt.txt', '*/gt/gt.txt')


def find_texts(root: Path) -> list[Path]:
    """Return the text files with lines of KITTI MOTS.

    Empty files count beside one that has such lines, or beside a seqmap.
    """
    if root.is_file():
        return [root]
    for folder in (root, *(root / name for name in _INSIDE)):
        files = list_files(folder, ('.txt',)) if folder.is_dir() else []
        if any(map(looks_right, files)) or (files and any(folder.glob(_SEQMAPS))):
            return [file for file in files if looks_right(file) or not file.stat().st_size]
    return [file for each in _CHALLENGE for file in sorted(root.glob(each)) if looks_right(file)]


def looks_right(file: Path) -> bool:
    """Return whether a file begins with a line of KITTI MOTS."""
    try:
        with file.open('rb') as stream:
            start = stream.readline(1 << 20).decode('utf-8-sig')
    except (OSError, UnicodeDecodeError):
        return False
    return bool(_LINE.fullmatch(start))


def read_texts(root: Path, files: list[Path]) -> list[SegmentedVideo]:
    """Read the text files of a folder, or one file.

    The text has no line for a frame without masks. So all frames are known from 0 to the last
    that the seqmap beside it (for MOTSChallenge the seqinfo.ini of the sequence), or else the
    text, names; unless our writer noted the frames. A file
    without any line is left out unless our writer noted its size. Lines that are no such
    lines are left out and counted. Raises InputError where nothing is left.
    """
    notes = Notes()
    folder = files[0].parent
    known, lasts = read_sidecar(folder), _seqmap(folder)
    videos = [
        video
        for file in files
        if (video := _read(file, known, lasts.get(file.stem, -1), notes)) is not None
    ]
    report(root, notes)
    if not videos:
        raise InputError(f"{root} has no line 'frame id class height width rle' that can be used")
    return videos


def _seqmap(folder: Path) -> dict[str, int]:
    """Return the last frame of each video that a seqmap beside the files names."""
    lasts: dict[str, int] = {}
    for file in sorted(folder.glob(_SEQMAPS)):
        for line in read_lines(file, 'seqmap'):
            name, *rest = line.split() or ['']
            if len(rest) >= 3 and rest[2].isdecimal() and len(rest[2]) < 9:
                lasts[name] = min(int(rest[2]), MAX_FRAMES - 1)
    return lasts


def _sequence(file: Path) -> Path | None:
    """Return the folder of a sequence of MOTSChallenge, None where a file is no truth of one."""
    folder = file.resolve().parent
    return folder.parent if (folder.name, file.name) == ('gt', 'gt.txt') else None


def _length(sequence: Path) -> int:
    """Return the number of frames of a sequence of MOTSChallenge, 0 where nothing says it."""
    info = configparser.ConfigParser(interpolation=None)
    try:
        info.read(sequence / 'seqinfo.ini', encoding='utf-8')
        return min(info.getint('Sequence', 'seqLength', fallback=0), MAX_FRAMES)
    except (configparser.Error, ValueError):  # then the text names the frames
        return 0


def _read(file: Path, known: Sidecar, last: int, notes: Notes) -> SegmentedVideo | None:
    record = known.videos.get(file.stem)
    name, start = file.stem, 0
    if (sequence := _sequence(file)) is not None:
        name, start, last = sequence.name, 1, _length(sequence) - 1
    video = None if record is None else GrowingVideo(name, record.size, notes)
    for place, line in enumerate(read_lines(file, 'KITTI MOTS file'), 1):
        found = _LINE.fullmatch(line)
        example = f'line {place} of {file.name}'
        if found is None:
            if line.strip():
                notes.add('line', "it is no 'frame id class height width rle'", example)
            continue
        number, id_, class_id, height, width = map(int, found.groups()[:5])
        if video is None and is_size(height, width):
            video = GrowingVideo(name, (height, width), notes)
        if video is None or (height, width) != video.size:
            notes.add('line', 'its image size is not that of the lines before', example)
        elif not start <= number < MAX_FRAMES:
            notes.add('line', f'its frame is not in {start}..{MAX_FRAMES - 1}', example)
        elif class_id != IGNORE_CLASS and not (1 <= id_ <= MAX_ID and class_id >= 0):
            notes.add('line', 'its id is below 1 or its class below 0', example)
        else:
            _take(video, (number - start, id_, class_id), found[6], example)
    if video is None:
        notes.add('file', 'it has no line, so its image size is unknown', file.name)
        return None
    if record is not None:
        for first, end in record.frames:
            video.add_frames(range(first, min(end, MAX_FRAMES) + 1))
    else:
        video.add_frames(range(max([last, *video.segments]) + 1))
    return restored(video.done(KITTI_CLASSES), file.stem, known)


def _take(video: GrowingVideo, what: tuple[int, int, int], runs: str, example: str) -> None:
    number, id_, class_id = what
    height, width = video.size
    coded = {'size': [height, width], 'counts': runs}
    pixels = to_mask(coded, (width, height), example, video.notes)
    if pixels is None:
        return
    if class_id == IGNORE_CLASS:
        video.ignore(number, Mask.of(pixels))
    else:
        video.add(number, Segment(id_, class_id, Mask.of(pixels)), example)
