# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Choosing the entries to keep: those that lie nearest to all others (k-centre problem)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.results.errors import BankError

_MAX_SETS = 50_000  # sets that are tried one by one; beyond that, the search is greedy


@dataclass(frozen=True)
class Dropped:
    """An entry that was dropped from a bank, and the kept entry nearest to it."""

    index: int  # of the entry in the bank before
    entry: BankEntry
    nearest: int  # index of the nearest kept entry in the bank before
    distance: float  # between the summaries of both, unit vectors: 0 for equal ones, at most 2


def prune(bank: MemoryBank, max_entries: int) -> tuple[MemoryBank, list[Dropped]]:
    """Keep at most max_entries entries of each object: those that cover the others best.

    Returns the bank, with the kept entries in their old order, and the dropped entries. Raises
    BankError for max_entries below 1.
    """
    if max_entries < 1:
        raise BankError(f'max_entries must be >= 1, got {max_entries}')
    dropped: list[Dropped] = []
    for key in bank.objects():
        places = [i for i, entry in enumerate(bank.entries) if entry.object_key == key]
        if len(places) <= max_entries:
            continue
        apart = distances([bank.entries[i] for i in places])
        kept = cover(apart, max_entries)
        for at in sorted(set(range(len(places))) - set(kept)):
            nearest = min(kept, key=lambda other: (apart[at, other], other))
            dropped.append(
                Dropped(
                    places[at],
                    bank.entries[places[at]],
                    places[nearest],
                    float(apart[at, nearest]),
                )
            )
    gone = {item.index for item in dropped}
    left = tuple(entry for i, entry in enumerate(bank.entries) if i not in gone)
    return MemoryBank(bank.model, left, bank.created, bank.source), dropped


def distances(entries: list[BankEntry]) -> np.ndarray:
    """Return the distances between entries, float64 [n, n].

    A distance is that between summaries (Memory.summary), by which the engine also chooses.
    """
    vectors = torch.stack([entry.memory.summary for entry in entries]).double()
    apart: np.ndarray = torch.cdist(
        vectors, vectors, compute_mode='donot_use_mm_for_euclid_dist'
    ).numpy()
    return apart


def cover(apart: np.ndarray, count: int) -> list[int]:
    """Choose count of n points so that the largest distance to a nearest chosen point is least.

    apart: distances, [n, n]. Returns the indices of the chosen points. Among equal sets the one
    with the smallest sum of distances wins, then the first. The choice is exact up to _MAX_SETS
    possible sets. Beyond that it is the best greedy choice over all starts, where each next point
    is the farthest one; the largest distance is then at most twice the optimum.
    """
    n = len(apart)
    if count >= n:
        return list(range(n))
    sets = (
        itertools.combinations(range(n), count)
        if math.comb(n, count) <= _MAX_SETS
        else (_greedy(apart, start, count) for start in range(n))
    )
    best: tuple[float, float, tuple[int, ...]] | None = None
    for chosen in sets:
        nearest = apart[:, chosen].min(axis=1)
        # Rounded, so that the order of summation does not decide between equal sets.
        found = (round(float(nearest.max()), 9), round(float(nearest.sum()), 9), chosen)
        if best is None or found < best:
            best = found
    assert best is not None
    return list(best[2])


def _greedy(apart: np.ndarray, start: int, count: int) -> tuple[int, ...]:
    chosen = [start]
    nearest = apart[start].copy()
    while len(chosen) < count:
        farthest = int(nearest.argmax())
        chosen.append(farthest)
        nearest = np.minimum(nearest, apart[farthest])
    return tuple(sorted(chosen))
