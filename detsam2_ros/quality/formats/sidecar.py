# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What DAVIS and KITTI MOTS have no room for, in FOLDER.detsam2.json beside the folder.

It holds the size of each video, its frames, and which number stands for which id and class. Tools
that know the format alone do without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from detsam2_ros.media.tables import read_table
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.reading import MAX_FRAMES, MAX_ID, is_size


@dataclass
class VideoRecord:
    """A video as it was written."""

    name: str
    size: tuple[int, int]  # (height, width)
    frames: list[list[int]] = field(default_factory=list)  # first and last of each run
    objects: dict[int, tuple[int, int]] = field(default_factory=dict)  # number: id, class id

    def add_frame(self, number: int) -> None:
        """Note that a frame was written; numbers ascend."""
        if self.frames and self.frames[-1][1] == number - 1:
            self.frames[-1][1] = number
        else:
            self.frames.append([number, number])

    def numbers(self) -> Iterable[int]:
        """Yield the numbers of the frames."""
        for first, last in self.frames:
            yield from range(first, last + 1)


@dataclass
class Sidecar:
    """The videos by the names of their files, and the names of the classes."""

    videos: dict[str, VideoRecord] = field(default_factory=dict)
    class_names: dict[int, str] = field(default_factory=dict)


def sidecar_path(target: Path) -> Path:
    """Return the path of the file that belongs to a folder."""
    absolute = target.absolute()
    return absolute.with_name(f'{absolute.name}.detsam2.json')


def write_sidecar(
    target: Path, records: Mapping[str, VideoRecord], names: Mapping[int, str]
) -> None:
    """Write the file; raises OSError."""
    table = {
        'videos': [
            {
                'file': file,
                'name': record.name,
                'size': list(record.size),
                'frames': record.frames,
                'objects': [[number, *what] for number, what in record.objects.items()],
            }
            for file, record in records.items()
        ],
        'classes': [[number, name] for number, name in sorted(names.items())],
    }
    sidecar_path(target).write_text(json.dumps(table, ensure_ascii=False) + '\n', encoding='utf-8')


def _check(record: VideoRecord) -> None:
    """Raise ValueError for numbers that no video has."""
    if not is_size(*record.size):
        raise ValueError(f'size {record.size}')
    for first, last in record.frames:
        if not 0 <= first <= last < MAX_FRAMES:
            raise ValueError(f'frames {first} to {last}')
    for number, (id_, kind) in record.objects.items():
        if not (0 <= number <= MAX_ID and 1 <= id_ <= MAX_ID and 0 <= kind <= MAX_ID):
            raise ValueError(f'object {number}: {id_}, {kind}')


def read_sidecar(target: Path) -> Sidecar:
    """Read the file that belongs to a folder, an empty record if there is none.

    Raises InputError for a file that says something else.
    """
    path, found = sidecar_path(target), Sidecar()
    if not path.is_file():
        return found
    table = read_table(path, 'export')
    try:
        for row in table['videos']:
            (height, width), frames = map(int, row['size']), row['frames']
            record = VideoRecord(str(row['name']), (height, width))
            record.frames = [[int(first), int(last)] for first, last in frames]
            record.objects = {int(n): (int(i), int(kind)) for n, i, kind in row['objects']}
            _check(record)
            found.videos[str(row['file'])] = record
        found.class_names = {int(number): str(name) for number, name in table['classes']}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'{path} does not say what {target.name} beside it holds ({error!r:.80}); move it away'
        ) from error
    return found
