# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a bag with masks says of its frames, revision by revision.

The bag is one that segment_bag wrote, or a recording of a node's topics masks, objects and
corrections, plain or compressed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

# Frames back to which corrections are found, by far above what a node can keep. A timeline holds
# the label image of each.
_HISTORY = 200


def read_revisions(
    path: Path, sink: RevisionSink, notes: Notes, reach: int | None = None
) -> None:
    """Give what a bag says to a sink, one camera after the other.

    A video is called by the name of its topics, without /masks and the slash in front. A
    correction was made when the newest frame with objects was that before it in the bag.
    reach: of corrections, as in Recorder. Raises BagError for a bag without masks and objects.
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
    store, timeline = typestore(), MaskTimeline(length=_HISTORY)
    add: dict[str, Callable[[Any], TimelineFrame | None]] = {
        IMAGE: timeline.add_masks, COMPRESSED: timeline.add_masks, OBJECTS: timeline.add_objects,
        CORRECTION: timeline.add_correction, COMPRESSED_CORRECTION: timeline.add_correction,
    }  # fmt: skip
    for connection, _, data in bag.messages(connections):
        kind = connection.msgtype
        try:
            frame = add[kind](store.deserialize_cdr(data, kind))
        except Exception as error:  # a message can hold anything
            notes.add('message', 'it does not follow its definition',
                      f'{connection.topic}: {error!s:.120}')  # fmt: skip
            continue
        if frame is not None:
            recorder.take(frame)
        elif kind in (CORRECTION, COMPRESSED_CORRECTION):
            notes.add('correction', f'its frame is not among the last {_HISTORY} with masks',
                      connection.topic)  # fmt: skip
