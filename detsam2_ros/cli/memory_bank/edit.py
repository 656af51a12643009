# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""memory_bank merge, remove and rename: banks made of other banks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detsam2_ros.banks.annotations import check_name
from detsam2_ros.banks.editing import merge, remove, rename
from detsam2_ros.cli.memory_bank.common import add_output, check_output, save
from detsam2_ros.engine import ConfigError, MemoryBank
from detsam2_ros.results.detections import MAX_CLASS_ID
from detsam2_ros.words import counted


def add_parser(subparsers: Any) -> None:
    """Add the verbs."""
    verb = subparsers.add_parser(
        'merge',
        help='join several banks into one',
        description='Write one bank with the entries of several banks of one model. Objects of '
        'one key and class become one object. An entry that several banks have is taken once.',
    )
    verb.add_argument('banks', type=Path, nargs='+', help='the banks')
    add_output(verb)
    verb.set_defaults(run=run_merge)

    verb = subparsers.add_parser(
        'remove',
        help='write a bank without some objects or entries',
        description='Write a bank without some of its objects or entries.',
    )
    verb.add_argument('bank', type=Path, help='the bank')
    verb.add_argument('--key', action='append', default=[], help='an object; may be repeated')
    verb.add_argument(
        '--class', action='append', default=[], dest='classes', metavar='NAME',
        help='all objects of a class; may be repeated',
    )  # fmt: skip
    verb.add_argument(
        '--entry', action='append', default=[], type=int, metavar='N',
        help='one entry, by its number in inspect --entries; may be repeated',
    )  # fmt: skip
    add_output(verb)
    verb.set_defaults(run=run_remove)

    verb = subparsers.add_parser(
        'rename',
        help='write a bank with other names',
        description='Write a bank with other object keys, class names or class ids. Objects that '
        'get one key become one object.',
    )
    verb.add_argument('bank', type=Path, help='the bank')
    for option, new, text in (
        ('--key', 'NEW', "an object's key"),
        ('--class', 'NEW', "a class's name"),
        ('--class-id', 'ID', "a class's number, by the (new) name of the class"),
    ):
        verb.add_argument(
            option, nargs=2, action='append', default=[], metavar=('NAME', new),
            dest={'--class': 'classes'}.get(option), help=f'{text}; may be repeated',
        )  # fmt: skip
    add_output(verb)
    verb.set_defaults(run=run_rename)


def run_merge(given: argparse.Namespace) -> int:
    """Merge and write; raises InputError or EngineError."""
    check_output(given.output, given.overwrite)
    banks = [(str(path), MemoryBank.load(path)) for path in given.banks]
    save(merge(banks), given.output, given.overwrite)
    return 0


def run_remove(given: argparse.Namespace) -> int:
    """Remove and write; raises InputError or EngineError."""
    check_output(given.output, given.overwrite)
    if not (given.key or given.classes or given.entry):
        raise ConfigError('say what to remove: --key, --class or --entry')
    bank, removed = remove(MemoryBank.load(given.bank), given.key, given.classes, given.entry)
    objects = {entry.object_key for entry in removed} - set(bank.objects())
    print(
        f'removed {counted(len(removed), "entry", "entries")}, '
        f'and with them {counted(len(objects), "object")}'
    )
    save(bank, given.output, given.overwrite)
    return 0


def run_rename(given: argparse.Namespace) -> int:
    """Rename and write; raises InputError or EngineError."""
    check_output(given.output, given.overwrite)
    keys, classes = _names(given.key, '--key'), _names(given.classes, '--class')
    ids = {}
    for name, text in _table(given.class_id, '--class-id').items():
        if not text.isdecimal() or int(text) > MAX_CLASS_ID:
            raise ConfigError(
                f'--class-id {name}: {text!r} is no whole number in 0..{MAX_CLASS_ID}'
            )
        ids[name] = int(text)
    if not (keys or classes or ids):
        raise ConfigError('say what to rename: --key, --class or --class-id')
    before = MemoryBank.load(given.bank)
    bank = rename(before, keys, classes, ids)
    joined = len(before.objects()) - len(bank.objects())
    if joined:
        print(f'{counted(joined, "object")} became part of another by its new key')
    save(bank, given.output, given.overwrite)
    return 0


def _names(pairs: Sequence[Sequence[str]], option: str) -> dict[str, str]:
    return {
        name: check_name(new, f'{option} {name}') for name, new in _table(pairs, option).items()
    }


def _table(pairs: Sequence[Sequence[str]], option: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for name, new in pairs:
        if name in table:
            raise ConfigError(f'{option} {name} is given twice')
        table[name] = new
    return table
