# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which entries to keep: those that lie nearest to all others (the k-centre problem)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.sam2.memory import summary
from detsam2_ros.results.errors import BankError

_MOST_SETS = 50_000  # that are tried one by one; beyond, greedy from each start


@dataclass(frozen=True)
class Dropped:
    """An entry that went: its place in the bank before, its nearest kept one, the distance.

    distance: between the unit vectors that stand for both, 0 for the same and at most 2.
    """

    index: int
    entry: BankEntry
    nearest: int
    distance: float


def prune(bank: MemoryBank, max_entries: int) -> tuple[MemoryBank, list[Dropped]]:
    """Keep at most so many entries of each object, those that cover the others best.

    Returns the bank, its entries in their old order, and what was dropped. Raises BankError for
    max_entries below 1.
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
    """Return how far entries are from one another, float64 [n, n].

    Between the pooled, normalised memories that the engine itself chooses by (memory.summary).
    """
    vectors = torch.stack([summary(entry.memory) for entry in entries]).double()
    apart: np.ndarray = torch.cdist(
        vectors, vectors, compute_mode='donot_use_mm_for_euclid_dist'
    ).numpy()
    return apart


def cover(apart: np.ndarray, count: int) -> list[int]:
    """Choose count of n points so that the one farthest from its nearest is nearest.

    apart: distances, [n, n]. Of equal sets the one with the smaller sum of distances, then the
    first. Exact where few sets are possible; else the best of the greedy choices (each next point
    is the farthest one, at most twice as far as need be) from every start. Returns places.
    """
    n = len(apart)
    if count >= n:
        return list(range(n))
    sets = (
        itertools.combinations(range(n), count)
        if math.comb(n, count) <= _MOST_SETS
        else (_greedy(apart, start, count) for start in range(n))
    )
    best: tuple[float, float, tuple[int, ...]] | None = None
    for chosen in sets:
        nearest = apart[:, chosen].min(axis=1)
        # Rounded: the order in which equal distances were added up must not decide.
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
