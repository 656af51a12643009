# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The executor's thread outlives topics that are destroyed under it, and ends with a defect."""

import threading
from collections.abc import Iterator

import pytest
import rclpy
from node_graph import wait_until
from rclpy.context import Context
from rclpy.event_handler import EventHandler
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from detsam2_ros.ros.node import Spinner

pytestmark = pytest.mark.ros


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=77)
    made = Node(
        'spun', context=context,
        parameter_overrides=[Parameter('use_sim_time', value=False)])
    yield made
    made.destroy_node()
    context.try_shutdown()


@pytest.fixture
def spinner(node: Node) -> Iterator[Spinner]:
    executor = MultiThreadedExecutor(num_threads=2, context=node.context)
    executor.add_node(node)
    made = Spinner(executor, threading.Event())
    yield made
    made.end()


def test_it_outlives_a_topic_that_is_destroyed_while_the_executor_looks_at_it(
    node, spinner, monkeypatch,
):
    ticks = []
    node.create_timer(0.01, lambda: ticks.append(1))
    subscription = node.create_subscription(Trigger.Event, 'events', lambda message: None, 1)
    enter, destroyed = EventHandler.__enter__, []

    def enter_too_late(event: EventHandler) -> None:
        if event in subscription.event_handlers and not destroyed:
            destroyed.append(event)
            node.destroy_subscription(subscription)
        enter(event)

    monkeypatch.setattr(EventHandler, '__enter__', enter_too_late)
    spinner.start()
    wait_until(lambda: destroyed, 'the destruction')
    before = len(ticks)
    wait_until(lambda: len(ticks) > before + 5, 'the timer after it')
    assert spinner.is_alive() and not spinner.failed


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_a_defect_in_a_callback_ends_the_process(node, spinner):
    def defect() -> None:
        raise ValueError('a defect')

    node.create_timer(0.01, defect)
    spinner.start()
    assert spinner.stop_process.wait(10.0)
    spinner.join(10.0)
    assert spinner.failed
