# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a bag with masks says of its frames, revision by revision.

The bag is one that segment_bag wrote, or a recording of a node's topics masks, objects and
corrections, plain or compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection

from detsam2_ros.bags.errors import BagError
from detsam2_ros.bags.reading import Bag
from detsam2_ros.bags.types import (
    COMPRESSED,
    COMPRESSED_CORRECTION,
    CORRECTION,
    IMAGE,
    OBJECTS,
    typestore,
)
from detsam2_ros.client import MaskTimeline, TimelineFrame
from detsam2_ros.client.recorder import Recorder
from detsam2_ros.media.notes import Notes
from detsam2_ros.quality.formats.sinks import RevisionSink

_CORRECTIONS = (CORRECTION, COMPRESSED_CORRECTION)
_HISTORY = 200  # frames that corrections may reach back; a timeline holds the labels of each


def read_revisions(
    path: Path,
    sink: RevisionSink,
    notes: Notes,
    reach: int | None = None,
    wanted: Collection[str] | None = None,
) -> None:
    """Give what a bag says to a sink, one camera after the other.

    A video is called by the name of its topics, without /masks and the slash in front. A
    correction was made when the newest frame was the last one before it in the bag, or at its
    time. First masks were made when their frame was the newest, which segment_bag in mode window
    does not keep better: there they come at the end of a window.
    reach: of corrections, as in Recorder. wanted: topics without /masks; None takes every one.
    Raises BagError for a bag without masks and objects.
    """
    with Bag(path) as bag:
        cameras = _cameras(bag.connections)
        if not cameras:
            names = ', '.join(sorted({c.topic for c in bag.connections})) or 'no topic at all'
            raise BagError(
                f'{path} has no topics masks and objects of one camera, as segment_bag writes '
                f'them; it has {names}'
            )
        for camera, connections in cameras.items():
            if wanted is not None and camera not in wanted:
                continue
            name = camera.strip('/').replace('/', '_') or 'camera'
            recorder = Recorder(name, sink, reach, notes)
            _replay(bag, connections, recorder, notes)
            recorder.end()


def _cameras(connections: Sequence[Connection]) -> dict[str, list[Connection]]:
    """Return the topics of each camera that has masks and objects, in the order of the names."""
    kinds = {
        'masks': (IMAGE,), 'masks/compressed': (COMPRESSED,), 'objects': (OBJECTS,),
        'corrections': (CORRECTION,), 'corrections/compressed': (COMPRESSED_CORRECTION,),
    }  # fmt: skip
    found: dict[str, dict[str, list[Connection]]] = {}
    for connection in connections:
        for part, allowed in kinds.items():
            if connection.topic.endswith(f'/{part}') and connection.msgtype in allowed:
                camera = connection.topic.removesuffix(part)
                found.setdefault(camera, {}).setdefault(part, []).append(connection)
    cameras = {}
    for camera, parts in sorted(found.items()):
        for part in ('masks', 'corrections'):
            if part in parts:  # the compressed topic says the same
                parts.pop(f'{part}/compressed', None)
        if 'objects' in parts and ('masks' in parts or 'masks/compressed' in parts):
            cameras[camera.rstrip('/')] = [c for part in parts.values() for c in part]
    return cameras


def _replay(bag: Bag, connections: list[Connection], recorder: Recorder, notes: Notes) -> None:
    store, timeline = typestore(), MaskTimeline(length=_HISTORY, max_lag=_HISTORY)
    add: dict[str, Callable[[Any], TimelineFrame | None]] = {
        IMAGE: timeline.add_masks, COMPRESSED: timeline.add_masks, OBJECTS: timeline.add_objects,
        CORRECTION: timeline.add_correction, COMPRESSED_CORRECTION: timeline.add_correction,
    }  # fmt: skip
    newest = -1
    for connection, data in _in_order(bag, connections):
        kind, topic = connection.msgtype, connection.topic
        try:
            message: Any = store.deserialize_cdr(data, kind)
            frame = add[kind](message)
        except Exception as error:  # a message can hold anything
            notes.add('message', 'it does not follow its definition', f'{topic}: {error!s:.120}')
            continue
        if frame is not None:
            recorder.take(frame)
        if kind == OBJECTS:
            newest = int(message.frame_index)
        elif kind in _CORRECTIONS:
            index = int(getattr(message, 'correction', message).frame_index)
            if frame is None and newest - index >= _HISTORY:
                notes.add('correction', f'it reaches back {_HISTORY} frames or more', topic)


def _in_order(bag: Bag, connections: list[Connection]) -> Iterator[tuple[Connection, bytes]]:
    """Yield messages in the order of the bag; of those of one time, corrections come last.

    segment_bag gives a correction the time of the newest frame at that moment.
    """
    for _, same in groupby(bag.messages(connections), key=lambda message: message[1]):
        for connection, _, data in sorted(same, key=lambda m: m[0].msgtype in _CORRECTIONS):
            yield connection, data
