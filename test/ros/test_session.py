# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A configured node's machinery: how it is made, taken down, and what it says of its frames."""

import threading

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('detsam2_msgs')

import rclpy
import torch
from fault_engine import PATIENCE, FaultEngine
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

from detsam2_ros.engine import ModelError
from detsam2_ros.ros import session as session_module
from detsam2_ros.ros.parameters.declare import declare_parameters, read_parameters
from detsam2_ros.ros.session import AbortedError, Session

pytestmark = pytest.mark.ros

NEVER = threading.Event()


class Log:
    """A logger of a node that keeps warnings and errors."""

    def __init__(self):
        self.lines: list[str] = []

    def warning(self, message: str) -> None:
        self.lines.append(message)

    error = warning


class Model:
    """A model that knows on which thread its weights were read."""

    device = torch.device('cpu')
    read_on = ''

    @property
    def identity(self):
        Model.read_on = threading.current_thread().name
        return 'identity'


def engine(_=None) -> FaultEngine:
    made = FaultEngine()
    made.model = Model()
    return made


@pytest.fixture(scope='module', autouse=True)
def middleware():
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def node():
    made = LifecycleNode('session', parameter_overrides=[Parameter('cameras', value=['a', 'b'])])
    declare_parameters(made)
    made.log = Log()
    made.get_logger = lambda: made.log
    yield made
    made.destroy_node()


def topics(node) -> set[str]:
    return {p.topic_name for p in node.publishers if p.topic_name.startswith('/session/')}


def test_the_weights_are_read_on_the_thread_that_owns_them(node):
    session = Session(node, read_parameters(node), engine)
    session.wait_until_loaded(NEVER)
    assert (session.identity, session.device) == ('identity', 'cpu')
    assert Model.read_on == 'inference'
    assert session.close(PATIENCE)
    assert topics(node) == set()


def test_loading_that_failed_is_told_as_it_was(node):
    def fail(_):
        raise ModelError('no such file')

    session = Session(node, read_parameters(node), fail)
    with pytest.raises(ModelError, match='no such file'):
        session.wait_until_loaded(NEVER)
    assert session.close(PATIENCE)


def test_models_that_are_there_just_as_the_waiting_pauses_are_taken(node, monkeypatch):
    """The wait looks up now and then; what happens in that moment must not look like a failure."""
    loaded = threading.Event()

    def late(_):
        assert loaded.wait(PATIENCE)
        return engine()

    session = Session(node, read_parameters(node), late)

    class Late(type(session._made)):
        def result(self, timeout=None):
            try:
                return super().result(timeout)
            except TimeoutError:
                loaded.set()
                super().result(PATIENCE)
                raise

    session._made.__class__ = Late
    threading.Timer(0.3, loaded.set).start()
    session.wait_until_loaded(NEVER)
    assert session.identity == 'identity'
    assert session.close(PATIENCE)


def test_an_end_while_models_load_is_not_waited_for(node):
    gate, ended = threading.Event(), threading.Event()
    ended.set()
    session = Session(node, read_parameters(node), lambda _: gate.wait(PATIENCE) and engine())
    with pytest.raises(AbortedError):
        session.wait_until_loaded(ended)
    assert not session.close(0.0)
    assert topics(node) == set()
    gate.set()
    assert session.worker.stop(PATIENCE)


def test_a_camera_that_cannot_be_made_leaves_nothing_behind(node, monkeypatch):
    real = session_module.Camera

    def second_fails(node, name, *rest):
        if name == 'b':
            raise ValueError('a QoS override that cannot be')
        return real(node, name, *rest)

    before = threading.active_count()
    monkeypatch.setattr(session_module, 'Camera', second_fails)
    with pytest.raises(ValueError, match='QoS override'):
        Session(node, read_parameters(node), engine)
    assert topics(node) == set()
    assert threading.active_count() == before


def test_what_repeats_is_said_once_whatever_its_numbers_are(node):
    session = Session(node, read_parameters(node), engine)
    for i in range(50):
        session.on_failure('a', f"stream 'a': the detector failed on frames {i}, {i + 5}")
        session.on_reset('a', f'time went back by {i}.{i} s')
        session.on_dropped('a', 'queue_full')
    assert len(node.log.lines) == 3
    session.on_failure('b', "stream 'b': the detector failed on frames 3")
    session.on_failure('a', 'inference failed: MemoryError: full')
    assert len(node.log.lines) == 5
    assert session.failures['a'][1] == 'inference failed: MemoryError: full'
    assert session.close(PATIENCE)
