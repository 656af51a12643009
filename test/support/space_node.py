# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A node detsam2_space under test, and the camera and the masks that it is given."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from client_cases import correction, fill, masks, objects
from diagnostic_msgs.msg import DiagnosticArray
from node_graph import Graph, wait_until
from node_process import NodeProcess
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from space_cases import FOCAL, SIZE

from detsam2_msgs.msg import MaskCorrection, Object3DArray, ObjectArray
from detsam2_ros.client import SpaceTimeline
from detsam2_ros.results.space import SpaceFrame

MASKS, SPACE = '/detsam2', '/detsam2_space'
STEP = 100_000_000


def camera_info(**changes: Any) -> CameraInfo:
    """Make the calibration of space_cases.MODEL."""
    message = CameraInfo(height=SIZE[0], width=SIZE[1], distortion_model='plumb_bob')
    message.k = [FOCAL, 0.0, 39.5, 0.0, FOCAL, 29.5, 0.0, 0.0, 1.0]
    message.header.frame_id = 'camera'
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def depth_message(values: np.ndarray, stamp: int, encoding: str = '16UC1') -> Image:
    """Make a depth image; values: uint16 or float32 [H, W]."""
    message = Image(
        height=values.shape[0], width=values.shape[1], encoding=encoding,
        step=values.shape[1] * values.itemsize, data=values.tobytes())
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
    message.header.frame_id = 'camera'
    return message


class SpaceSide:
    """One camera of the node: publishers of all that it takes, and what comes out.

    masked: also of masks, objects and corrections, as a node /detsam2.
    """

    def __init__(
        self, graph: Graph, camera: str = '', transport: str = '', masked: bool = True
    ):
        below = f'/{camera}' if camera else ''
        self.timeline = SpaceTimeline()
        self.objects, self.corrections = (
            graph.inbox(Object3DArray, f'{SPACE}{below}/{topic}', callback=self.timeline.add)
            for topic in ('objects_3d', 'corrections_3d')
        )
        kind = CompressedImage if transport else Image
        self.depth = graph.publisher(kind, f'{SPACE}{below}/depth{transport}')
        self.info = graph.publisher(CameraInfo, f'{SPACE}{below}/camera_info')
        self.publishers = {
            topic: graph.publisher(kind, f'{MASKS}{below}/{topic}')
            for topic, kind in (
                ('masks', Image), ('objects', ObjectArray), ('corrections', MaskCorrection))
            if masked
        }

    def wait_connected(self) -> None:
        """Wait until everything has found everything."""
        for publisher in (self.depth, self.info, *self.publishers.values()):
            wait_until(publisher.get_subscription_count, f'a subscriber of {publisher.topic_name}')
        for box in (self.objects, self.corrections):
            wait_until(box.subscription.get_publisher_count, 'publishers of the node')

    def send(self, topic: str, source: Any) -> None:
        message = self.publishers[topic].msg_type()
        fill(message, source)
        message.header.frame_id = 'camera'
        if topic == 'corrections':
            message.objects.header.frame_id = 'camera'
        self.publishers[topic].publish(message)

    def send_frame(self, index: int, labels: np.ndarray, **options: Any) -> None:
        """Publish masks and objects of a frame, with the stamp index * STEP."""
        ids = tuple(np.unique(labels[labels > 0]).tolist())
        self.send('masks', masks(labels, index * STEP))
        self.send('objects', with_boxes(objects(index * STEP, index, ids, **options), labels))

    def send_correction(
        self, first: np.ndarray, after: np.ndarray, index: int, withdrawn: tuple[int, ...] = ()
    ) -> None:
        ids = tuple(np.unique(after[after > 0]).tolist())
        made = correction(first, after, index * STEP, index, ids=ids)
        made.objects = with_boxes(made.objects, after)
        made.changed_ids, made.withdrawn_ids = sorted({*ids, *withdrawn}), list(withdrawn)
        self.send('corrections', made)

    def send_depth(self, index: int, metres: float) -> None:
        values = np.full(SIZE, round(1000 * metres), np.uint16)
        self.depth.publish(depth_message(values, index * STEP))

    def frame(self, index: int, revision: int = 0) -> SpaceFrame:
        """Wait for a frame of at least a revision."""
        def found() -> SpaceFrame | None:
            frame = self.timeline.at(index * STEP)
            return frame if frame is not None and frame.revision >= revision else None

        return wait_until(found, f'frame {index}, revision {revision}')


def with_boxes(message: Any, labels: np.ndarray) -> Any:
    """Give the objects of a message the boxes that they have in labels."""
    from detsam2_ros.results.masks import mask_box

    boxes: list[float] = []
    for id_ in message.ids:
        boxes += map(float, mask_box(labels == id_) or (0, 0, 0, 0))
    message.boxes = boxes
    return message


class SpaceProcess:
    """The node as a process of its own, with its diagnostics."""

    def __init__(self, graph: Graph, folder: Path, **parameters: Any):
        self.graph = graph
        self.statuses = graph.inbox(DiagnosticArray, '/diagnostics')
        self.process = NodeProcess(
            folder,
            command=[sys.executable, '-m', 'detsam2_ros.ros.space.node'],
            parameters={
                'diagnostics_period': 0.1, 'window_size': 5, 'max_propagation': 15,
                'depth_reliability': 'reliable', **parameters,
            },
        )

    def status(
        self, wanted: Any = lambda status: True, camera: str = 'camera'
    ) -> Mapping[str, str]:
        """Wait for a status of a camera, from now on, that a function accepts."""
        start, found = len(self.statuses) + 1, []

        def accepts(message: Any) -> bool:
            for status in message.status:
                if status.name == f'{SPACE}: {camera}':
                    values = {pair.key: pair.value for pair in status.values}
                    found[:] = [{**values, 'message': status.message, 'level': status.level[0]}]
                    return bool(wanted(found[0]))
            return False

        self.statuses.wait_for(accepts, start)
        return found[0]

    def check_books(self, sent: int, camera: str = 'camera') -> Mapping[str, str]:
        """Wait until all depth images arrived; each is accounted for."""
        status = self.status(lambda s: s['depth_received'] == str(sent), camera)
        counts = {k: int(v) for k, v in status.items() if str(v).isdigit()}
        reasons = sum(n for k, n in counts.items() if k.startswith('depth_unused_'))
        assert counts['depth_unused'] == reasons
        fates = (counts[f'depth_{name}'] for name in ('used', 'waiting', 'unused'))
        assert sent == sum(fates), status
        return status

    def calibrate(
        self, side: SpaceSide, info: CameraInfo, wanted: Any, camera: str = 'camera'
    ) -> None:
        """Publish a calibration, as drivers do with each image, until a status is as wanted."""
        deadline = time.monotonic() + 60
        while not wanted(self.status(camera=camera)):
            assert time.monotonic() < deadline, self.status(camera=camera)
            side.info.publish(info)

    def settle(self, seconds: float = 0.3) -> None:
        time.sleep(seconds)
