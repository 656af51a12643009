# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the services say is loaded is what the streams use, whatever the order of requests."""

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
from detsam2_ros.engine import BankError
from detsam2_ros.ros.parameters.declare import declare_parameters, read_parameters
from detsam2_ros.ros.services.banks import BankServices
from detsam2_ros.ros.session import Session, SessionHolder

pytestmark = pytest.mark.ros


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


@pytest.fixture(scope='module', autouse=True)
def middleware():
    rclpy.init()
    yield
    rclpy.shutdown()


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
