# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A node under test and all that a test does with it: images, masks, services, lifecycle."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from node_graph import Graph, Inbox, wait_until
from node_process import NodeProcess
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.qos import QoSProfile
from ros_cases import image_of
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from detsam2_msgs.msg import MaskCorrection, ObjectArray
from detsam2_ros.client import MaskTimeline
from detsam2_ros.messages.stamps import nanoseconds

TRANSITIONS = {'configure': 1, 'cleanup': 2, 'activate': 3, 'deactivate': 4}
SHUTDOWN = {'unconfigured': 5, 'inactive': 6, 'active': 7}
SECOND = 1_000_000_000


def stamp_of(message: Any) -> int:
    """Return the stamp of a message in nanoseconds."""
    return nanoseconds(message.header.stamp)


class CameraSide:
    """One camera of the node as its users see it: a publisher of images, and what comes out.

    parent: full name of what its topics are under. qos: of the publisher. keep: so many messages
    of each topic, None all. image_topic: of raw images, '' the node's own.
    """

    def __init__(
        self, graph: Graph, parent: str, qos: QoSProfile, compressed: bool = False,
        keep: int | None = None, image_topic: str = '',
    ):
        self.input_topic = (image_topic or f'{parent}/image') + '/compressed' * compressed
        self.sent: list[int] = []  # stamps, and all else that was published
        self.frames: dict[int, np.ndarray] = {}  # by stamp
        self.timeline = MaskTimeline(length=keep or 100_000)
        self.masks, self.objects, self.corrections = (
            graph.inbox(kind, f'{parent}/{topic}', callback=add, keep=keep)
            for kind, topic, add in (
                (Image, 'masks', self.timeline.add_masks),
                (ObjectArray, 'objects', self.timeline.add_objects),
                (MaskCorrection, 'corrections', self.timeline.add_correction),
            )
        )
        self.publisher = graph.publisher(
            CompressedImage if compressed else Image, self.input_topic, qos)
        self.expected_drops: dict[str, int] | None = {}  # None: any
        self._earlier = 0, 0  # objects and corrections of sessions that were cleaned up

    def forget_counts(self) -> None:
        """The node was cleaned up, and so counts from 0 again."""
        self.sent.clear()
        self._earlier = len(self.objects), len(self.corrections)

    def check_messages(self, published: int, corrections: int) -> None:
        """Check that as many messages came as the node counts."""
        for box, earlier, count in zip(
            (self.objects, self.corrections), self._earlier, (published, corrections), strict=True
        ):
            box.wait(earlier + count)
            assert len(box) == earlier + count

    def frame_id(self, stamp: int) -> str:
        """Return the frame id that `send` gives an image: each has its own."""
        return f'frame {stamp % 977}'

    def send(self, image: np.ndarray, stamp: int) -> None:
        """Publish an image, uint8 [H, W, 3]."""
        self.frames[stamp] = image
        self.send_message(image_of('rgb8', image), stamp)

    def send_message(self, message: Any, stamp: int) -> None:
        """Publish a message, with this stamp and a frame id."""
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, SECOND)
        message.header.frame_id = self.frame_id(stamp)
        self.sent.append(stamp)
        self.publisher.publish(message)

    def send_all(
        self, images: Iterable[np.ndarray], first: int = SECOND, step: int = SECOND
    ) -> list[tuple[int, np.ndarray]]:
        """Publish images, stamped `step` nanoseconds apart; returns (stamp, image) of each."""
        pairs = [(first + i * step, image) for i, image in enumerate(images)]
        for stamp, image in pairs:
            self.send(image, stamp)
        return pairs

    def stream(
        self, images: Sequence[np.ndarray], first: int = SECOND, step: int = SECOND // 10,
        ahead: int = 8,
    ) -> list[int]:
        """Publish images as fast as masks come; `ahead` frames, K or more, may wait for theirs.

        Returns the stamps, `step` nanoseconds apart.
        """
        stamps = [first + i * step for i in range(len(images))]
        before = len(self.objects)
        for i, (image, stamp) in enumerate(zip(images, stamps, strict=True)):
            if i >= ahead:
                self.objects.wait(before + i + 1 - ahead)
                self.masks.wait(before + i + 1 - ahead)
            self.send(image, stamp)
        return stamps


