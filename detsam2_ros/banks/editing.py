# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Banks made of other banks: merged, without some objects or entries, or with other names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.bank.header import check_model
from detsam2_ros.engine.tracking.bank_objects import joined
from detsam2_ros.results.errors import BankError


def merge(banks: Sequence[tuple[str, MemoryBank]]) -> MemoryBank:
    """Return one bank with the entries of all banks.

    banks: (name, bank) pairs, at least one. Objects of one key and class become one object. An
    entry that several banks hold is taken once. Raises BankError, naming both banks, when their
    models differ, or when a key or a class name means something else in each bank.
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
    """Refuse a class name with two ids: a subscriber could not distinguish the classes."""
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

    entries: indices in the bank, from 0. Also returns the removed entries. Raises BankError for
    a key, class or index that the bank does not have, and when no entry would be left.
    """
    objects = bank.objects()
    _check_known('object', keys, objects)
    _check_known('class', classes, {o.class_name for o in objects.values()})
    for index in entries:
        if not 0 <= index < len(bank):
            raise BankError(f'there is no entry {index}; the bank has 0 to {len(bank) - 1}')
    removed: list[BankEntry] = []
    left: list[BankEntry] = []
    for i, entry in enumerate(bank.entries):
        goes = i in entries or entry.object_key in keys or entry.class_name in classes
        (removed if goes else left).append(entry)
    if not left:
        raise BankError('nothing would be left; delete the file instead')
    return replace(bank, entries=tuple(left)), removed


def rename(
    bank: MemoryBank,
    keys: Mapping[str, str] | None = None,
    classes: Mapping[str, str] | None = None,
    class_ids: Mapping[str, int] | None = None,
) -> MemoryBank:
    """Return the bank with other object keys, class names and class ids.

    keys, classes: new names by old names. class_ids: new ids by class names, after renaming. All
    keys change at once, so two objects may swap their keys. Objects that get one key become one
    object. Raises BankError for a name that the bank does not have, and when two classes would
    share a key or a name.
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
