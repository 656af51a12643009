# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Between memory banks and the objects of a stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from detsam2_ros.engine.bank import BankEntry, MemoryBank
from detsam2_ros.engine.errors import BankError
from detsam2_ros.engine.identity import ModelIdentity
from detsam2_ros.engine.memory import Memory, choose, summary
from detsam2_ros.engine.objects import TrackedObject


def bank_objects(bank: MemoryBank, device: torch.device) -> list[TrackedObject]:
    """Return an object to look for, for each object of the bank, its memories on the device."""
    return [
        TrackedObject(
            id=None,
            class_id=class_id,
            class_name=class_name,
            born=-1,
            last_seen=-1,
            key=key,
            bank=tuple(entry.memory.to(device) for entry in entries),
        )
        for key, (class_id, class_name, entries) in bank.objects().items()
    ]


def check_object_count(bank: MemoryBank, most: int) -> None:
    """Raise BankError when the bank holds more objects than a stream may have."""
    count = len(bank.objects())
    if count > most:
        raise BankError(
            f'the memory bank holds {count} objects, but max_objects is {most}; raise '
            f'max_objects or take a smaller bank'
        )


def joined(first: MemoryBank, second: MemoryBank) -> MemoryBank:
    """Return one bank with the entries of both; those that both have are taken once.

    Raises BankError when one key stands for two classes.
    """
    known = {(e.object_key, e.stamp, e.memory.spatial.sum().item()) for e in first.entries}
    more = [
        entry
        for entry in second.entries
        if (entry.object_key, entry.stamp, entry.memory.spatial.sum().item()) not in known
    ]
    return MemoryBank(
        model=second.model,
        entries=first.entries + tuple(more),
        source='; '.join(source for source in (first.source, second.source) if source),
    )


def export_bank(
    model: ModelIdentity,
    objects: Sequence[TrackedObject],
    bank: MemoryBank | None,
    source: str,
    max_entries: int,
) -> MemoryBank:
    """Make a bank of what objects remember: the newest and the most different memories.

    Memories of frames where the object was not there are left out. An object of the loaded
    bank keeps its key, and its bank entries compete with its own; others are named by class
    and id.
    """
    banked = {} if bank is None else bank.objects()
    entries: list[BankEntry] = []
    for tracked in objects:
        _, _, given = banked.get(tracked.key or '', (0, '', ()))
        kept: list[tuple[int, Memory]] = [
            (entry.stamp, entry.memory) for entry in given if tracked.bank
        ]
        kept += [
            (entry.stamp, entry.memory.to(torch.device('cpu')))
            for _, entry in sorted(tracked.conditioned.items())
            if entry.memory.score > 0
        ]
        summaries = {i: summary(memory) for i, (_, memory) in enumerate(kept)}
        for i in choose(list(summaries), summaries, max_entries):
            stamp, memory = kept[i]
            key = tracked.key or f'{tracked.class_name}-{tracked.id}'
            entries.append(BankEntry(key, tracked.class_id, tracked.class_name, stamp, memory))
    return MemoryBank(model=model, entries=tuple(entries), source=source)
