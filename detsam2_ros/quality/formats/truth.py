# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which format a path holds, by its content."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.kitti_mots import find_texts, read_texts
from detsam2_ros.quality.formats.label_folders import find_videos, is_kitti, read_folders
from detsam2_ros.quality.formats.reading import is_run
from detsam2_ros.quality.formats.scene import PREFIXES, read_scene
from detsam2_ros.quality.formats.youtube_vis import read_json
from detsam2_ros.quality.formats.youtube_vis_out import INSTANCES
from detsam2_ros.quality.segments import SegmentedVideo

FORMATS = ('davis', 'kitti-mots', 'youtube-vis')
_KNOWN = (
    'DAVIS or other label images (PNG), KITTI MOTS (PNG or text), a YouTube-VIS JSON file, or '
    'scene:SEED'
)


def read_truth(path: Path | str, format: str = 'auto') -> list[SegmentedVideo]:
    """Read the videos of a truth: DAVIS, KITTI MOTS, YouTube-VIS, or a rendered scene.

    format: 'auto', or one of FORMATS. Raises InputError.
    """
    if format not in ('auto', *FORMATS):
        raise InputError(f'there is no format {format!r}; give auto or {", ".join(FORMATS)}')
    if str(path).startswith(PREFIXES):
        if format != 'auto':
            raise InputError(f'{path} is a rendered scene and not {format}; leave the format out')
        return [read_scene(str(path))]
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f'truth {path} does not exist')
        if not (path.is_file() or path.is_dir()):
            raise InputError(f'truth {path} is neither a file nor a folder')
        return _read(path, format)
    except OSError as error:  # a folder without permission, links in a circle
        raise InputError(f'truth {path} cannot be read: {error.strerror or error}') from error


def _read(path: Path, format: str) -> list[SegmentedVideo]:
    if is_run(path):
        raise InputError(
            f'{path} is what segment_video wrote, and no truth; if it is the results, name it '
            f'first, and if masks are to serve as a truth, give those of --export'
        )
    if format in ('auto', 'kitti-mots') and path.suffix != '.json':
        files = find_texts(path) if path.is_dir() or path.suffix == '.txt' else []
        if files:
            return read_texts(path, files)
    if format in ('auto', 'davis', 'kitti-mots') and path.is_dir():
        videos = find_videos(path)
        if videos:
            kitti = format == 'kitti-mots' or (format == 'auto' and is_kitti(videos))
            return read_folders(path, videos, kitti)
    if format in ('auto', 'youtube-vis'):
        file = path if path.suffix.lower() == '.json' else _json(path)
        if file is not None:
            return read_json(file)
    wanted = _KNOWN if format == 'auto' else f'a truth as {format}'
    raise InputError(f'{path} is not {wanted}; it {_content(path)}')


def _json(path: Path) -> Path | None:
    """Return the JSON file of a folder, if there is one that it can be."""
    files = sorted(path.glob('*.json')) if path.is_dir() else []
    named = [file for file in files if file.name == INSTANCES]
    files = named or files
    return files[0] if len(files) == 1 and files[0].is_file() else None


def _content(path: Path) -> str:
    if not path.is_dir():
        return f'is a file of type {path.suffix!r}' if path.suffix else 'is a file without type'
    entries = sorted(path.iterdir())
    if not entries:
        return 'is an empty folder'
    kinds = Counter('folder' if entry.is_dir() else entry.suffix or 'other' for entry in entries)
    return 'holds ' + ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(5))
