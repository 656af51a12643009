# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The counts of a camera: they add up at every moment, and latencies are quantiles."""

import time

import pytest
from fault_engine import together
from hypothesis import given
from hypothesis import strategies as st

from detsam2_ros.runtime.accounting import LATENCY_SAMPLES, FrameAccounts


def test_a_camera_without_frames():
    now = FrameAccounts().snapshot()
    assert (now.received, now.processed, now.waiting, now.dropped_total) == (0, 0, 0, 0)
    assert (now.published, now.corrections, now.resets) == (0, 0, 0)
    assert now.latency(0.5) is now.last_received is now.last_published is None


STEPS = st.tuples(st.sampled_from(['receive', 'process', 'a', 'b']), st.integers(0, 5))


@given(st.lists(STEPS, max_size=20))
def test_what_is_received_is_processed_dropped_or_waits(steps):
    accounts, counts = FrameAccounts(), {'receive': 0, 'process': 0, 'a': 0, 'b': 0}
    for step, count in steps:
        counts[step] += count
        if step == 'receive':
            for _ in range(count):
                accounts.receive()
        elif step == 'process':
            accounts.process(count)
        else:
            accounts.drop(step, count)
        now = accounts.snapshot()
        assert now.received == counts['receive']
        assert now.processed == counts['process']
        assert now.dropped == {r: counts[r] for r in 'ab' if counts[r]}
        assert now.dropped_total == counts['a'] + counts['b']
        assert now.waiting == now.received - now.processed - now.dropped_total


def test_a_snapshot_does_not_change_afterwards():
    accounts = FrameAccounts()
    accounts.receive()
    accounts.drop('full')
    accounts.publish(0.1)
    before = accounts.snapshot()
    accounts.drop('full')
    accounts.publish(0.2)
    assert (before.dropped, before.published, before.latencies) == ({'full': 1}, 1, (0.1,))


def test_times_of_the_last_image_and_mask():
    accounts, begin = FrameAccounts(), time.monotonic()
    accounts.receive()
    middle = time.monotonic()
    accounts.publish(0.1)
    accounts.correct()
    accounts.reset()
    now = accounts.snapshot()
    assert begin <= now.last_received <= middle <= now.last_published <= time.monotonic()
    assert (now.published, now.corrections, now.resets) == (1, 1, 1)


@pytest.mark.parametrize(('share', 'expected'), [
    (0.0, 0), (0.5, 50), (0.99, 99), (1.0, 99), (0.25, 25)])
def test_quantiles_of_latencies(share, expected):
    accounts = FrameAccounts()
    for value in [*range(50, 100), *range(50)]:
        accounts.publish(float(value))
    assert accounts.snapshot().latency(share) == expected


def test_stamps_of_another_clock_have_no_latency():
    accounts = FrameAccounts()
    for latency in (1795905015.0, -3601.0):
        accounts.publish(latency)
    assert accounts.snapshot().latency(0.5) is None
    accounts.publish(-0.25)
    now = accounts.snapshot()
    assert (now.published, now.latency(0.5)) == (3, -0.25)


def test_one_latency_is_every_quantile():
    accounts = FrameAccounts()
    accounts.publish(0.25)
    assert {accounts.snapshot().latency(share) for share in (0.0, 0.5, 0.99, 1.0)} == {0.25}


def test_only_the_newest_latencies_are_kept():
    accounts = FrameAccounts()
    for i in range(3 * LATENCY_SAMPLES):
        accounts.publish(float(i))
    now = accounts.snapshot()
    assert now.published == 3 * LATENCY_SAMPLES
    assert now.latencies == tuple(float(i) for i in range(2 * LATENCY_SAMPLES,
                                                          3 * LATENCY_SAMPLES))


def test_counts_from_many_threads_add_up_and_no_snapshot_is_torn():
    accounts, wrong = FrameAccounts(), []

    def count():
        for i in range(500):
            accounts.receive()
            accounts.process() if i % 3 else accounts.drop('full')
            now = accounts.snapshot()
            if not 0 <= now.waiting <= 4:
                wrong.append(now)

    together(*[count] * 4)
    now = accounts.snapshot()
    assert not wrong
    assert (now.received, now.waiting, now.dropped) == (2000, 0, {'full': 4 * 167})
