# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""When a silent camera is explained, and what is said while little is known."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip('rclpy')
from rclpy.qos import QoSProfile, ReliabilityPolicy

from detsam2_ros.ros import silence_watch
from detsam2_ros.ros.silence import IMAGE
from detsam2_ros.ros.silence_watch import SilenceWatch
from detsam2_ros.runtime.accounting import FrameAccounts

STALE = 3.0  # seconds


class Camera:
    """A watch, with the time, the graph and the log in the hands of the test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.publishers: list[Any] = []
        self.logged: list[str] = []
        log = SimpleNamespace(warning=self.logged.append, info=self.logged.append)
        self.subscription = SimpleNamespace(
            topic='/cam', type_name=IMAGE, reliable=False, decided_by='image_reliability', lost=0,
            changed_at=0.0, publishers=lambda: self.publishers)
        node: Any = SimpleNamespace(
            get_logger=lambda: log, publishers=[], get_topic_names_and_types=lambda: [])
        subscription: Any = self.subscription
        self.watch = SilenceWatch(node, '~/image', subscription, FrameAccounts())

    def publisher(self, name: str = 'driver', number: int = 1) -> Any:
        return SimpleNamespace(
            node_name=name, node_namespace='/', topic_type=IMAGE, endpoint_gid=[number],
            qos_profile=QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE))

    def look_until(self, end: float) -> list[str]:
        """Look twice a second; returns what was logged meanwhile."""
        before = len(self.logged)
        while self.now < end:
            self.now += 0.5
            self.watch.look(STALE)
        return self.logged[before:]


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Iterator[Camera]:
    made = Camera()
    monkeypatch.setattr(silence_watch, 'time', SimpleNamespace(monotonic=lambda: made.now))
    made.watch.start()
    yield made


def test_a_camera_that_starts_late_has_time_to_be_received(camera: Camera) -> None:
    (line,) = camera.look_until(5.0)
    assert line.startswith('nobody publishes /cam')
    camera.publishers = [camera.publisher()]
    assert camera.watch.sentence(STALE) == ''  # as /diagnostics asks
    assert camera.look_until(7.5) == []
    camera.subscription.changed_at = 7.5
    assert camera.look_until(10.0) == []
    (line,) = camera.look_until(11.0)
    assert line.startswith('nothing arrives on /cam')
    camera.watch.use()
    assert camera.look_until(11.5) == ['images arrive on /cam']


def test_a_publisher_without_a_name_is_a_publisher(camera: Camera) -> None:
    camera.publishers = [camera.publisher('_NODE_NAME_UNKNOWN_')]
    (line,) = camera.look_until(4.0)
    assert 'which a publisher offers reliably' in line


def test_a_refusal_that_the_log_holds_is_not_repeated(camera: Camera) -> None:
    camera.publishers = [camera.publisher()]
    camera.watch.refuse('it is too dark.', reported=True)
    assert camera.look_until(4.0) == ['the images on /cam are refused: an error above says why']
    assert camera.watch.sentence(STALE) == 'the images on /cam are refused: it is too dark'
