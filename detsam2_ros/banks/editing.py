# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Banks made of banks: merged, with objects or entries removed, with other names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.bank.header import check_model
from detsam2_ros.engine.tracking.bank_objects import joined
from detsam2_ros.results.errors import BankError


def merge(banks: Sequence[tuple[str, MemoryBank]]) -> MemoryBank:
    """Return one bank with the entries of all; (name, bank) pairs, at least one.

    Objects of one key and class become one; an entry that comes twice is taken once. Raises
    BankError naming both banks when they are of different models, or when a key or a class name
    means something else in each.
    """
    first_name, merged = banks[0]
    owners = dict.fromkeys(merged.objects(), first_name)
    for name, bank in banks[1:]:
        try:
            check_model(bank.model, merged.model)
        except BankError as error:
            raise BankError(f'{name} does not go with {first_name}: {error}') from error
        objects = merged.objects()
        for key, new in bank.objects().items():
            known = objects.get(key, new)
            if (known.class_id, known.class_name) != (new.class_id, new.class_name):
                raise BankError(
                    f'object {key!r} is class {known.class_id} ({known.class_name}) in '
                    f'{owners[key]} and {new.class_id} ({new.class_name}) in {name}; rename it '
                    f'in one of them'
                )
            owners.setdefault(key, name)
        _check_classes([merged, bank], name)
        merged = joined(merged, bank)
    return merged


def _check_classes(banks: Sequence[MemoryBank], name: str) -> None:
    """Refuse one class name with two ids: a subscriber could not tell them apart."""
    ids: dict[str, int] = {}
    for bank in banks:
        for banked in bank.objects().values():
            known = ids.setdefault(banked.class_name, banked.class_id)
            if known != banked.class_id:
                raise BankError(
                    f'class {banked.class_name!r} has id {known} and, in {name}, '
                    f'{banked.class_id}; give it one id first: memory_bank rename --class-id'
                )


def remove(
    bank: MemoryBank,
    keys: Collection[str] = (),
    classes: Collection[str] = (),
    entries: Collection[int] = (),
) -> tuple[MemoryBank, list[BankEntry]]:
    """Return the bank without objects of these keys or classes and without these entries.

    entries: their places in the bank, from 0. Also returns what went. Raises BankError for one
    that is not there, and when nothing would be left.
    """
    objects = bank.objects()
    _check_known('object', keys, objects)
    _check_known('class', classes, {o.class_name for o in objects.values()})
    for place in entries:
        if not 0 <= place < len(bank):
            raise BankError(f'there is no entry {place}; the bank has 0 to {len(bank) - 1}')
    gone: list[BankEntry] = []
    left: list[BankEntry] = []
    for i, entry in enumerate(bank.entries):
        goes = i in entries or entry.object_key in keys or entry.class_name in classes
        (gone if goes else left).append(entry)
    if not left:
        raise BankError('nothing would be left; delete the file instead')
    return replace(bank, entries=tuple(left)), gone


def rename(
    bank: MemoryBank,
    keys: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
    class_ids: Mapping[str, int] | None = None,
) -> MemoryBank:
    """Return the bank with other object keys, class names and class ids, by their old names.

    class_ids: by the name of a class, the new one if it gets one. All keys change at once, so
    two may swap. Objects that get one key become one. Raises BankError for a name that is not
    there, and when two classes would meet in one key or one name.
    """
    keys, classes, class_ids = keys or {}, classes or {}, class_ids or {}
    objects = bank.objects()
    _check_known('object', keys, objects)
    _check_known('class', classes, {o.class_name for o in objects.values()})
    entries = []
    for entry in bank.entries:
        name = classes.get(entry.class_name, entry.class_name)
        entries.append(
            replace(
                entry,
                object_key=keys.get(entry.object_key, entry.object_key),
                class_name=name,
                class_id=class_ids.get(name, entry.class_id),
            )
        )
    _check_known('class', class_ids, {entry.class_name for entry in entries})
    renamed = replace(bank, entries=tuple(entries))
    _check_classes([renamed], 'the renamed bank')
    return renamed


def _check_known(what: str, given: Iterable[str], there: Collection[str]) -> None:
    for name in given:
        if name not in there:
            some = ', '.join(sorted(there)[:20])
            raise BankError(f'there is no {what} {name!r} in the bank; it has {some}')
