# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Channels of an mcap file that are not ROS 2, hidden from a reader that knows ROS 2 only.

The library rosbags refuses a whole file for one schema of another kind, and for a profile other
than `ros2`. It reads the file that is shown to it here: of the same length, with the records of
foreign schemas and channels marked as those of an unknown kind, which every reader skips.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _STATISTICS = 3, 4, 11  # codes of records
_NOTHING = (0, 0, b'')
_UNKNOWN = b'\x80'  # the first operation code that is free for applications
_FOOTER_SIZE = 9 + 20 + len(MAGIC)
_PROFILE = b'ros2'
_SCHEMAS = ('ros2msg', 'ros2idl', 'omgidl', '')  # encodings of ROS 2


@dataclass(frozen=True)
class ForeignChannel:
    """A topic of an mcap that is not ROS 2."""

    topic: str
    encoding: str  # of messages, such as json
    schema: str  # encoding of the schema, such as jsonschema
    count: int  # messages

    @property
    def is_ros1(self) -> bool:
        """Whether it is a topic of ROS 1."""
        return 'ros1' in (self.encoding, self.schema) or self.schema == 'ros1msg'

    def __str__(self) -> str:
        return f'{self.topic} ({"ROS 1" if self.is_ros1 else self.encoding or self.schema})'


class McapFile:
    """An mcap file as a reader of ROS 2 can take it; stands for its path.

    Raises OSError. A file that is broken is shown as it is, for the reader to say so.
    """

    def __init__(self, path: Path):
        self.path = path
        self.suffix = path.suffix
        self.profile = _PROFILE.decode()
        self.foreign: list[ForeignChannel] = []
        self.has_ros2 = True  # whether any of its channels is ROS 2, or that is not known
        self.is_readable = True  # False: the profile is another one, and the record has no room
        self.is_cut = False  # it does not end as a file that was closed
        self._patches: list[tuple[int, bytes]] = []  # offset, what stands there instead
        with path.open('rb') as file:
            try:
                self._scan(file)
            except (struct.error, UnicodeDecodeError):
                self._patches, self.foreign, self.has_ros2 = [], [], True

    def exists(self) -> bool:
        """Return whether there is such a file."""
        return self.path.exists()

    def is_dir(self) -> bool:
        """Return False."""
        return False

    def open(self, mode: str) -> BinaryIO:
        """Open the file for reading."""
        if not self._patches:
            return self.path.open('rb')
        return io.BufferedReader(_Patched(self.path, self._patches))  # type: ignore[return-value]

    def __str__(self) -> str:
        return str(self.path)

    def _scan(self, file: BinaryIO) -> None:
        start = file.read(len(MAGIC))
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - len(MAGIC)))
        self.is_cut = size < len(MAGIC) + _FOOTER_SIZE or file.read() != MAGIC
        if self.is_cut or start != MAGIC:
            return
        file.seek(len(MAGIC))
        _, place, header = next(_records(file, size), _NOTHING)
        self._read_header(place, header)
        file.seek(size - _FOOTER_SIZE)
        _, _, footer = next(_records(file, size), _NOTHING)
        (summary,) = struct.unpack_from('<Q', footer)
        if summary:
            file.seek(summary)
            self._read_summary(file, size - _FOOTER_SIZE)

    def _read_header(self, place: int, header: bytes) -> None:
        """Note the profile; the reader is shown another one, at the expense of the library."""
        profile, rest = _text(header)
        library, rest = _text(rest)
        self.profile = profile.decode()
        spare = len(profile) + len(library) - len(_PROFILE)
        self.is_readable = profile == _PROFILE or spare >= 0
        if profile != _PROFILE and spare >= 0:
            names = (_PROFILE, (library + profile)[:spare])
            shown = b''.join(struct.pack('<I', len(name)) + name for name in names)
            self._patches.append((place, shown + rest))

    def _read_summary(self, file: BinaryIO, end: int) -> None:
        schemas = {0: ''}
        channels: dict[int, tuple[str, str, str]] = {}
        of_ros2 = 0
        counts: dict[int, int] = {}
        for code, place, data in _records(file, end):
            if code == _SCHEMA:
                (key,) = struct.unpack_from('<H', data)
                encoding = _text(_text(data[2:])[1])[0].decode()
                schemas[key] = encoding
                if encoding not in _SCHEMAS:
                    self._hide(place)
            elif code == _CHANNEL:
                key, schema = struct.unpack_from('<HH', data)
                topic, rest = _text(data[4:])
                found = topic.decode(), _text(rest)[0].decode(), schemas.get(schema, '')
                if found[1] == 'cdr' and found[2] in _SCHEMAS:
                    of_ros2 += 1
                else:
                    channels[key] = found
                    self._hide(place)
            elif code == _STATISTICS:
                counts = dict(struct.iter_unpack('<HQ', data[46:]))
        self.foreign = [
            ForeignChannel(*found, counts.get(key, 0)) for key, found in channels.items()]
        self.has_ros2 = of_ros2 > 0 or not channels

    def _hide(self, place: int) -> None:
        self._patches.append((place - 9, _UNKNOWN))


class _Patched(io.FileIO):
    """A file in which other bytes stand at some places."""

    def __init__(self, path: Path, patches: list[tuple[int, bytes]]):
        super().__init__(path, 'rb')
        self._patches = patches

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer, as io.RawIOBase does."""
        begin = self.tell()
        count = super().readinto(buffer) or 0
        for place, data in self._patches:
            first, last = max(place, begin), min(place + len(data), begin + count)
            if first < last:
                buffer[first - begin:last - begin] = data[first - place:last - place]
        return count


def _records(file: BinaryIO, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the records from here to an offset: code, place of the content, content."""
    while (place := file.tell() + 9) <= end:
        code, size = struct.unpack('<BQ', file.read(9))
        if place + size > end:
            raise struct.error('a record is longer than its file')
        yield code, place, file.read(size)


def _text(data: bytes) -> tuple[bytes, bytes]:
    """Return a text with its length before it, and what comes after."""
    (size,) = struct.unpack_from('<I', data)
    if 4 + size > len(data):
        raise struct.error('a text is longer than its record')
    return data[4 : 4 + size], data[4 + size :]
