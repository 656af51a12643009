# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which files a bag consists of, and how its metadata.yaml says that they are compressed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from detsam2_ros.bags.errors import BagError

METADATA = 'metadata.yaml'
PACKED = '.zstd'  # behind the name of a file that is compressed as a whole
_SUFFIXES = ('.mcap', '.db3')


@dataclass(frozen=True)
class BagFiles:
    """The files of a bag in the order of their messages."""

    storage: tuple[Path, ...]
    metadata: Path | None = None  # None: there is none that lists these files
    packed_messages: bool = False  # each message is compressed by zstd
    listed: int = 1  # files that the metadata list
    hashes: dict[str, str] = field(default_factory=dict)  # of message types, by topic

    @property
    def every(self) -> list[Path]:
        """All files that are read."""
        return [*self.storage, *([self.metadata] if self.metadata else [])]


def find_files(path: Path) -> BagFiles:
    """Return the files of a bag: those of a folder, or one file alone.

    Raises BagError for what is no bag, and for a folder that lacks some of its files.
    """
    if not path.exists():
        raise BagError(f'{path} does not exist')
    if not path.is_dir():
        return _one_file(path)
    metadata = path / METADATA
    there = sorted(entry.name for entry in path.iterdir() if _is_storage(entry))
    if not metadata.is_file():
        if not there:
            raise BagError(f'{path} cannot be read: it has no {METADATA}, no .mcap, no .db3')
        raise BagError(
            f"{path} has no {METADATA}, as after a recording that was broken off: 'ros2 bag "
            f"reindex' writes it; or give one of its files, such as {path / there[0]}"
        )
    found = _read(metadata)
    lost = [file.name for file in found.storage if not file.is_file()]
    if lost:
        raise BagError(
            f"{path} lacks {', '.join(lost)}, which its {METADATA} lists; copy it there, or let "
            f"'ros2 bag reindex' list what there is"
        )
    return found


def _one_file(path: Path) -> BagFiles:
    """Return a file of a bag, with what the metadata beside it say."""
    if path.suffix == '.bag':
        raise BagError(
            f"{path} is a bag of ROS 1; 'rosbags-convert --src {path.name} --dst FOLDER' makes a "
            f'rosbag2 of it'
        )
    if not _is_storage(path):
        raise BagError(
            f'{path} is no rosbag2: a folder, an .mcap or a .db3 file is needed, or one of these '
            f'with {PACKED} behind its name'
        )
    beside = path.parent / METADATA
    try:
        found = _read(beside)
    except BagError:  # none, or not of this file: its messages say themselves what they are
        return BagFiles((path,))
    if path.name not in [file.name for file in found.storage]:
        return BagFiles((path,))
    return BagFiles((path,), beside, found.packed_messages, found.listed, found.hashes)


def _is_storage(path: Path) -> bool:
    return Path(path.name.removesuffix(PACKED)).suffix in _SUFFIXES and not path.is_dir()


def _read(metadata: Path) -> BagFiles:
    """Return what a metadata.yaml says; raises BagError."""
    try:
        info = yaml.safe_load(metadata.read_text(encoding='utf-8'))['rosbag2_bagfile_information']
        names = [Path(name).name for name in info['relative_file_paths']]
        mode = str(info.get('compression_mode') or 'none').lower()
        form = info.get('compression_format') or ''
        topics = [entry['topic_metadata'] for entry in info['topics_with_message_count']]
        hashes = {topic['name']: topic.get('type_description_hash') or '' for topic in topics}
    except OSError as error:
        raise BagError(f'{metadata} cannot be read: {error.strerror or error}') from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BagError(
            f"{metadata} does not describe a rosbag2 ({_line(error)}); 'ros2 bag reindex' writes "
            f'it anew'
        ) from error
    if mode in ('file', 'message') and form != 'zstd':
        raise BagError(
            f"{metadata.parent} is compressed by {form!r}, of which only 'zstd' is known here; "
            f"'ros2 bag convert' writes it without"
        )
    files = tuple(_there(metadata.parent / name) for name in names)
    if not all(_is_storage(file) for file in files) or not files:
        raise BagError(
            f"{metadata.parent} is stored as {info.get('storage_identifier')!r}; only 'mcap' and "
            f"'sqlite3' are known here"
        )
    return BagFiles(files, metadata, mode == 'message', len(files), hashes)


def _there(file: Path) -> Path:
    """Return the unpacked file where somebody has unpacked it by hand."""
    plain = file.with_name(file.name.removesuffix(PACKED))
    return plain if plain.is_file() and not file.is_file() else file


def _line(error: Exception) -> str:
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text[:200]}'
