# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the engine logs arrives in the node's log, and nothing is said too often."""

import logging

import pytest
from fault_engine import together

from detsam2_ros.ros.logs import RosLogHandler, route_logs, unroute_logs
from detsam2_ros.runtime.log_throttle import Throttle


class Lines:
    """A ROS logger that keeps what it is told."""

    def __init__(self):
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, level):
        return lambda message: self.lines.append((level, message))


@pytest.fixture
def lines():
    log = logging.getLogger('detsam2_ros')
    before = log.handlers[:], log.level, log.propagate
    lines = Lines()
    handler = route_logs(lines)
    yield lines
    unroute_logs(handler)
    log.handlers[:], log.level, log.propagate = before


def test_records_keep_their_level_and_are_not_said_twice(lines, capsys):
    log = logging.getLogger('detsam2_ros.engine.sam2.load')
    log.debug('not asked for')
    for level in ('info', 'warning', 'error', 'critical'):
        getattr(log, level)('%s of %d', level, 3)
    assert lines.lines == [
        ('info', 'info of 3'), ('warning', 'warning of 3'), ('error', 'error of 3'),
        ('error', 'critical of 3')]  # fmt: skip
    assert capsys.readouterr().err == ''


def test_an_exception_is_logged_with_where_it_came_from(lines):
    try:
        raise KeyError('bank')
    except KeyError:
        logging.getLogger('detsam2_ros.runtime.worker').exception('inference thread')
    (level, text), = lines.lines
    assert level == 'error'
    assert text.startswith('inference thread\n') and "KeyError: 'bank'" in text


def test_what_cannot_be_logged_fails_nobody(capsys):
    """A record that is logged on the inference thread must not end it."""
    broken = Lines()
    broken.warning = lambda message: 1 / 0
    for text, values in (('%d frames', ('many',)), ('said after the end', ())):
        record = logging.LogRecord('detsam2_ros', logging.WARNING, __file__, 1, text, values, None)
        RosLogHandler(broken).handle(record)
    assert capsys.readouterr().err.count('Logging error') == 2


def test_routes_end_and_other_nodes_keep_theirs(lines):
    log, second = logging.getLogger('detsam2_ros'), Lines()
    handler = route_logs(second)
    log.info('both')
    unroute_logs(handler)
    log.info('one')
    assert [m for _, m in lines.lines] == ['both', 'one']
    assert [m for _, m in second.lines] == ['both']
    assert not log.propagate


# ---- throttle
def test_the_same_is_said_once_in_a_while():
    now = [0.0]
    throttle = Throttle(10.0, lambda: now[0])
    said = []
    for second in range(31):
        now[0] = float(second)
        said += [(what, second) for what in ('a', 'b') if throttle.allows(what)]
    assert said == [(w, s) for s in (0, 10, 20, 30) for w in ('a', 'b')]


def test_what_is_remembered_is_bounded():
    throttle = Throttle(10.0, lambda: 0.0)
    for i in range(5 * Throttle.MAX_REMEMBERED):
        assert throttle.allows(f'{i}')
        assert len(throttle._said) <= Throttle.MAX_REMEMBERED
    assert not throttle.allows(f'{5 * Throttle.MAX_REMEMBERED - 1}')


def test_threads_say_it_once_together():
    throttle, said = Throttle(1000.0), []

    def say():
        for i in range(200):
            if throttle.allows(f'{i}'):
                said.append(i)

    together(*[say] * 4)
    assert sorted(said) == list(range(200))