class RunningNode:
    """A node process with its cameras; made by the fixture `start`."""

    def __init__(
        self, graph: Graph, process: NodeProcess, name: str, cameras: dict[str, CameraSide],
        diagnostics: Inbox,
    ):
        self.graph = graph
        self.process = process
        self.name = name
        self.cameras = cameras
        self._diagnostics = diagnostics

    @property
    def camera(self) -> CameraSide:
        (camera,) = self.cameras.values()
        return camera

    # ---- lifecycle -----------------------------------------------------------------------------

    def state(self) -> str:
        return self.call(GetState, 'get_state').current_state.label

    def change_state(self, transition: str) -> bool:
        """Ask for a transition by name; returns whether it succeeded."""
        return self.graph.answer(self.start_change_state(transition), transition).success

    def start_change_state(self, transition: str) -> Any:
        """Ask for a transition; returns the future."""
        number = TRANSITIONS.get(transition) or SHUTDOWN[transition.removeprefix('shutdown ')]
        request = ChangeState.Request()
        request.transition.id = number
        return self.graph.start_call(
            ChangeState, f'{self.name}/change_state', transition=request.transition)

    def bring_up(self) -> None:
        """Configure and activate, and wait until everything is connected."""
        self.wait_started()
        assert self.change_state('configure'), self.process.log()
        assert self.change_state('activate'), self.process.log()
        self.wait_connected()

    def wait_started(self) -> None:
        """Wait until its services are there."""

        def check() -> None:
            assert self.process.running, f'the node ended:\n{self.process.log()}'

        self.graph.client(ChangeState, f'{self.name}/change_state', check)
        self.graph.client(GetState, f'{self.name}/get_state', check)

    def wait_connected(self) -> None:
        """Wait until images reach the node, and what it publishes the test."""
        for camera in self.cameras.values():
            for box in (camera.masks, camera.objects, camera.corrections):
                wait_until(box.subscription.get_publisher_count, 'publishers of the node')
            wait_until(camera.publisher.get_subscription_count, 'subscription of the node')

    def wait_taken(self) -> None:
        """Wait until all that was sent arrived, and has masks or waits in a window."""
        for name, camera in self.cameras.items():
            count = str(len(camera.sent))
            self.wait_status(
                lambda s, c=count: s.values['received'] == c and s.values['queue'] == '0', name)

    def finish(self) -> None:
        """Let the node close its last windows, once it has taken all that was sent."""
        self.wait_taken()
        assert self.change_state('deactivate')

    # ---- services, parameters, diagnostics -----------------------------------------------------

    def call(self, kind: type[Any], service: str, **fields: Any) -> Any:
        return self.graph.call(kind, f'{self.name}/{service}', **fields)

    def trigger(self, service: str) -> Any:
        return self.call(Trigger, service)

    def timed_call(self, kind: type[Any], service: str, **fields: Any) -> tuple[Any, float]:
        """Call a service; returns the answer and the seconds until it came."""
        came: list[float] = []
        begin = time.monotonic()
        future = self.graph.start_call(kind, f'{self.name}/{service}', **fields)
        future.add_done_callback(lambda _: came.append(time.monotonic()))
        answer = self.graph.answer(future, service)
        wait_until(lambda: came, 'the time of an answer')
        return answer, came[0] - begin

    def get(self, *names: str) -> list[Any]:
        answer = self.call(GetParameters, 'get_parameters', names=list(names))
        return [parameter_value_to_python(value) for value in answer.values]

    def set(self, **values: Any) -> list[SetParametersResult]:
        """Set parameters, one by one; returns a result for each."""
        parameters = [Parameter(n, value=v).to_parameter_msg() for n, v in values.items()]
        return list(self.call(SetParameters, 'set_parameters', parameters=parameters).results)

    def status(self, camera: str | None = None) -> Any:
        """Return the next DiagnosticStatus of the node, or of a camera, with `values` a dict."""
        return self.wait_status(lambda status: True, camera)

    def wait_status(self, wanted: Any, camera: str | None = None) -> Any:
        """Wait for a status, from now on, that a function accepts."""
        title = self.name if camera is None else f'{self.name}: {camera or "camera"}'
        start, found = len(self._diagnostics) + 1, []  # one may be on its way already

        def accepts(message: DiagnosticArray) -> bool:
            for status in message.status:
                if status.name == title:
                    values = {pair.key: pair.value for pair in status.values}
                    found[:] = [_Status(status.level[0], status.message, values)]
                    return wanted(found[0])
            return False

        self._diagnostics.wait_for(accepts, start)
        return found[0]

    def check_accounts(self) -> None:
        """Deactivate, if active, and check that every frame that came is accounted for."""
        if self.state() == 'active':
            assert self.change_state('deactivate')
        if self.state() != 'inactive':
            return
        for name, camera in self.cameras.items():
            status = self.status(name)
            counts = {k: int(v) for k, v in status.values.items() if v.isdigit()}
            told = f'{name}: {counts}, {len(camera.sent)} sent'
            drops = {k.removeprefix('dropped_'): n for k, n in counts.items() if 'dropped_' in k}
            assert counts['waiting'] == counts['queue'] == 0, told
            assert counts['received'] == counts['processed'] + counts['dropped'], told
            assert counts['dropped'] == sum(drops.values()), told
            assert counts['published'] == counts['processed'], told
            if camera.expected_drops is not None:
                assert drops == camera.expected_drops, told
                assert counts['received'] == len(camera.sent), told
            camera.check_messages(counts['published'], counts['corrections'])


class _Status:
    def __init__(self, level: int, message: str, values: dict[str, str]):
        self.level, self.message, self.values = level, message, values

    def __repr__(self) -> str:
        return f'level {self.level}: {self.message!r} {self.values}'
