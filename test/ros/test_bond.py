# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The bond with nav2's lifecycle manager.

Mostly with a stand-in of bondpy, which no registry has; the last test needs bondpy itself.
"""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

rclpy = pytest.importorskip('rclpy')

from fakes import ScriptedDetector, colour_sam2  # noqa: E402
from rclpy.duration import Duration  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_msgs.msg import String  # noqa: E402

from detsam2_ros.engine import Engine  # noqa: E402
from detsam2_ros.ros import bond as module  # noqa: E402
from detsam2_ros.ros.node import DetSam2Node  # noqa: E402
from detsam2_ros.ros.spinner import CallbackExecutor, Spinner  # noqa: E402

pytestmark = pytest.mark.ros


class Bond:
    """What bondpy.Bond does to the node that keeps it, as far as a bond without a manager goes."""

    made: list['Bond'] = []

    def __init__(
        self, node: Any, topic: str, bond_id: str, on_broken: Any = None, on_formed: Any = None
    ):
        self.topic, self.id, self.node = topic, bond_id, node
        self.state, self.period, self.timeout = 'made', 1.0, 4.0
        self.pub = node.create_publisher(String, topic, 1)
        self.made.append(self)

    def set_heartbeat_period(self, per: float) -> None:
        assert self.state == 'made'
        self.period = per

    def set_heartbeat_timeout(self, dur: float) -> None:
        assert self.state == 'made'
        self.timeout = dur

    def start(self) -> None:
        self.sub = self.node.create_subscription(String, self.topic, lambda message: None, 1)
        self.state = 'started'

    def is_broken(self) -> bool:
        return self.state in ('broken', 'shut down')

    def break_bond(self) -> None:
        assert self.state == 'started'
        self.pub.publish(String(data='inactive'))
        self.state = 'breaking'

    def wait_until_broken(self, timeout: Any) -> bool:
        assert self.state == 'breaking' and 0 < timeout.nanoseconds < 1e9
        self.state = 'broken'
        return True

    def shutdown(self) -> None:
        # bondpy can do it from any state; the manager hears of it from these alone.
        assert self.state == 'broken'
        self.sub.destroy()
        self.pub.destroy()
        self.state = 'shut down'


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return what makes a node in the namespace /robot1; bondpy is installed."""
    monkeypatch.setattr(module, 'bondpy', SimpleNamespace(Bond=Bond))
    monkeypatch.setattr(Bond, 'made', [])
    yield from making()


def making() -> Iterator[Any]:
    context, nodes = rclpy.Context(), []
    rclpy.init(context=context)

    def made(**parameters: Any) -> DetSam2Node:
        nodes.append(DetSam2Node(
            lambda p: Engine(colour_sam2(), ScriptedDetector({}), p.engine),
            context=context, namespace='/robot1',
            parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()]))
        return nodes[-1]

    yield made
    for node in nodes:
        node.stop()
        node.destroy_node()
    rclpy.shutdown(context=context)


def ends(node: DetSam2Node) -> tuple[int, int]:
    """Return how many publishers and subscriptions of the bond the node lists."""
    topic = '/robot1/bond'
    return (
        sum(p.topic_name == topic for p in node.publishers),
        sum(s.topic_name == topic for s in node.subscriptions))


def test_it_is_kept_while_the_node_is_active(make: Any) -> None:
    node = make(bond=True)
    node.trigger_configure()
    assert not Bond.made
    for count in (1, 2):
        node.trigger_activate()
        assert len(Bond.made) == count
        bond = Bond.made[-1]
        assert (bond.topic, bond.id, bond.state) == ('bond', 'detsam2', 'started')
        assert bond.period == 0.1 and bond.timeout >= 1e9
        assert ends(node) == (1, 1)
        node.trigger_deactivate()
        assert bond.state == 'shut down' and ends(node) == (0, 0)
    node.trigger_activate()
    node.trigger_shutdown()
    assert Bond.made[-1].state == 'shut down'


def test_without_being_asked_for_there_is_none(make: Any) -> None:
    node = make()
    node.trigger_configure()
    node.trigger_activate()
    node.trigger_deactivate()
    assert not Bond.made


def test_what_to_install_is_said_in_one_sentence(
    make: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, 'bondpy', None)
    node = make(bond=True)
    assert node.trigger_configure() == rclpy.lifecycle.TransitionCallbackReturn.FAILURE
    said = capfd.readouterr().err
    assert said.count('configure failed: bond is true, which needs the package bondpy') == 1
    assert '-bondpy; or set bond to false' in said and 'Traceback' not in said


def test_a_bond_that_cannot_be_made_leaves_the_node_inactive(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Bond) -> None:
        raise RuntimeError('no thread')

    monkeypatch.setattr(Bond, 'start', fail)
    node = make(bond=True)
    node.trigger_configure()
    assert node.trigger_activate() == rclpy.lifecycle.TransitionCallbackReturn.FAILURE
    assert 'no thread' in node._problem


def test_with_bondpy_itself() -> None:
    """A manager's end forms, lasts, and is broken by each way down; nothing is left behind."""
    bondpy = pytest.importorskip('bondpy.bondpy', reason='bondpy is not installed')
    making_nodes = making()
    node = next(making_nodes)(bond=True)
    manager = rclpy.create_node('manager', namespace='/robot1', context=node.context)
    executor = CallbackExecutor(4, node.context)
    for each in (node, manager):
        executor.add_node(each)
    spinner = Spinner(executor, threading.Event())
    spinner.start()
    node.trigger_configure()
    for down in (node.trigger_deactivate, node.trigger_deactivate, node.trigger_shutdown):
        node.trigger_activate()
        bond = bondpy.Bond(manager, 'bond', 'detsam2')
        bond.start()
        assert bond.wait_until_formed(Duration(seconds=10.0))
        assert not bond.wait_until_broken(Duration(seconds=1.0))
        down()
        assert bond.wait_until_broken(Duration(seconds=3.0)) and ends(node) == (0, 0)
        bond.shutdown()
        manager.destroy_subscription(bond.sub)
        manager.destroy_publisher(bond.pub)
    assert spinner.end(5.0) and not spinner.failed
    manager.destroy_node()
    assert next(making_nodes, None) is None  # ends the node
