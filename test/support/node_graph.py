# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The test's side of the ROS graph: messages sent, collected and waited for, services called."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import rclpy
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

# Seconds until a test gives up waiting; only failures take so long.
PATIENCE = float(os.environ.get('DETSAM2_TEST_PATIENCE', '60'))


def quality(reliable: bool = True, depth: int = 1000, transient: bool = False) -> QoSProfile:
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if transient else DurabilityPolicy.VOLATILE,
    )


def wait_until(happened: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
    """Wait until a function returns something true, which is returned."""
    deadline = time.monotonic() + timeout
    while not (found := happened()):
        assert time.monotonic() < deadline, f'waited {timeout} s in vain: {what}'
        time.sleep(0.01)
    return found


class Inbox:
    """The messages that came on a topic, in order.

    keep: so many of the last ones, None all; they are counted in any case.
    """

    def __init__(self, keep: int | None = None) -> None:
        self.subscription: Any = None
        self._messages: deque[Any] = deque(maxlen=keep)
        self._count = 0
        self._came = threading.Condition()

    def __len__(self) -> int:
        with self._came:
            return self._count

    @property
    def messages(self) -> list[Any]:
        with self._came:
            return list(self._messages)

    def add(self, message: Any) -> None:
        with self._came:
            self._messages.append(message)
            self._count += 1
            self._came.notify_all()

    def wait(self, count: int, timeout: float = PATIENCE) -> list[Any]:
        """Wait until so many messages came; returns all."""
        with self._came:
            came = self._came.wait_for(lambda: self._count >= count, timeout)
            assert came, f'{self._count} of {count} messages came in {timeout} s'
            return list(self._messages)

    def wait_for(self, wanted: Callable[[Any], bool], start: int = 0) -> Any:
        """Wait for a message, from the start-th on, that a function accepts; returns it."""
        deadline = time.monotonic() + PATIENCE
        with self._came:
            while True:
                for message in list(self._messages)[start:]:
                    if wanted(message):
                        return message
                start = len(self._messages)
                last = self._messages[-1] if self._messages else None
                left = deadline - time.monotonic()
                assert left > 0 and self._came.wait(left), f'it did not come; the last: {last}'


class Graph:
    """A node of the test, which its own thread spins."""

    def __init__(self, name: str = 'tester'):
        self._context = rclpy.Context()
        self._context.init([])
        self.node = Node(name, context=self._context, enable_rosout=False)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._group = ReentrantCallbackGroup()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(10.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def inbox(
        self, kind: type[Any], topic: str, qos: QoSProfile | None = None,
        callback: Callable[[Any], object] | None = None, keep: int | None = None,
    ) -> Inbox:
        """Collect a topic from now on; callback: gets each message too. keep: see Inbox."""
        box = Inbox(keep)

        def take(message: Any) -> None:
            if callback is not None:
                callback(message)
            box.add(message)  # whoever waits for it finds what the callback did

        box.subscription = self.node.create_subscription(kind, topic, take, qos or quality())
        return box

    def publisher(self, kind: type[Any], topic: str, qos: QoSProfile | None = None) -> Any:
        """Make a publisher, reliable unless told otherwise."""
        return self.node.create_publisher(kind, topic, qos or quality())

    def start_call(self, kind: type[Any], name: str, **fields: Any) -> Any:
        """Call a service; returns the future."""
        return self.client(kind, name).call_async(kind.Request(**fields))

    def client(self, kind: type[Any], name: str, check: Callable[[], object] = bool) -> Any:
        """Return a client of a service that is there; check: called while waiting for it."""
        client = self._clients.get(name)
        if client is None:
            client = self.node.create_client(kind, name, callback_group=self._group)
            self._clients[name] = client

        def ready() -> bool:
            check()
            return client.service_is_ready()

        wait_until(ready, f'service {name}')
        return client

    def call(self, kind: type[Any], name: str, **fields: Any) -> Any:
        return self.answer(self.start_call(kind, name, **fields), name)

    def answer(self, future: Any, what: str = 'a service') -> Any:
        wait_until(future.done, f'answer of {what}')
        return future.result()

    @contextmanager
    def clock(self, start: float) -> Iterator[Callable[[float], None]]:
        """Publish /clock; the function sets it to seconds."""
        from rosgraph_msgs.msg import Clock

        publisher = self.publisher(Clock, '/clock', quality(depth=1))

        def set_clock(seconds: float) -> None:
            message = Clock()
            message.clock.sec = int(seconds)
            message.clock.nanosec = round((seconds - int(seconds)) * 1e9)
            publisher.publish(message)

        set_clock(start)
        yield set_clock
        self.node.destroy_publisher(publisher)
