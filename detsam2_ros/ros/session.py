# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a node has between configure and cleanup: the models, the threads, the cameras."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, TimeoutError, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from rclpy.lifecycle import LifecycleNode

from detsam2_ros.engine import Engine, FrameResult, MemoryBank, Stream
from detsam2_ros.engine.config_fields import live_parameters
from detsam2_ros.engine.sam2.model import ModelIdentity
from detsam2_ros.ros.camera import Camera
from detsam2_ros.ros.detections import missing_package
from detsam2_ros.ros.engine_factory import EngineFactory
from detsam2_ros.ros.parameters.declare import NodeParameters, ParameterError
from detsam2_ros.runtime.accounting import Account, FrameAccounts
from detsam2_ros.runtime.camera_stream import FAILED, LATE_STAMP, REFUSED, SAME_STAMP
from detsam2_ros.runtime.detection_inbox import DetectionInbox
from detsam2_ros.runtime.frame_queue import QUEUE_FULL
from detsam2_ros.runtime.log_throttle import Throttle
from detsam2_ros.runtime.publish_queue import PublishQueue
from detsam2_ros.runtime.worker import Worker

T = TypeVar('T')

_REPORT_INTERVAL = 10.0  # seconds between two equal lines of the log
_WHY = {
    QUEUE_FULL: 'inference is slower than the camera; a lower rate or resolution, a larger '
    'window_size or a smaller model helps',
    SAME_STAMP: 'the stamp of an image repeats the one before; the driver must stamp each image '
    'anew, and send it once',
    LATE_STAMP: 'an image is older than the one before; a driver that converts images on several '
    'threads, or a second publisher of the topic, brings them out of order',
    REFUSED: 'the engine cannot take such an image, see the error',
    FAILED: 'inference failed, see the error',
}
_UNSTAMPED = (
    'every image has the stamp 0, and masks are found by the stamp of their image; set up the '
    'driver to fill header.stamp')


def explain(reason: str, account: Account) -> str:
    """Say why a camera's frames are dropped and what helps; '' where the log does."""
    if reason == SAME_STAMP and 2 * account.unstamped > account.dropped.get(reason, 0):
        return _UNSTAMPED
    return _WHY.get(reason, '')


class AbortedError(Exception):
    """The node was stopped while it waited for the models."""


