# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bags that are written: the results of one topic, and the whole output."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag2,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from detsam2_ros.bags.errors import BagError
from detsam2_ros.bags.reading import PARTS, Bag, ImageTopic
from detsam2_ros.bags.types import CORRECTION, IMAGE, OBJECTS, find_definition

_KINDS = dict(zip(PARTS, (IMAGE, OBJECTS, CORRECTION), strict=True))
_FOREVER = QosTime(2147483647, 4294967295)


def _offered(depth: int) -> list[Qos]:
    """Return the QoS that a player offers: reliable, as the node does."""
    return [
        Qos(
            QosHistory.KEEP_LAST,
            depth,
            QosReliability.RELIABLE,
            QosDurability.VOLATILE,
            _FOREVER,
            _FOREVER,
            QosLiveliness.AUTOMATIC,
            _FOREVER,
            False,
        )
    ]


@contextmanager
def _open(path: Path, storage: StoragePlugin, compress: bool) -> Iterator[Writer]:
    """Open a bag folder for writing; an OSError becomes a BagError."""
    try:
        writer = Writer(path, version=9, storage_plugin=storage)
        if compress and storage is StoragePlugin.MCAP:
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            yield writer
    except OSError as error:
        raise BagError(f'cannot write {path}: {error.strerror or error}') from error


class TopicBag:
    """The results of one topic as a bag of their own, while it is written; a Sink."""

    def __init__(
        self, writer: Writer, topic: ImageTopic, parts: Iterable[str], store: Typestore, depth: int
    ):
        self._writer = writer
        self._connections = {
            part: writer.add_connection(
                topic.output(part),
                _KINDS[part],
                typestore=store,
                offered_qos_profiles=_offered(depth),
            )
            for part in parts
        }

    def __call__(self, part: str, time: int, data: bytes) -> None:
        """Write a message."""
        self._writer.write(self._connections[part], time, data)


@contextmanager
def topic_bag(
    path: Path, topic: ImageTopic, parts: Iterable[str], store: Typestore, depth: int
) -> Iterator[TopicBag]:
    """Write the results of a topic to a new bag folder; raises BagError."""
    with _open(path, StoragePlugin.MCAP, True) as writer:
        yield TopicBag(writer, topic, parts, store, depth)


def write_output(
    path: Path,
    source: Bag | None,
    results: list[Bag],
    under: str,
    store: Typestore,
    sqlite: bool = False,
    compress: bool = True,
) -> list[str]:
    """Write the topics of a bag and the results to one bag folder, ordered by bag time.

    source: its topics are copied byte by byte; None: no topics but the results. under: put before
    the names of the results. Returns a note on each topic that could not be copied.
    """
    notes: list[str] = []
    with _open(path, StoragePlugin.SQLITE3 if sqlite else StoragePlugin.MCAP, compress) as writer:
        streams = []
        if source is not None:
            copied = _add_originals(writer, source, store, notes)
            streams.append(_rewired(source, copied, writer))
        for bag in results:
            made = {c.id: _add(writer, c, store, under + c.topic) for c in bag.connections}
            streams.append(_rewired(bag, {k: v for k, v in made.items() if v}, writer))
        for time, connection, data in heapq.merge(*streams, key=lambda message: message[0]):
            writer.write(connection, time, data)
    return notes


def _add_originals(
    writer: Writer, source: Bag, store: Typestore, notes: list[str]
) -> dict[int, Connection]:
    """Add the topics of a bag that can be copied; notes gets a sentence on each other topic."""
    made: dict[int, Connection] = {}
    same: dict[tuple[str, str, str], Connection] = {}
    for connection in source.connections:
        key = (connection.topic, connection.msgtype, str(connection.ext))
        if key not in same:
            added = _add(writer, connection, store, connection.topic)
            if added is None:
                notes.append(
                    f'{connection.topic} is not copied ({connection.msgcount} messages): neither '
                    f'the bag nor a sourced workspace has a definition of {connection.msgtype}'
                )
                continue
            same[key] = added
        made[connection.id] = same[key]
    return made


def _add(writer: Writer, connection: Connection, store: Typestore, name: str) -> Connection | None:
    definition = find_definition(connection, store)
    if definition is None:
        return None
    ext = connection.ext
    assert isinstance(ext, ConnectionExtRosbag2)
    return writer.add_connection(
        name,
        connection.msgtype,
        msgdef=definition[0],
        rihs01=definition[1],
        serialization_format=ext.serialization_format,
        offered_qos_profiles=ext.offered_qos_profiles,
    )


def _rewired(
    bag: Bag, connections: dict[int, Connection], writer: Writer
) -> Iterator[tuple[int, Connection, bytes]]:
    """Yield the messages of a bag for the connections of another one."""
    wanted = [c for c in bag.connections if c.id in connections]
    for connection, time, data in bag.messages(wanted):
        yield time, connections[connection.id], data


def sync(folder: Path) -> None:
    """Flush the files of a folder to the disk, so that a rename never shows half a file."""
    for path in sorted(folder.rglob('*')):
        if path.is_file():
            with path.open('rb') as file:
                os.fsync(file.fileno())
