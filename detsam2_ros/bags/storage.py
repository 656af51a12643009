# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The messages of a bag's files as one sequence: unpacked, and of ROS 2 only."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2 import Reader

from detsam2_ros.bags.errors import BagError
from detsam2_ros.bags.files import METADATA, PACKED, BagFiles
from detsam2_ros.bags.foreign import ForeignChannel, McapFile

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD = b'\x28\xb5\x2f\xfd'  # begins what zstd compressed; no serialized message begins so


class Storage:
    """The files of a bag, to be used as a context manager. Raises BagError."""

    def __init__(self, files: BagFiles):
        self._files = files
        self._stack = ExitStack()
        self._readers: list[tuple[Path, Reader, bool]] = []  # with whether the file is cut
        self._by_id: dict[tuple[int, int], int] = {}  # (reader, its id) -> place below
        self.connections: list[Connection] = []  # of all files; ids are 1, 2, ...
        self.foreign: list[ForeignChannel] = []  # that are not ROS 2, and are left out

    def __enter__(self) -> Storage:
        try:
            for path in self._files.storage:
                self._open(path)
            next(self.messages(self.connections), None)  # says what is wrong with all of them
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def messages(
        self, connections: Collection[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield messages in the order of the bag: topic, bag time in ns, content."""
        wanted = {connection.id for connection in connections}
        for number, (path, reader, is_cut) in enumerate(self._readers):
            own = [c for c in reader.connections if self._by_id.get((number, c.id)) in wanted]
            if not own:
                continue  # a reader takes none for all
            messages = reader.messages(own)
            while True:
                try:
                    found = next(messages, None)
                except Exception as error:  # a broken file fails in any of the libraries below
                    raise _unreadable(path, error, is_cut) from error
                if found is None:
                    break
                connection, time, data = found
                place = self._by_id[number, connection.id]
                yield self.connections[place - 1], time, self._unpack(path, data)

    def _open(self, path: Path) -> None:
        plain = self._unpacked(path)
        view: Any = plain  # a reader takes what can be opened as a path can
        is_cut = False
        try:
            if plain.suffix == '.mcap':
                view = McapFile(plain)
                is_cut = view.is_cut
                _check_profile(path, view)
                self.foreign += view.foreign
            else:
                _check_journal(path)
            reader = Reader(view)
            reader.open()
        except BagError:
            raise
        except Exception as error:  # as above
            raise _unreadable(path, error, is_cut) from error
        self._stack.callback(reader.close)
        self._readers.append((path, reader, is_cut))
        for connection in list(reader.connections):
            self._add(path, len(self._readers) - 1, connection)

    def _add(self, path: Path, number: int, connection: Connection) -> None:
        """Add a topic of a file, or join it with that of an earlier one."""
        topic, kind, ext = connection.topic, connection.msgtype, connection.ext
        if not isinstance(topic, str) or not isinstance(kind, str):
            raise _unreadable(path, ValueError('a topic has no name or no type'), False)
        assert isinstance(ext, ConnectionExtRosbag2)
        if ext.serialization_format != 'cdr':
            self.foreign.append(
                ForeignChannel(topic, ext.serialization_format, '', connection.msgcount))
            return
        for place, known in enumerate(self.connections):
            if (known.topic, known.msgtype, known.ext) == (topic, kind, ext):
                defined = known.msgdef.format is not MessageDefinitionFormat.NONE
                self.connections[place] = known._replace(
                    msgcount=known.msgcount + connection.msgcount,
                    msgdef=known.msgdef if defined else connection.msgdef)
                break
        else:
            place = len(self.connections)
            digest = connection.digest or self._files.hashes.get(topic, '')
            self.connections.append(connection._replace(id=place + 1, digest=digest))
        self._by_id[number, connection.id] = place + 1

    def _unpacked(self, path: Path) -> Path:
        """Return a file that can be read, unpacked to a temporary folder where needed."""
        if path.suffix != PACKED:
            return path
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix='detsam2_bag_')))
        made = folder / path.stem
        try:
            with zstd.open(path, 'rb') as packed, made.open('wb') as file:
                shutil.copyfileobj(packed, file, 1 << 20)
        except OSError as error:
            raise BagError(
                f'{path} cannot be unpacked to {folder.parent}: {error.strerror or error}; set '
                f'TMPDIR to a folder with room for it'
            ) from error
        except (zstd.ZstdError, EOFError) as error:
            raise BagError(
                f'{path} cannot be unpacked ({error}): it is damaged or cut; copy it once more'
            ) from error
        return made

    def _unpack(self, path: Path, data: bytes) -> bytes:
        """Return a message; compressed bytes must never pass for one."""
        is_packed = data[:4] == _ZSTD
        if is_packed and self._files.packed_messages:
            try:
                return bytes(zstd.decompress(data))
            except zstd.ZstdError as error:
                raise _unreadable(path, error, False) from error
        if is_packed and self._files.metadata is not None:
            raise BagError(
                f'{path} holds messages that zstd compressed, and {self._files.metadata} does not '
                f"say so; set 'compression_mode: MESSAGE' and 'compression_format: zstd' there"
            )
        if is_packed:
            raise BagError(
                f'{path} holds messages that zstd compressed; give the folder of the recording, '
                f'or put its {METADATA}, which says how, beside the file'
            )
        if self._files.packed_messages:
            raise BagError(
                f'{path} holds messages that are not compressed, and {self._files.metadata} says '
                f"that zstd compressed them; set 'compression_mode: NONE' there"
            )
        return data


def _check_profile(path: Path, file: McapFile) -> None:
    """Refuse a sound file without a topic of ROS 2, and say what it holds."""
    if file.profile == 'ros1' or (not file.has_ros2 and all(c.is_ros1 for c in file.foreign)):
        raise BagError(
            f"{path} holds messages of ROS 1; 'rosbags-convert --src OLD.bag --dst FOLDER' makes "
            f'a rosbag2 of the .bag file that it was made from'
        )
    if not file.is_readable:
        raise BagError(
            f"{path} has the profile {file.profile!r}, not 'ros2', and is not read for that; "
            f'write it with the profile ros2'
        )
    if not file.has_ros2:
        raise BagError(
            f'{path} holds no topic of ROS 2 (its profile is {file.profile!r}); it has '
            f'{", ".join(map(str, file.foreign))}'
        )


def _check_journal(path: Path) -> None:
    """Refuse a database whose last messages are in a journal, which a reader does not see."""
    journal = path.with_name(f'{path.name}-wal')
    if journal.is_file() and journal.stat().st_size:
        raise BagError(
            f"{path} was not closed, and {journal.name} holds its last messages; 'ros2 bag "
            f"reindex' makes it whole"
        )


def _unreadable(path: Path, error: Exception, is_cut: bool) -> BagError:
    reason = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
    if is_cut:
        hint = "its recording or a copy was broken off; 'mcap recover' saves what is there"
    elif isinstance(error, KeyError):
        hint = f'it uses {reason}, which the library rosbags does not know'
    elif path.name.removesuffix(PACKED).endswith('.db3'):
        hint = "it is damaged or was not closed; 'sqlite3 FILE .recover' can save it"
    else:
        hint = 'it is damaged; copy it once more from where it was recorded'
    return BagError(f'{path} cannot be read ({reason}): {hint}')
