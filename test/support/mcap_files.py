# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""mcap files with channels of any kind and any profile, as other recorders than rosbag2 write."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b'\x89MCAP0\r\n'


@dataclass(frozen=True)
class Channel:
    """A channel with its messages."""

    topic: str
    encoding: str  # of messages
    kind: str  # name of the schema
    schema: str  # encoding of the schema
    definition: bytes
    messages: Sequence[tuple[int, bytes]] = ()  # log time in ns, content


def write(path: Path, channels: Sequence[Channel], profile: str = 'ros2',
          library: str = 'a recorder') -> Path:
    """Write a file with one chunk, an index and a summary."""
    first = b''.join(_described(i, c) for i, c in enumerate(channels, 1))
    chunk, places, times = bytearray(first), {}, [0]
    for number, channel in enumerate(channels, 1):
        for time, data in channel.messages:
            places.setdefault(number, []).append((time, len(chunk)))
            times.append(time)
            chunk += _record(5, struct.pack('<HIQQ', number, 0, time, time) + data)
    begin, end = min(times[1:] or [0]), max(times)
    out = bytearray(_MAGIC + _record(1, _text(profile) + _text(library)))
    chunk_at = len(out)
    head = struct.pack('<QQQI', begin, end, len(chunk), 0) + _text('')
    out += _record(6, head + struct.pack('<Q', len(chunk)) + bytes(chunk))
    chunk_size, indices = len(out) - chunk_at, {}
    for number, entries in places.items():
        indices[number] = len(out)
        packed = b''.join(struct.pack('<QQ', *entry) for entry in entries)
        out += _record(7, struct.pack('<HI', number, len(packed)) + packed)
    offsets = b''.join(struct.pack('<HQ', *entry) for entry in indices.items())
    index = struct.pack('<QQQQI', begin, end, chunk_at, chunk_size, len(offsets)) + offsets
    index += struct.pack('<Q', len(out) - chunk_at - chunk_size) + _text('')
    index += struct.pack('<QQ', len(chunk), len(chunk))
    out += _record(15, bytes(4))
    summary = len(out)
    counts = b''.join(struct.pack('<HQ', i, len(e)) for i, e in places.items())
    out += first + _record(8, index) + _record(11, struct.pack(
        '<QHIIIIQQI', len(times) - 1, len(channels), len(channels), 0, 0, 1, begin, end,
        len(counts)) + counts)
    out += _record(2, struct.pack('<QQI', summary, 0, 0)) + _MAGIC
    path.write_bytes(bytes(out))
    return path


def _described(number: int, channel: Channel) -> bytes:
    schema = struct.pack('<H', number) + _text(channel.kind) + _text(channel.schema)
    schema += struct.pack('<I', len(channel.definition)) + channel.definition
    made = struct.pack('<HH', number, number) + _text(channel.topic) + _text(channel.encoding)
    return _record(3, schema) + _record(4, made + struct.pack('<I', 0))


def _record(code: int, content: bytes) -> bytes:
    return struct.pack('<BQ', code, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack('<I', len(text.encode())) + text.encode()
