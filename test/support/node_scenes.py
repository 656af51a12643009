# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Scenes for the system tests, and what an engine alone makes of them, to compare with."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fakes import disc
from node_colour import colour_engine
from node_control import DETECTING, Control
from node_graph import wait_until
from node_running import SECOND, CameraSide, RunningNode, stamp_of

from detsam2_ros.engine import EngineConfig, FrameResult
from detsam2_ros.engine.stream import Stream

SIZE = 64, 96  # height, width


def scene(
    count: int, colours: Sequence[str] = ('red', 'green', 'blue'), seed: int = 0,
    size: tuple[int, int] = SIZE,
) -> list[np.ndarray]:
    """Return frames of discs that move, vanish and return, so that many frames are corrected."""
    random = np.random.default_rng(seed)
    height, width = size
    starts = random.uniform(8, [width - 8, height - 8], (len(colours), 2))
    speeds = random.uniform(-2, 2, (len(colours), 2))
    shown = random.random((count, len(colours))) < 0.6
    frames = []
    for i in range(count):
        image = np.zeros((height, width, 3), np.uint8)
        for j, colour in enumerate(colours):
            if shown[i, j]:
                x, y = (starts[j] + i * speeds[j]) % [width, height]
                disc(image, colour, x, y, 7)
        frames.append(image)
    return frames


