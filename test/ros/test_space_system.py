# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera, the node detsam2 and the node detsam2_space: positions follow corrected masks."""

import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('visualization_msgs')

from node_graph import wait_until
from node_running import SECOND
from node_scenes import SIZE, steady_scene
from space_node import SpaceProcess, SpaceSide, camera_info, depth_message

pytestmark = pytest.mark.ros
pytest_plugins = ['node_fixtures']

HEIGHT, WIDTH = SIZE
FOCAL = 100.0
METHOD = {
    'window_size': 4, 'detect_interval': 4, 'max_propagation': 16, 'new_object_score': 0.3,
    'withdraw_detections': 2, 'max_lost_frames': 4,
}  # fmt: skip


def depth_of(index: int) -> float:
    return 1.0 + 0.05 * index


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_positions_follow_what_becomes_of_a_ghost(start, tmp_path: Path, mode: str) -> None:
    """Cyan is detected once and never again, so it is withdrawn from all frames."""
    node = start(**{**METHOD, 'mode': mode})
    folder = tmp_path / 'space'
    folder.mkdir()
    side = SpaceSide(node.graph, masked=False)
    process = SpaceProcess(
        node.graph, folder, detsam2=node.name, max_propagation=16, window_size=4,
        check_frame_id=False)
    try:
        side.wait_connected()
        for box in ('masks', 'objects', 'corrections'):
            publisher = f'{node.name}/{box}'
            wait_until(lambda p=publisher: node.graph.node.count_subscribers(p) == 2, publisher)
        process.settle(3.0)  # the graph knows of them before the publishers do
        info = camera_info(height=HEIGHT, width=WIDTH)
        info.k = [FOCAL, 0.0, WIDTH / 2, 0.0, FOCAL, HEIGHT / 2, 0.0, 0.0, 1.0]
        process.calibrate(side, info, lambda s: s['camera_info'] != '0')
        frames = steady_scene(28, 'red', 'cyan')
        for i, image in enumerate(frames):
            stamp = (i + 1) * SECOND
            values = np.full(SIZE, round(1000 * depth_of(i)), np.uint16)
            side.depth.publish(depth_message(values, stamp))
            node.camera.send(image, stamp)
            if i % 4 == 3:  # a window
                node.camera.objects.wait(i + 1)
                side.objects.wait(i + 1)
            if i == 3:
                assert all(r.successful for r in node.set(detector_confidence=0.5))
        node.finish()
        wait_until(
            lambda: len(side.corrections) == len(node.camera.corrections) > 0,
            'a correction in space for each of the masks')
        space, masks = side.timeline.frames(), node.camera.timeline.frames()
        assert [f.stamp for f in space] == [f.stamp for f in masks]
        assert any(f.revision for f in space) and any(f.withdrawn_ids for f in space)
        for index, (frame, known) in enumerate(zip(space, masks, strict=True)):
            assert (frame.mask_revision, frame.frame_id) == (known.revision, known.frame_id)
            assert {t.id for t in frame.objects} == {t.id for t in known.objects}
            assert set(frame.withdrawn_ids) == set(known.withdrawn_ids)
            for thing in frame.objects:
                rows, columns = np.nonzero(known.mask(thing.id))
                middle = (columns.mean() - WIDTH / 2, rows.mean() - HEIGHT / 2, FOCAL)
                wanted = np.multiply(middle, depth_of(index) / FOCAL)
                assert thing.position.centroid == pytest.approx(wanted, abs=0.002)
        process.check_books(28)
        process.process.end(signal.SIGINT)
    finally:
        process.process.kill()