class Session:
    """Models, threads and cameras of a configured node; any executor thread may call a method."""

    def __init__(self, node: LifecycleNode, parameters: NodeParameters, factory: EngineFactory):
        self.parameters = parameters
        self.accounts = {name: FrameAccounts() for name in parameters.camera_names}
        self.failures: dict[str, tuple[float, str]] = {}  # by camera: when, what
        self.identity: ModelIdentity | None = None
        self.device = ''
        self._node = node
        self._log = node.get_logger()
        self._reports = Throttle(_REPORT_INTERVAL)
        self._classes: dict[int, str] | None = None  # as published last
        # Two passes post at most so many results; each result holds a label image.
        self._publish_queue = PublishQueue(2 * parameters.engine.max_propagation)
        self.detections: dict[str, DetectionInbox] = {}  # by camera, with detector: topic
        self.worker = Worker(
            parameters.camera_names, self.accounts, self, parameters.frames_in_queue,
            parameters.max_window_delay, self.detections, parameters.freshest)
        self.cameras: dict[str, Camera] = {}
        try:
            if parameters.detector == 'topic' and (problem := missing_package()):
                raise ParameterError(problem)
            for name in parameters.camera_names:
                camera = self.cameras[name] = Camera(
                    node, name, parameters, self.accounts[name], self.worker)
                if camera.detections is not None:
                    self.detections[name] = camera.detections.inbox
        except Exception:  # an invalid topic name or QoS override
            self.close(0.0)
            raise
        self._made: Future[Engine] = self.worker.start(partial(self._make, factory))

    def _make(self, factory: EngineFactory) -> Engine:
        """Make the engine on the inference thread, since the identity reads all weights."""
        engine = factory(self.parameters)
        self.identity = engine.model.identity
        self.device = str(engine.model.device)
        return engine

    def wait_until_loaded(self, ended: Any) -> None:
        """Wait for the models; raises what loading raised, or AbortedError when `ended` is set."""
        while not wait([self._made], timeout=0.1).done:
            if ended.is_set():
                raise AbortedError
        self._made.result()

    # ---- lifecycle -----------------------------------------------------------------------------

    def activate(self) -> None:
        """Take images from now on; the publishers are active already."""
        self.worker.activate()
        self.worker.call(self._republish_classes).add_done_callback(
            partial(self._log_error, 'the class table is not published'))
        for camera in self.cameras.values():
            camera.subscribe()

    def deactivate(self, timeout: float, ended: Any = None) -> bool:
        """Take no more images and publish unfinished windows; returns whether there was time.

        timeout: seconds. With the event `ended`, the timeout begins when the event is set.
        """
        for camera in self.cameras.values():
            camera.unsubscribe()
        flushed = self.worker.deactivate()
        while ended is not None and not ended.is_set() and not flushed.done():
            wait((flushed,), timeout=0.1)
        deadline = time.monotonic() + timeout
        try:
            flushed.result(timeout)
        except TimeoutError:
            return False
        left = 10.0 if ended is not None else max(0.0, deadline - time.monotonic())
        return self._publish_queue.drain(left)

    def close(self, timeout: float | None) -> bool:
        """End the threads and give the device back; returns whether they ended in time.

        timeout: seconds, None waits as long as it takes.
        """
        ended = self.worker.stop(timeout)
        ended = self._publish_queue.stop(1.0) and ended
        for camera in self.cameras.values():
            camera.destroy()
        return ended

    # ---- while it runs -------------------------------------------------------------------------

    def look_at_cameras(self) -> None:
        """Follow the publishers of images, and explain silent cameras; takes a millisecond."""
        for camera in self.cameras.values():
            camera.look(self.parameters.stale_after)

    def change(self, parameters: NodeParameters) -> None:
        """Apply changed parameters from the next window on, without waiting for it."""
        self.parameters = parameters
        for camera in self.cameras.values():
            camera.enable_overlay(parameters.overlay)

        def act(engine: Engine) -> None:
            config = parameters.engine
            engine.reconfigure(**{name: getattr(config, name) for name in live_parameters(config)})
            detector: Any = engine.detector
            if hasattr(detector, 'confidence'):
                detector.confidence = parameters.detector_confidence

        self.worker.call(act).add_done_callback(
            partial(self._log_error, 'the changed parameters do not act'))

    def _log_error(self, what: str, done: Future[None]) -> None:
        error = done.exception()
        if error is not None:
            self._log.error(f'{what}: {error}')

    def load_bank(
        self, cameras: list[str], bank: MemoryBank, replacing: bool, done: Callable[[], None]
    ) -> dict[str, int]:
        """Load a bank between two passes, for all cameras or none; waits until it is loaded.

        done: called after that on the inference thread, so in the order of loads and unloads.
        Returns the class id by object key of the bank in use. The engine matches classes by name,
        so an id may differ from the one in the file.
        """

        def swap(engine: Engine) -> dict[str, int]:
            streams = [engine.streams[camera or 'camera'] for camera in cameras]
            before = [stream.bank for stream in streams]
            try:
                for stream in streams:
                    stream.load_bank(bank, replacing)
            except Exception:
                for stream, old in zip(streams, before, strict=True):
                    if stream.bank is not old:
                        stream.unload_bank() if old is None else stream.load_bank(old)
                raise
            done()
            self.on_classes(streams[0].class_names)
            used = streams[0].bank
            return {key: o.class_id for key, o in used.objects().items()} if used else {}

        return self.worker.call(swap).result()

    def export_bank(
        self, camera: str, max_entries: int, new_only: bool, dormant: bool
    ) -> MemoryBank:
        """Return what a camera's objects remember; waits until the running pass is done."""
        return self.worker.call(
            lambda engine: engine.streams[camera or 'camera'].export_bank(
                max_entries, new_only, dormant)
        ).result()

    def on_stream(self, camera: str, work: Callable[[Stream], T]) -> T:
        """Call work with a camera's stream between two steps; waits for the outcome."""

        def act(engine: Engine) -> T:
            stream = engine.streams[camera or 'camera']
            outcome = work(stream)
            self.on_classes(stream.class_names)
            return outcome

        return self.worker.call(act).result()

    def unload_banks(self, done: Callable[[], None]) -> Future[None]:
        """Drop the banks of all cameras before the next inference; `done` as in `load_bank`."""

        def unload(engine: Engine) -> None:
            for stream in engine.streams.values():
                stream.unload_bank()
            done()

        return self.worker.call(unload)

    # ---- Listener, called on the inference thread ----------------------------------------------

    def on_result(self, camera: str, result: FrameResult) -> None:
        """Hand a result to the publishing thread."""
        publish = self.cameras[camera].publish
        if (engine := self.worker.engine) is not None:
            stream = engine.streams[camera or 'camera']
            self.cameras[camera].dormant = len(stream.dormant_ids)
        self._publish_queue.post(partial(publish, result, result.tag.header, result.tag.image))

    def on_dropped(self, camera: str, reason: str) -> None:
        """Log at intervals that frames are dropped; each one is counted."""
        if self._reports.allows(f'{camera} drops {reason}'):
            account = self.accounts[camera].snapshot()
            self._log.warning(
                f'{self.title(camera)}: {account.dropped.get(reason, 0)} frames dropped so far: '
                f'{explain(reason, account)}')

    def on_reset(self, camera: str, why: str) -> None:
        """Log that a stream restarts, and forget its first labels after its last results."""
        self._publish_queue.post(self.cameras[camera].forget)
        if self._reports.allows(_kind(f'{camera} restarts {why}')):
            self._log.warning(f'{self.title(camera)}: the stream restarts: {why}')

    def on_failure(self, camera: str, message: str) -> None:
        """Log a failure and keep it for the diagnostics."""
        self.failures = {**self.failures, camera: (time.monotonic(), message)}
        if self._reports.allows(_kind(f'{camera} fails {message}')):
            self._log.error(f'{self.title(camera)}: {message}')

    def on_classes(self, class_names: Mapping[int, str]) -> None:
        """Publish the class table, which all cameras share, if it has changed."""
        if self._classes != class_names:
            names = self._classes = dict(class_names)
            for camera in self.cameras.values():
                self._publish_queue.post(partial(camera.publish_classes, names))

    def _republish_classes(self, engine: Engine) -> None:
        self._classes = None  # a message of an inactive publisher reaches nobody
        for stream in engine.streams.values():
            self.on_classes(stream.class_names)

    def title(self, camera: str) -> str:
        """Name a camera in messages."""
        return f"camera '{camera}'" if camera else 'camera'


@dataclass
class SessionHolder:
    """The session of a node: from configure to cleanup, None otherwise."""

    session: Session | None = None


def _kind(text: str) -> str:
    """Return a message without its numbers: messages that differ in these only are equal."""
    return re.sub('[0-9]+', '', text)