def steady_scene(count: int, *colours: str, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Return frames of discs side by side, all shown on each frame, moving by a pixel each."""
    frames = []
    for i in range(count):
        image = np.zeros((*size, 3), np.uint8)
        for j, colour in enumerate(colours):
            disc(image, colour, 10 + 15 * j, 12 + i % 32, 6)
        frames.append(image)
    return frames


def engine_stream(detecting: bool = True, **config: Any) -> Stream:
    """Open a stream of an engine without a node, with the parameters of the fixtures."""
    fixtures = {
        'mode': 'window', 'window_size': 4, 'detect_interval': 4, 'max_propagation': 12,
        'windows': 'plain',
    }  # fmt: skip
    method = {**fixtures, **config}
    return colour_engine(EngineConfig(**method), detecting=detecting).open_stream('camera')


def save_bank(path: Path, entries: int, *colours: str) -> None:
    """Save a bank of the colour model, of so many entries an object."""
    stream = engine_stream()
    for i, image in enumerate(steady_scene(8, *colours)):
        stream.push(image, i)
    stream.export_bank(entries).save(path)


def engine_results(
    frames: Iterable[tuple[int, np.ndarray]], closes_after: Collection[int] = (), **config: Any
) -> list[FrameResult]:
    """Return all results of (stamp, image) pairs shown to an engine without a node.

    closes_after: numbers of frames after which the unfinished window is closed, as at the end.
    """
    stream = engine_stream(**config)
    results = []
    for i, (stamp, image) in enumerate(frames):
        if i in closes_after:
            results += stream.flush()
        results += stream.push(image, stamp)
    return results + stream.flush()


def engine_streams(
    *streams: Sequence[tuple[int, np.ndarray]], **config: Any
) -> list[list[FrameResult]]:
    """Return the results of several streams after each other, the stream reset between them."""
    stream = engine_stream(**config)
    results = []
    for frames in streams:
        pushed = [result for stamp, image in frames for result in stream.push(image, stamp)]
        results.append(pushed + stream.flush())
        stream.reset()
    return results


def check_same(camera: CameraSide, *streams: Sequence[FrameResult]) -> None:
    """Check that a camera's messages say exactly what an engine's results do, in that order.

    streams: the results of one stream; more where the camera's stream started anew.
    """
    results = [result for stream in streams for result in stream]
    first = [result for result in results if result.revision == 0]
    later = [result for result in results if result.revision > 0]
    masks, objects = camera.masks.wait(len(first)), camera.objects.wait(len(first))
    corrections = camera.corrections.wait(len(later))
    assert [stamp_of(message) for message in masks] == [result.stamp for result in first]
    for message, arrays, result in zip(masks, objects, first, strict=True):
        assert message.header == arrays.header
        assert message.header.frame_id == camera.frame_id(result.stamp)
        assert message.encoding == 'mono16'
        np.testing.assert_array_equal(_labels(message), result.labels)
        check_objects(arrays, result)
    assert len(corrections) == len(later)
    for message, result in zip(corrections, later, strict=True):
        assert stamp_of(message) == result.stamp
        assert message.header.frame_id == camera.frame_id(result.stamp)
        assert (message.frame_index, message.revision) == (result.index, result.revision)
        assert message.final == result.final
        assert list(message.changed_ids) == list(result.changed_ids)
        assert list(message.withdrawn_ids) == list(result.withdrawn_ids)
        assert message.objects.header == message.header
        check_objects(message.objects, result)
    check_timeline(camera, streams[-1])


def finish_and_check(
    node: RunningNode, frames: Iterable[tuple[int, np.ndarray]],
    closes_after: Collection[int] = (), **config: Any,
) -> None:
    """Let the node close its last window; check that all was as with an engine alone."""
    node.finish()
    check_same(node.camera, engine_results(frames, closes_after, **config))


def two_cameras(
    node: RunningNode, ahead: int, rate: int = 1
) -> list[tuple[CameraSide, list[tuple[int, np.ndarray]]]]:
    """Send two scenes, interleaved and with the same stamps, to the cameras front and rear.

    ahead: so many frames may wait for masks. Returns each camera with its (stamp, image).
    """
    scenes = scene(26, seed=1), scene(19, seed=2, size=(48, 64))
    sent = [(node.cameras[name], list[tuple[int, np.ndarray]]()) for name in ('front', 'rear')]
    for i in range(26):
        for (camera, pairs), frames in zip(sent, scenes, strict=True):
            if i < len(frames):
                if i >= ahead:
                    camera.objects.wait(i + 1 - ahead)
                pairs.append(((i + 1) * SECOND // rate, frames[i]))
                camera.send(frames[i], pairs[-1][0])
    node.finish()
    return sent


def hold(
    node: RunningNode, control: Control, images: Iterable[np.ndarray], place: str = DETECTING,
    first: int = SECOND,
) -> list[tuple[int, np.ndarray]]:
    """Send images, and wait until inference is held at a place; returns (stamp, image)."""
    control.hold(place)
    pairs = node.camera.send_all(images, first)
    control.wait_held(place)
    return pairs


def check_timeline(camera: CameraSide, results: Sequence[FrameResult]) -> None:
    """Check that the timeline holds the last revision of each frame, pixel by pixel."""
    latest = {result.index: result for result in results}
    wait_until(lambda: len(camera.timeline) == len(latest), 'masks and objects of each frame')
    for result in latest.values():
        frame = camera.timeline.at(result.stamp)
        assert frame is not None and frame.revision == result.revision
        assert (frame.index, frame.frame_id) == (result.index, camera.frame_id(result.stamp))
        np.testing.assert_array_equal(frame.labels, result.labels)


def check_objects(message: Any, result: FrameResult) -> None:
    """Check that an ObjectArray lists a result's objects."""
    objects = result.objects
    assert (message.frame_index, message.revision) == (result.index, result.revision)
    assert message.final == result.final
    assert list(message.ids) == [o.id for o in objects]
    assert list(message.class_ids) == [o.class_id for o in objects]
    assert list(message.class_names) == [o.class_name for o in objects]
    assert np.allclose(message.scores, [o.score for o in objects], atol=1e-6)
    assert list(message.boxes) == [side for o in objects for side in (o.box or (0, 0, 0, 0))]
    assert list(message.visible) == [o.visible for o in objects]
    assert list(message.conditioned) == [o.conditioned for o in objects]
    assert list(message.states) == [o.state for o in objects]


def _labels(message: Any) -> np.ndarray:
    return np.frombuffer(message.data, np.uint16).reshape(message.height, message.width)
