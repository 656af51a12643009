# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Message types by the library rosbags: those of ROS, those of detsam2_msgs, those of a bag."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, MessageDefinitionFormat
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from detsam2_ros.messages.pictures import label_fields
from detsam2_ros.messages.result_fields import FirstLabels, correction_fields, object_fields
from detsam2_ros.paths import shared_file
from detsam2_ros.results.frames import FrameResult

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
OBJECTS = 'detsam2_msgs/msg/ObjectArray'
CORRECTION = 'detsam2_msgs/msg/MaskCorrection'
COMPRESSED_CORRECTION = 'detsam2_msgs/msg/CompressedMaskCorrection'

_NO_HASH = 'RIHS01_' + 64 * '0'


def typestore() -> Typestore:
    """Return the types of ROS 2 and those of detsam2_msgs that a bag can hold."""
    store = get_typestore(Stores.ROS2_KILTED)
    for kind in (OBJECTS, CORRECTION, COMPRESSED_CORRECTION):
        file = shared_file(f'detsam2_msgs/msg/{kind.rpartition("/")[2]}.msg')
        store.register(get_types_from_msg(file.read_text(encoding='utf-8'), kind))
    return store


class Serializer:
    """Makes the bytes of the node's messages; headers are those of the image messages."""

    def __init__(self, store: Typestore):
        self._store = store

    def masks(self, header: Any, result: FrameResult) -> bytes:
        """Return a sensor_msgs/Image with a result's labels."""
        return self._bytes(IMAGE, header, label_fields(result.labels))

    def objects(self, header: Any, result: FrameResult) -> bytes:
        """Return the ObjectArray of a result."""
        return self._bytes(OBJECTS, header, object_fields(result))

    def correction(self, header: Any, result: FrameResult, first: FirstLabels) -> bytes:
        """Return the MaskCorrection from revision 0 to a result."""
        fields = correction_fields(result, first)
        types = self._store.types
        roi = types['sensor_msgs/msg/RegionOfInterest'](**fields.pop('roi'), do_rectify=False)
        patch = types[IMAGE](header=header, **fields.pop('patch'))
        objects = types[OBJECTS](header=header, **fields.pop('objects'))
        return self._bytes(
            CORRECTION, header, {**fields, 'roi': roi, 'patch': patch, 'objects': objects}
        )

    def _bytes(self, kind: str, header: Any, fields: dict[str, Any]) -> bytes:
        message = self._store.types[kind](header=header, **fields)
        return bytes(self._store.serialize_cdr(message, kind))


def find_definition(connection: Connection, store: Typestore) -> tuple[str, str] | None:
    """Return the definition of a topic's type and its hash; None if there is no definition.

    Old bags hold no definitions. Those of ROS itself are known here; others are searched for in
    the sourced workspaces.
    """
    kind, given = connection.msgtype, connection.msgdef
    if given.format is not MessageDefinitionFormat.NONE and given.data:
        return given.data, connection.digest or _hash(given.format, given.data, kind)
    if kind not in store.fielddefs:
        _learn(kind, store)
    try:
        return store.generate_msgdef(kind, ros_version=2)[0], store.hash_rihs01(kind)
    except Exception:  # any of rosbags' own errors for a type, or a part of it, that is unknown
        return None


def _hash(form: MessageDefinitionFormat, text: str, kind: str) -> str:
    """Return the hash of a definition; zeros where rosbags cannot parse the definition."""
    store = get_typestore(Stores.EMPTY)
    try:
        if form is MessageDefinitionFormat.MSG:
            store.register(get_types_from_msg(text, kind))
        else:
            for part in text.split(80 * '=' + '\n'):
                if part.strip():
                    store.register(get_types_from_idl(part.partition('\n')[2]))
        return store.hash_rihs01(kind)
    except Exception:  # the message is copied byte by byte, so its definition need not parse
        return _NO_HASH


def _learn(kind: str, store: Typestore, depth: int = 8) -> None:
    """Register a type from the workspaces that are sourced, with the types inside it."""
    package, _, name = kind.partition('/msg/')
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    for prefix in prefixes:
        file = Path(prefix, 'share', package, 'msg', f'{name}.msg')
        if file.is_file():
            found = get_types_from_msg(file.read_text(encoding='utf-8', errors='replace'), kind)
            store.register({k: v for k, v in found.items() if k not in store.fielddefs})
            for inner in _inside(found):
                if inner not in store.fielddefs and depth:
                    _learn(inner, store, depth - 1)
            return


def _inside(value: Any) -> set[str]:
    """Name the message types that definitions mention."""
    if isinstance(value, str):
        return {value} if '/msg/' in value else set()
    if isinstance(value, dict):
        return set().union(*(_inside(part) for part in value.values()), set())
    if isinstance(value, (tuple, list)):
        return set().union(*(_inside(part) for part in value), set())
    return set()
