# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The messages of detsam2_space on /diagnostics: what became of each depth image, and why."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode

from detsam2_ros.ros.space.camera import SpaceCamera
from detsam2_ros.space.books import Books, Unused
from detsam2_ros.words import counted

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
_MISSING = 0.2  # share of new frames without depth from which on it is worth a warning


class SpaceDiagnostics:
    """Publishes a DiagnosticArray with a status of the node and of each camera."""

    def __init__(self, node: LifecycleNode):
        self._node = node
        # Not a managed publisher: an inactive node reports that it is inactive.
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._before: dict[str, tuple[float, Books]] = {}

    def publish(self, state: str, problem: str, cameras: Iterable[SpaceCamera]) -> None:
        """Publish all; problem: why the last transition failed, '' if it did not."""
        name = self._node.get_fully_qualified_name()
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        level, message = (ERROR, problem) if problem else (OK, state)
        array.status.append(_status(name, level, message, [('state', state)]))
        for camera in cameras:
            title = f'{name}: {camera.name or "camera"}'
            array.status.append(self._camera_status(title, state, camera))
        self._publisher.publish(array)

    def _camera_status(self, title: str, state: str, camera: SpaceCamera) -> DiagnosticStatus:
        now, (books, frames, held_bytes) = time.monotonic(), camera.snapshot()
        then, before = self._before.get(camera.name, (now, Books()))
        self._before[camera.name] = now, books
        new = books.frames - before.frames
        level, message = OK, f'{state}: nothing is taken'
        if state == 'active':
            level, message = self._judge(camera, books, before)
        published = books.frames + books.corrections - before.frames - before.corrections
        seconds = max(now - then, 1e-6)
        return _status(title, level, message, [
            ('depth_topic', camera.depth.topic),
            ('depth_reliability', 'reliable' if camera.depth.reliable else 'best effort'),
            ('depth_rate_in_hz', f'{(books.received - before.received) / seconds:.1f}'),
            ('depth_lost', camera.depth.lost),
            ('depth_received', books.received),
            ('depth_used', books.used),
            ('depth_waiting', books.waiting),
            ('depth_unused', books.unused.total()),
            *((f'depth_unused_{w.value}', n) for w, n in _sorted(books)),
            ('camera_info', camera.calibrations),
            ('rate_out_hz', f'{new / seconds:.1f}'),
            ('frames', books.frames),
            ('corrections', books.corrections),
            ('frames_without_depth', books.without_depth),
            ('frames_without_camera_info', books.without_camera),
            ('frames_pushed_out', books.pushed_out),
            ('corrections_out_of_reach', books.out_of_reach),
            ('objects', books.objects),
            ('valid_objects', books.valid_objects),
            ('frames_in_reach', frames),
            ('depth_bytes', held_bytes),
            ('measure_ms', _milliseconds(books.seconds - before.seconds, published)),
        ])  # fmt: skip

    def _judge(self, camera: SpaceCamera, books: Books, before: Books) -> tuple[bytes, str]:
        """Return the level of a camera, and one sentence on its worst problem."""
        if camera.failure:
            return ERROR, f'a frame could not be placed: {camera.failure}'
        if camera.refusal:
            return WARN, camera.refusal
        for topic, what in (
            (camera.masks_topic, 'start the node detsam2, or name it in the parameter detsam2'),
            (camera.depth.topic, 'remap depth to the registered depth image of the camera'),
            (camera.info_topic, 'remap camera_info to that of the segmented image'),
        ):
            if not self._node.count_publishers(topic):
                return WARN, f'nobody publishes {topic}; {what}'
        if not camera.calibrations:
            return WARN, f'no message came on {camera.info_topic} yet, and nothing is placed'
        new = books.frames - before.frames
        missing = books.without_depth - before.without_depth
        crowded = Unused.CROWDED_OUT
        if new and (early := books.unused[crowded] - before.unused[crowded]):
            return WARN, (
                f'{counted(early, "depth image")} had to go before the masks of the frame came; '
                'raise max_waiting_depth, or lower the rate of depth')
        if new and missing > _MISSING * new:
            return WARN, (
                f'{missing} of {counted(new, "frame")} had no depth image; depth must have the '
                'stamp of the image, or one within max_stamp_difference, and come within '
                'max_depth_delay')
        objects = books.objects - before.objects
        if objects and books.valid_objects == before.valid_objects:
            return WARN, (
                f'none of {counted(objects, "object")} on {counted(new, "frame")} has a position; '
                'reason in objects_3d says why: look at the depth image, and whether camera_info '
                'is that of this camera')
        return OK, 'objects are placed'


def _sorted(books: Books) -> list[tuple[Unused, int]]:
    return sorted(books.unused.items(), key=lambda pair: pair[0].value)


def _milliseconds(seconds: float, count: int) -> str:
    return f'{1000 * seconds / count:.2f}' if count else ''


def _status(
    name: str, level: bytes, message: str, values: Sequence[tuple[str, object]]
) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values]
    return DiagnosticStatus(name=name, level=level, message=message, values=pairs)
