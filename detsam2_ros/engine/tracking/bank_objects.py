# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Between memory banks and the objects of a stream."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import torch

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.bank.header import MAX_TEXT
from detsam2_ros.engine.detector.classes import ClassTable
from detsam2_ros.engine.sam2.attended_memories import choose
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import ModelIdentity
from detsam2_ros.engine.tracking.objects import BankView, TrackedObject
from detsam2_ros.results.errors import BankError


def bank_objects(
    bank: MemoryBank,
    device: torch.device,
    keys: Collection[str] | None = None,
    since: int | None = None,
) -> list[TrackedObject]:
    """Return an object to look for, for each object of the bank, its memories on the device.

    keys: of the objects wanted; None for all. since: the next frame, if a pass could correct
    frames before it.
    """
    return [
        TrackedObject(
            id=None,
            class_id=banked.class_id,
            class_name=banked.class_name,
            confirmed=True,
            bank=BankView(
                (key,), tuple(entry.memory.to(device) for entry in banked.entries), since
            ),
        )
        for key, banked in bank.objects().items()
        if keys is None or key in keys
    ]


def look_for_bank(
    bank: MemoryBank | None,
    objects: Sequence[TrackedObject],
    device: torch.device,
    since: int | None = None,
    former: Iterable[TrackedObject] = (),
) -> tuple[TrackedObject, ...]:
    """Return objects, and one to look for, for each of the bank that no object stands for.

    since: see `bank_objects`. former: retired ones, whose ids come back with what the bank knows
    of them.
    """
    if bank is None:
        return tuple(objects)
    held = {(key, obj.class_id) for obj in objects if obj.bank for key in obj.bank.keys}
    missing = [key for key, banked in bank.objects().items() if (key, banked.class_id) not in held]
    wanted = bank_objects(bank, device, missing, since) if missing else []
    for obj in former:
        for own in wanted:
            if own.bank.keys[0] in obj.bank.keys and own.class_id == obj.class_id:
                own.former_id = obj.id
                break
    return (*objects, *wanted)


def rebanked(
    objects: Sequence[TrackedObject],
    bank: MemoryBank | None,
    device: torch.device,
    since: int | None,
) -> tuple[TrackedObject, ...]:
    """Return objects with their memories in another bank, without those nothing is left of.

    What the bank holds besides is looked for from now on, frame `since` being the next.
    """
    memories: dict[tuple[str, int], tuple[Memory, ...]] = {}
    if bank is not None:
        for given in bank_objects(bank, device):
            memories[given.bank.keys[0], given.class_id] = given.bank.memories
    kept = []
    for obj in objects:
        own = tuple(
            memory for key in obj.bank.keys for memory in memories.get((key, obj.class_id), ())
        )
        view = BankView(obj.bank.keys, own, since if own else None)
        obj = replace(obj.draft(), bank=view)
        if obj.remembers:
            kept.append(obj)
    return look_for_bank(bank, kept, device, since)


def loadable(
    bank: object,
    model: ModelIdentity,
    classes: ClassTable,
    earlier: MemoryBank | None,
    most: int,
) -> MemoryBank:
    """Return a bank as a stream uses it; BankError for one that it cannot use.

    classes: those of the stream, the bank's are added. earlier: a bank that it comes beside.
    most: objects that a stream may have.
    """
    if not isinstance(bank, MemoryBank):
        raise BankError(
            f'load_bank takes a MemoryBank, as MemoryBank.load(path) returns it, got '
            f'{type(bank).__name__}; unload_bank drops the one in use'
        )
    bank.check(model)
    bank = classes_by_name(bank, classes)
    if earlier is not None:
        bank = joined(earlier, bank)
    count = len(bank.objects())
    if count > most:
        raise BankError(
            f'the memory bank holds {count} objects, but max_objects is {most}; raise '
            f'max_objects or take a smaller bank'
        )
    return bank


def check_places(objects: Sequence[TrackedObject], most: int) -> None:
    """Raise BankError when living objects and those that a bank adds are more than may be."""
    if len(objects) > most:
        raise BankError(
            f'with the memory bank there would be {len(objects)} objects{banked(objects)}, but '
            f'max_objects is {most}; raise max_objects, remove objects or take a smaller bank'
        )


