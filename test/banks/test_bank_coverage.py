# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pruning keeps the best cover: against trying every set, and within its bound beyond."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from bank_cases import entry, make_bank
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.banks import coverage
from detsam2_ros.banks.coverage import cover, distances, prune
from detsam2_ros.engine import BankError
from detsam2_ros.engine.sam2.memory import Memory


def line(*places: float) -> np.ndarray:
    """Return the distances of points on a line."""
    at = np.array(places)
    return np.abs(at[:, None] - at)


def radius(apart: np.ndarray, kept: list[int]) -> float:
    return float(apart[:, kept].min(axis=1).max())


def test_the_middle_of_each_heap_is_kept():
    apart = line(0, 1, 2, 10, 11, 12, 30)
    assert cover(apart, 3) == [1, 4, 6]
    assert cover(apart, 1) == [5]  # 12: 18 from 30, and of those the one nearest to all
    assert cover(apart, 7) == cover(apart, 99) == list(range(7))


def test_equals_are_decided_by_the_sum_then_by_place():
    assert cover(line(0, 0, 4, 4), 2) == [0, 2]
    assert cover(line(0, 3, 4, 4, 8), 1) == [2]


@settings(max_examples=60)
@given(st.lists(st.floats(0, 100), min_size=2, max_size=9), st.integers(1, 8))
def test_no_set_covers_better(places, count):
    apart = line(*places)
    kept = cover(apart, count)
    assert len(kept) == min(count, len(places)) and kept == sorted(set(kept))
    best = min(
        radius(apart, list(chosen))
        for chosen in itertools.combinations(range(len(places)), min(count, len(places)))
    )
    assert radius(apart, kept) <= best + 1e-6


@settings(max_examples=40)
@given(st.lists(st.floats(0, 100), min_size=3, max_size=9), st.integers(1, 3))
def test_greedy_is_at_most_twice_as_far(places, count):
    apart = line(*places)
    exact = radius(apart, cover(apart, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coverage, '_MAX_SETS', 0)
        kept = cover(apart, count)
    assert len(kept) == min(count, len(places))
    assert radius(apart, kept) <= 2 * exact + 1e-6


def test_many_entries_take_no_time():
    random = np.random.default_rng(0)
    points = random.random((300, 5))
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    assert len(cover(apart, 16)) == 16


def heap(centre: int, seed: int, stamp: int):
    """Return an entry that is nearly the memory of seed `centre`."""
    made = entry('cup', stamp, centre)
    noise = torch.Generator().manual_seed(seed)
    memory = made.memory
    near = memory.pointer + 0.01 * torch.randn(memory.pointer.shape, generator=noise)
    return dataclasses.replace(made, memory=Memory(memory.spatial, near, memory.score))


def test_prune_keeps_one_of_each_look_and_tells_the_rest():
    cups = [heap(i % 3, i, 100 + i) for i in range(7)]
    ball = entry('ball', 5, 50, 0, 'ball')
    bank = make_bank(entries=(*cups[:4], ball, *cups[4:]))
    pruned, dropped = prune(bank, 3)
    kept = [e.stamp for e in pruned.entries if e.object_key == 'cup']
    assert sorted(stamp % 100 % 3 for stamp in kept) == [0, 1, 2] and kept == sorted(kept)
    assert [e.object_key for e in pruned.entries].count('ball') == 1
    assert (pruned.created, pruned.source, pruned.model) == (
        bank.created, bank.source, bank.model,
    )  # fmt: skip
    assert len(dropped) == 4
    for item in dropped:
        assert bank.entries[item.index] is item.entry
        near = bank.entries[item.nearest]
        assert near in pruned.entries and item.entry not in pruned.entries
        assert (near.stamp - item.entry.stamp) % 3 == 0
        assert 0 < item.distance < 0.05
        assert item.distance == pytest.approx(float(distances([near, item.entry])[0, 1]))


def test_nothing_to_drop_is_no_change():
    bank = make_bank()
    pruned, dropped = prune(bank, 2)
    assert pruned.entries == bank.entries and not dropped
    with pytest.raises(BankError, match='max_entries must be >= 1, got 0'):
        prune(bank, 0)
