# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small recorded bags for tests, the engine they are segmented with, and bags read back."""

from pathlib import Path
from typing import Any

import cv2
import fakes
import numpy as np
import pytest

pytest.importorskip('rosbags', reason='needs the library rosbags')

from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer

from detsam2_ros.bags.types import COMPRESSED, IMAGE, typestore
from detsam2_ros.engine import Detector, Engine, EngineConfig
from detsam2_ros.messages.stamps import nanoseconds

SIZE = (160, 120)  # width, height
FRAMES = 13
START, STEP, DELAY = 1_700_000_000 * 10**9, 50_000_000, 3_000_000
STRING = 'std_msgs/msg/String'
STORE = typestore()
T = STORE.types
# M is too short to find out about objects: what is detected counts.
CONFIG = EngineConfig(
    window_size=3, detect_interval=6, max_propagation=6, mode='window', windows='plain',
    confirm_detections=0)


def drawn(index: int, late: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A red disc that moves, and from frame `late` on a green one that rests."""
    discs = [('red', 20 + 6 * index, 60, 14)]
    if index >= late:
        discs.append(('green', 120, 25, 12))
    return fakes.scene(*discs, size=size[::-1])


def header(stamp: int) -> Any:
    time = T['builtin_interfaces/msg/Time'](sec=stamp // 10**9, nanosec=stamp % 10**9)
    return T['std_msgs/msg/Header'](stamp=time, frame_id='optical')


def raw(image: np.ndarray, stamp: int, **changed: Any) -> bytes:
    height, width = image.shape[:2]
    fields = {
        'height': height, 'width': width, 'encoding': 'bgr8', 'is_bigendian': 0,
        'step': 3 * width, 'data': np.ascontiguousarray(image[..., ::-1]).reshape(-1), **changed,
    }  # fmt: skip
    return bytes(STORE.serialize_cdr(T[IMAGE](header=header(stamp), **fields), IMAGE))


def png(image: np.ndarray, stamp: int) -> bytes:
    data = cv2.imencode('.png', image[..., ::-1])[1].reshape(-1)
    made = T[COMPRESSED](header=header(stamp), format='bgr8; png compressed bgr8', data=data)
    return bytes(STORE.serialize_cdr(made, COMPRESSED))


def write(folder: Path, messages: list[tuple[str, str, int, bytes]], sqlite: bool = False) -> Path:
    """Write messages (topic, type, bag time, content) to a new bag folder."""
    plugin = StoragePlugin.SQLITE3 if sqlite else StoragePlugin.MCAP
    connections: dict[tuple[str, str], Any] = {}
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        for topic, kind, time, data in messages:
            if (topic, kind) not in connections:
                connections[topic, kind] = writer.add_connection(topic, kind, typestore=STORE)
            writer.write(connections[topic, kind], time, data)
    return folder


def two_cameras(frames: int = FRAMES) -> list[tuple[str, str, int, bytes]]:
    """A raw camera, where green comes late, a compressed one, and something else."""
    messages = []
    for index in range(frames):
        stamp = START + index * STEP
        text = bytes(STORE.serialize_cdr(T[STRING](data=f'word {index}'), STRING))
        messages += [
            ('/front/image_raw', IMAGE, stamp + DELAY, raw(drawn(index, late=4), stamp)),
            ('/rear/image/compressed', COMPRESSED, stamp + 2 * DELAY, png(drawn(index), stamp)),
            ('/words', STRING, stamp + 3 * DELAY, text),
        ]
    return messages


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return write(tmp_path / 'in', two_cameras()) / 'in.mcap'


def engine(config: EngineConfig = CONFIG, detector: Detector | None = None) -> Engine:
    if detector is not None:
        return Engine(fakes.colour_sam2(128), detector, config)
    return Engine(fakes.colour_sam2(128), fakes.ColourDetector(['red', 'green']), config)


def read(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """Return the messages of a bag by topic: bag time, message."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([path], default_typestore=STORE) as bag:
        for connection in bag.connections:
            found[connection.topic] = []
        for connection, time, data in bag.messages():
            found[connection.topic].append((time, bag.deserialize(data, connection.msgtype)))
    return found


def stamp_of(message: Any) -> int:
    return nanoseconds(message.header.stamp)


def final_labels(images: list[np.ndarray], config: EngineConfig = CONFIG) -> list[np.ndarray]:
    """Return the last labels of each image as the engine itself gives them."""
    stream = engine(config).open_stream('reference')
    results = [r for i, image in enumerate(images) for r in stream.push(image, i)]
    last = {result.index: result.labels for result in [*results, *stream.flush()]}
    return [last[index] for index in range(len(images))]
