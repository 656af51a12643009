# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node that runs the demo's story: watches the topics and calls the services."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from detsam2_msgs.msg import MaskCorrection, ObjectArray
from detsam2_msgs.srv import LoadMemoryBank, SaveMemoryBank
from detsam2_ros.messages.stamps import nanoseconds

_SERVICE_SECONDS = 60.0
_PHASE_SECONDS = 600.0
_QUIET_SECONDS = 60.0
_SILENT_SECONDS = 5.0  # between two lines of progress, where the output is no terminal


class StoryError(Exception):
    """An error in the story; one sentence."""


class Driver(Node):
    """Counts the messages of the graph and starts the next part of the story.

    check: called often during waits; an exception that it raises ends the wait. report: called
    with each finished line.
    """

    def __init__(self, check: Callable[[], None], report: Callable[[str], None]):
        super().__init__('demo_graph')
        self.images = self.masks = self.corrections = 0
        self.events: list[dict[str, Any]] = []
        self._planned = self._newest_image = self._newest_masks = 0
        self._check = check
        self._report = report
        self._start = time.monotonic()
        self._shown = 0.0
        self._spinning = SingleThreadedExecutor()
        self._spinning.add_node(self)
        self.create_subscription(
            ObjectArray, '/camera/truth_objects', self._on_image, QoSProfile(depth=50))
        self.create_subscription(
            ObjectArray, '/detsam2/objects', self._on_masks, QoSProfile(depth=100))
        self.create_subscription(
            MaskCorrection, '/detsam2/corrections', self._on_correction, QoSProfile(depth=100))
        node, recorder, camera = '/detsam2', '/demo_recorder', '/camera/demo_camera'
        self._save = self._client(SaveMemoryBank, f'{node}/save_memory_bank')
        self._load = self._client(LoadMemoryBank, f'{node}/load_memory_bank')
        self._reset = self._client(Trigger, f'{node}/reset')
        self._state = self._client(ChangeState, f'{node}/change_state')
        self._node_set = self._client(SetParameters, f'{node}/set_parameters')
        self._recorder_set = self._client(SetParameters, f'{recorder}/set_parameters')
        self._camera_set = self._client(SetParameters, f'{camera}/set_parameters')

    def _client(self, kind: type[Any], name: str) -> Any:
        return self.create_client(kind, name)

    # ---- waiting -------------------------------------------------------------------------------

    def all_are_there(self) -> bool:
        """Return whether the node is active and all topics are connected."""
        watched = ('/camera/truth_objects', '/detsam2/objects', '/detsam2/corrections')
        # By this node and the recorder: without the connection they would miss the first masks.
        followed = {
            '/camera/image': 2, '/detsam2/masks': 1, '/detsam2/objects': 2,
            '/detsam2/corrections': 2,
        }  # fmt: skip
        return all(self.count_publishers(topic) for topic in watched) and all(
            self.count_subscribers(topic) >= count for topic, count in followed.items()
        )

    def go_on(self, count: int, title: str) -> None:
        """Have the camera publish `count` images at its rate, and wait for their masks.

        An image that was lost or dropped gets no masks; it is waited for as long as other masks
        arrive.
        """
        self._planned += count
        until = self._planned
        before = self.masks, self.corrections
        newest = [time.monotonic()]

        def text() -> str:
            masks, corrections = self.masks - before[0], self.corrections - before[1]
            images = self.images - (until - count)
            return (f'{title}: {images} of {count} images, {masks} with masks, '
                    f'{corrections} corrections')

        def done() -> bool:
            now = self.masks
            if now != seen[0]:
                seen[0], newest[0] = now, time.monotonic()
            if self.images < until:
                return False
            quiet = time.monotonic() - newest[0] > _QUIET_SECONDS
            return self._newest_masks >= self._newest_image or (now > before[0] and quiet)

        seen = [self.masks]
        self._set(self._camera_set, 'pause_after', until)
        self.wait(done, f'the masks of {count} images', _PHASE_SECONDS, text)
        self._report(text())

    def wait(
        self,
        done: Callable[[], bool],
        what: str,
        seconds: float,
        text: Callable[[], str] | None = None,
    ) -> None:
        """Spin until done returns True; raises StoryError after `seconds`."""
        end = time.monotonic() + seconds
        while not done():
            self._spinning.spin_once(timeout_sec=0.1)
            self._check()
            if time.monotonic() > end:
                raise StoryError(f'waited {seconds:.0f} s for {what} in vain')
            if text is not None:
                self._progress(text())

    # ---- acting --------------------------------------------------------------------------------

    def phase(self, name: str) -> None:
        """Tell the recorder which part of the story begins; '' is none."""
        self._set(self._recorder_set, 'phase', name)

    def set_parameter(self, name: str, value: Any) -> None:
        """Set a parameter of the running node."""
        seconds = self._set(self._node_set, name, value)
        self.log_event(f'set parameter {name} to {value}', seconds)

    def save_bank(self, path: str, entries: int) -> None:
        """Save a memory bank; entries: most for each object."""
        request = SaveMemoryBank.Request(path=path, max_entries_per_object=entries, overwrite=True)
        self._act('save_memory_bank', self._save, request)

    def load_bank(self, path: str) -> None:
        """Load a memory bank."""
        self._act('load_memory_bank', self._load, LoadMemoryBank.Request(path=path, replace=True))

    def reset(self) -> None:
        """Restart the stream."""
        self._act('reset', self._reset, Trigger.Request())

    def deactivate(self) -> None:
        """Deactivate the node, which publishes the masks of unfinished windows."""
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
        answer, seconds = self._call(self._state, request)
        if not answer.success:
            raise StoryError('the node refused to be deactivated')
        self.log_event('deactivate: done', seconds)

    def log_event(self, text: str, seconds: float | None = None) -> None:
        """Keep an event for the report and print it; seconds: until the answer came."""
        event: dict[str, Any] = {'image': self.images, 'text': text}
        if seconds is not None:
            event['answer_ms'] = round(1000 * seconds, 1)
            text += f' (answered in {1000 * seconds:.0f} ms)'
        self.events.append(event)
        self._report(text)

    def _act(self, name: str, client: Any, request: Any) -> None:
        answer, seconds = self._call(client, request)
        if not answer.success:
            raise StoryError(f'{name} failed: {answer.message}')
        self.log_event(f'{name}: {answer.message}', seconds)

    def _set(self, client: Any, name: str, value: Any) -> float:
        parameter = Parameter(name, value=value).to_parameter_msg()
        answer, seconds = self._call(client, SetParameters.Request(parameters=[parameter]))
        result = answer.results[0]
        if not result.successful:
            raise StoryError(f'parameter {name} was not set to {value!r}: {result.reason}')
        return seconds

    def _call(self, client: Any, request: Any) -> tuple[Any, float]:
        name = client.srv_name
        self.wait(client.service_is_ready, f'the service {name}', _SERVICE_SECONDS)
        start = time.monotonic()
        answered: list[float] = []
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.append(time.monotonic()))
        self.wait(lambda: bool(answered), f'an answer of {name}', _SERVICE_SECONDS)
        return future.result(), answered[0] - start

    def _progress(self, text: str) -> None:
        now = time.monotonic()
        if sys.stdout.isatty():
            print(f'\r\033[K  {text}', end='', flush=True)
        elif now - self._shown > _SILENT_SECONDS:
            print(f'  ... {text}', flush=True)
            self._shown = now

    # ---- watching ------------------------------------------------------------------------------

    def _on_image(self, message: ObjectArray) -> None:
        self.images = max(self.images, message.frame_index + 1)
        self._newest_image = max(self._newest_image, nanoseconds(message.header.stamp))

    def _on_masks(self, message: ObjectArray) -> None:
        self.masks += 1
        self._newest_masks = max(self._newest_masks, nanoseconds(message.header.stamp))

    def _on_correction(self, message: MaskCorrection) -> None:
        self.corrections += 1
