# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The executor outlives topics that are destroyed under it, and ends with a defect."""

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import rclpy
from node_graph import wait_until
from rclpy.context import Context
from rclpy.event_handler import EventHandler
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from detsam2_ros.ros.spinner import CallbackExecutor, Spinner
from detsam2_ros.shutdown_race import one_shutdown_error

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
    executor = CallbackExecutor(threads=2, context=node.context)
    executor.add_node(node)
    made = Spinner(executor, threading.Event())
    yield made
    assert made.end(10.0)


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


def test_it_ends_when_its_callbacks_have_ended(node, spinner, capfd):
    """What the executor needs is there until the last callback has ended; one that waits stays."""
    begun, go_on, ended = threading.Event(), threading.Event(), []

    def wait() -> None:
        begun.set()
        go_on.wait(60.0)
        ended.append(1)

    node.create_timer(0.01, wait)
    spinner.start()
    assert begun.wait(10.0)
    assert not spinner.end(0.05)
    go_on.set()
    assert spinner.end(10.0) and ended and not spinner.failed
    gc.collect()
    assert capfd.readouterr() == ('', '')


def end_while_a_callback_begins(patch: pytest.MonkeyPatch) -> None:
    """Do as the main function does, when a thread is about to take what a callback is for."""
    taken = threading.Event()
    take = CallbackExecutor._take_timer

    def take_late(executor: CallbackExecutor, timer: Timer) -> Any:
        taken.set()
        time.sleep(0.1)  # meanwhile spinning ends
        return take(executor, timer)

    patch.setattr(CallbackExecutor, '_take_timer', take_late)
    context = Context()
    rclpy.init(context=context, domain_id=77)
    node = Node('spun', context=context)
    node.create_timer(0.01, lambda: None)
    executor = CallbackExecutor(threads=2, context=context)
    executor.add_node(node)
    spinner = Spinner(executor, threading.Event())
    spinner.start()
    assert taken.wait(10.0)
    assert spinner.end(10.0) and not spinner.failed
    time.sleep(0.2)
    node.destroy_node()
    context.try_shutdown()


def test_a_callback_that_begins_at_the_end_prints_nothing(monkeypatch, capfd):
    end_while_a_callback_begins(monkeypatch)
    gc.collect()
    assert capfd.readouterr() == ('', '')


def test_a_shutdown_amid_spinning_has_one_name():
    with pytest.raises(ExternalShutdownException), one_shutdown_error():
        raise rclpy_implementation.RCLError('the given context is not valid')
    rclpy.init()
    try:
        with pytest.raises(rclpy_implementation.RCLError, match='no memory'), one_shutdown_error():
            raise rclpy_implementation.RCLError('no memory')
    finally:
        rclpy.shutdown()
