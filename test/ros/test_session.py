# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A configured node: how it is made and taken down, what it says, what services say is loaded."""

import threading
import time
from types import SimpleNamespace

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('detsam2_msgs')

import rclpy
import torch
from bank_cases import MODEL, make_bank
from fault_engine import PATIENCE, FaultEngine
from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter

from detsam2_msgs.srv import LoadMemoryBank
from detsam2_ros.engine import BankError, ModelError
from detsam2_ros.ros import session as session_module
from detsam2_ros.ros.parameters.declare import declare_parameters, read_parameters
from detsam2_ros.ros.services.banks import BankServices
from detsam2_ros.ros.session import AbortedError, Session, SessionHolder

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


# ---- what the services say is loaded is what the streams use, whatever the order of requests
class BankEngine(FaultEngine):
    """Has the model of the banks; its camera b takes none of a source called bad."""

    def __init__(self):
        super().__init__()
        self.model = SimpleNamespace(identity=MODEL, device=torch.device('cpu'))

    def open_stream(self, name):
        stream = super().open_stream(name)
        load_bank = stream.load_bank

        def load(bank, replace=True):
            self.check_thread()
            if name == 'b' and bank.source == 'bad':
                raise BankError('too many objects')
            load_bank(bank, replace)

        stream.load_bank = load
        return stream


@pytest.fixture
def served(tmp_path):
    """Yield the services and the session of two cameras, with the banks cups and bad."""
    make_bank().save(tmp_path / 'cups.safetensors')
    make_bank(source='bad').save(tmp_path / 'bad.safetensors')
    node = LifecycleNode('services', parameter_overrides=[
        Parameter('cameras', value=['a', 'b']),
        Parameter('memory_bank_directory', value=str(tmp_path))])
    declare_parameters(node)
    session = Session(node, read_parameters(node), lambda _: BankEngine())
    session.wait_until_loaded(threading.Event())
    services = BankServices(node, SessionHolder(session))
    yield services, session
    assert session.close(PATIENCE)
    node.destroy_node()


def load(services, session, path='cups', camera='', replace=True):
    response = LoadMemoryBank.Response()
    services._guarded('load_memory_bank', services._load)(
        LoadMemoryBank.Request(path=path, camera=camera, replace=replace), response)
    return response


def banks(session) -> dict[str, object]:
    return session.worker.call(
        lambda engine: {n: s.bank for n, s in engine.streams.items()}).result(PATIENCE)


def test_a_bank_is_loaded_for_all_cameras_or_one(served):
    services, session = served
    response = load(services, session)
    assert response.success, response.message
    assert sorted(response.object_keys) == ['ball', 'cup-1']
    assert [b.camera for b in services.loaded] == ['a', 'b']
    assert all(banks(session).values())
    session.unload_banks(services.forget).result(PATIENCE)
    assert load(services, session, camera='b').success
    assert [b.camera for b in services.loaded if b.camera == 'b'] == ['b']
    assert banks(session)['a'] is None


def test_a_bank_that_one_camera_cannot_take_is_loaded_for_none(served):
    services, session = served
    assert load(services, session).success
    before, listed = banks(session), services.loaded
    response = load(services, session, 'bad')
    assert (response.success, response.message) == (False, 'too many objects')
    assert banks(session) == before and services.loaded == listed


def test_an_unload_after_a_load_wins_also_when_both_wait(served):
    services, session = served
    gate, answers, entered = threading.Event(), [], threading.Event()
    session.worker.call(lambda _: entered.set() or gate.wait(PATIENCE))
    assert entered.wait(PATIENCE)
    loading = threading.Thread(target=lambda: answers.append(load(services, session)))
    loading.start()
    deadline = time.monotonic() + PATIENCE
    while not session.worker._calls and time.monotonic() < deadline:
        time.sleep(0.001)
    response = SimpleNamespace()
    services._unload(session, None, response)
    gate.set()
    loading.join(PATIENCE)
    assert answers[0].success
    assert banks(session) == {'a': None, 'b': None}
    assert services.loaded == []


def test_a_load_is_answered_when_the_node_stops(served):
    services, session = served
    gate, answers, entered = threading.Event(), [], threading.Event()
    session.worker.call(lambda _: entered.set() or gate.wait(PATIENCE))
    assert entered.wait(PATIENCE)
    loading = threading.Thread(target=lambda: answers.append(load(services, session)))
    loading.start()
    assert not session.worker.stop(0.0)
    loading.join(PATIENCE)  # though inference is still stuck
    gate.set()
    assert not answers[0].success
    assert 'inference thread' in answers[0].message
    assert services.loaded == []
