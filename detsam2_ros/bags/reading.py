# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag that is read: its topics, its messages in order, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection

from detsam2_ros.bags.errors import BagError
from detsam2_ros.bags.files import METADATA, find_files
from detsam2_ros.bags.storage import Storage
from detsam2_ros.bags.types import COMPRESSED, IMAGE, OBJECTS

PARTS = ('masks', 'objects', 'corrections')


@dataclass(frozen=True)
class ImageTopic:
    """A topic with images."""

    name: str
    count: int  # messages, as the bag states
    connections: tuple[Connection, ...]

    @property
    def camera(self) -> str:
        """The topic without the suffix /compressed, so raw and compressed images share it."""
        return self.name.removesuffix('/compressed')

    def output(self, part: str, under: str = '') -> str:
        """Return the name of the topic for one of PARTS."""
        return f'{under}{self.camera}/{part}'


class Bag:
    """A rosbag2, a folder or a file of it, to be used as a context manager.

    Raises BagError for a bag that cannot be read; the message says what to do.
    """

    def __init__(self, path: Path):
        self.path = path.parent if path.name == METADATA else path
        self._files = find_files(self.path)
        self._storage = Storage(self._files)

    def __enter__(self) -> Bag:
        self._storage.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._storage.__exit__()

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        return self._files.every

    @property
    def connections(self) -> list[Connection]:
        """The topics of ROS 2."""
        return self._storage.connections

    @property
    def notes(self) -> list[str]:
        """A sentence on what is left out: topics that are not ROS 2, other files of the bag."""
        left_out: dict[str, int] = {}
        for channel in self._storage.foreign:
            left_out[str(channel)] = left_out.get(str(channel), 0) + channel.count
        notes = [f'{channel} is left out ({count} messages): it is not ROS 2'
                 for channel, count in left_out.items()]
        if self._files.listed > len(self._files.storage):
            notes.append(f'{self.path} is one of {self._files.listed} files of a bag; give its '
                         f'folder for all of them')
        return notes

    def messages(
        self, connections: Collection[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield messages of topics in the order of the bag: topic, bag time in ns, content."""
        return self._storage.messages(connections)

    def image_topics(self, wanted: Sequence[str] | None) -> tuple[list[ImageTopic], list[str]]:
        """Return the topics to segment, by name, and a note on each topic left out.

        wanted: names. None takes every topic with images except depth, topics that a detsam2
        node published, and the compressed form of a camera whose raw form is in the bag.
        """
        by_name: dict[str, list[Connection]] = {}
        for connection in self.connections:
            by_name.setdefault(connection.topic, []).append(connection)
        topics = {
            name: ImageTopic(name, sum(c.msgcount for c in found), tuple(found))
            for name, every in sorted(by_name.items())
            if (found := [c for c in every if c.msgtype in (IMAGE, COMPRESSED)])
        }
        if wanted is not None:
            return self._named(wanted, by_name, topics), self.notes
        notes, chosen = self.notes, []
        for name, topic in topics.items():
            why = _left_out(topic, by_name)
            if why:
                notes.append(f'{name} is left out: {why}; --topics {name} takes it')
            else:
                chosen.append(topic)
        if not chosen:
            raise BagError(
                f'{self.path} has no topic with images to segment; it has {_list(by_name)}'
            )
        return chosen, notes

    def _named(
        self,
        wanted: Sequence[str],
        by_name: dict[str, list[Connection]],
        topics: dict[str, ImageTopic],
    ) -> list[ImageTopic]:
        names = [name if name.startswith('/') else f'/{name}' for name in wanted]
        for name in names:
            if name not in by_name:
                raise BagError(f'{self.path} has no topic {name}; it has {_list(by_name)}')
            if name not in topics:
                raise BagError(
                    f'{name} holds {by_name[name][0].msgtype}, not images; '
                    f'topics with images: {_list(topics)}'
                )
        chosen = [topics[name] for name in sorted(set(names))]
        cameras = [topic.camera for topic in chosen]
        for topic in chosen:
            if cameras.count(topic.camera) > 1:
                raise BagError(
                    f'{topic.camera} and {topic.camera}/compressed are the same pictures, and '
                    f'would have the same output topics; name one of them'
                )
        return chosen


def _left_out(topic: ImageTopic, by_name: dict[str, list[Connection]]) -> str | None:
    """Return why a topic with images is left out by default, None if it is segmented."""
    if topic.name.endswith('/compressedDepth'):
        return 'it holds depth'
    raw = by_name.get(topic.camera, []) if topic.name != topic.camera else []
    if any(connection.msgtype == IMAGE for connection in raw):
        return f'it holds the same pictures as {topic.camera}'
    parent, _, name = topic.camera.rpartition('/')
    published = name in ('masks', 'overlay')
    if published and any(c.msgtype == OBJECTS for c in by_name.get(f'{parent}/objects', [])):
        return 'a detsam2 node published it'
    return None


def _list(names: Collection[str]) -> str:
    return ', '.join(sorted(names)) or 'no topic at all'