def banked(objects: Sequence[TrackedObject]) -> str:
    """Say in brackets how many objects a bank alone knows; nothing where there are none."""
    count = sum(not obj.is_known for obj in objects)
    return f' ({count} of them looked for by the memory bank)' if count else ''


def classes_by_name(bank: MemoryBank, classes: ClassTable) -> MemoryBank:
    """Return the bank with the class ids that its class names have in the table.

    New names are added to the table: under their own id where that is free. A bank whose ids are
    right is returned as it is.
    """
    ids: dict[tuple[int, str], int] = {}
    for entry in bank.entries:
        kind = (entry.class_id, entry.class_name)
        if kind not in ids:
            if entry.class_name not in classes.names.values():
                classes.note(*kind)
            own = classes.names.get(entry.class_id) == entry.class_name  # one of two of this name
            ids[kind] = entry.class_id if own else classes.find(entry.class_name)
    if all(kind[0] == id_ for kind, id_ in ids.items()):
        return bank
    entries = tuple(
        replace(entry, class_id=ids[entry.class_id, entry.class_name]) for entry in bank.entries
    )
    return replace(bank, entries=entries)


def joined(first: MemoryBank, second: MemoryBank) -> MemoryBank:
    """Return one bank with the entries of both; those that both have are taken once.

    Raises BankError when one key stands for two classes. Of a long source text the start is kept.
    """
    known = {_content(entry) for entry in first.entries}
    more = [entry for entry in second.entries if _content(entry) not in known]
    source = '; '.join(source for source in (first.source, second.source) if source)
    if len(source) > MAX_TEXT:
        source = source[: MAX_TEXT - 3] + '...'
    return MemoryBank(model=second.model, entries=first.entries + tuple(more), source=source)


def without(bank: MemoryBank | None, obj: TrackedObject) -> MemoryBank | None:
    """Return a bank without what an object stands for; None when nothing is left."""
    if bank is None or not obj.bank:
        return bank
    kept = tuple(
        e for e in bank.entries
        if e.object_key not in obj.bank.keys or e.class_id != obj.class_id
    )  # fmt: skip
    return replace(bank, entries=kept) if kept else None


def renamed(
    bank: MemoryBank | None, obj: TrackedObject, class_id: int, class_name: str
) -> MemoryBank | None:
    """Return a bank in which what an object stands for has another class."""
    if bank is None or not obj.bank:
        return bank
    entries = tuple(
        replace(e, class_id=class_id, class_name=class_name)
        if e.object_key in obj.bank.keys and e.class_id == obj.class_id
        else e
        for e in bank.entries
    )
    return replace(bank, entries=entries)


def export_bank(
    model: ModelIdentity,
    objects: Sequence[TrackedObject],
    bank: MemoryBank | None,
    source: str,
    max_entries: int,
    new_only: bool = False,
) -> MemoryBank:
    """Make a bank of what objects remember: the newest and the most different memories.

    Memories of frames where the object was not there are left out, and one that comes twice is
    taken once. An object of the loaded bank keeps its key, and its bank entries compete with its
    own; others are named by class and id. new_only: without the entries of the loaded bank, and
    without objects that have no others.
    """
    banked = {} if bank is None else bank.objects()
    used = set(banked)
    entries: list[BankEntry] = []
    for tracked in objects:
        keys = tracked.bank.keys
        key = keys[0] if keys else f'{tracked.class_name}-{tracked.id}'
        while not keys and key in used:
            key += "'"
        used.add(key)
        loaded = [banked[k] for k in keys if tracked.bank and k in banked]
        given = [] if new_only else [entry for own in loaded for entry in own.entries]
        kept = [(entry.stamp, entry.memory) for entry in given]
        kept += [
            (prompt.stamp, prompt.memory.to(torch.device('cpu')))
            for _, prompt in sorted(tracked.prompts.items())
            if prompt.memory.score > 0
        ]
        made = [BankEntry(key, tracked.class_id, tracked.class_name, *item) for item in kept]
        distinct = list({_content(entry): entry for entry in made}.values())
        memories = {i: entry.memory for i, entry in enumerate(distinct)}
        entries += [distinct[i] for i in choose(memories, max_entries)]
    return MemoryBank(model=model, entries=tuple(entries), source=source)


def _content(entry: BankEntry) -> tuple[str, int, int, bytes]:
    """Return what makes two entries the same one."""
    return entry.object_key, entry.class_id, entry.stamp, entry.digest()
