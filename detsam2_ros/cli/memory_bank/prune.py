# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""memory_bank prune: keep the entries that cover the others best."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from detsam2_ros.banks.coverage import prune
from detsam2_ros.cli.memory_bank.common import (
    add_output,
    check_output,
    check_positive,
    save,
)
from detsam2_ros.engine import MemoryBank
from detsam2_ros.words import counted


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser(
        'prune',
        help='keep the entries that cover the others best',
        description='Write a bank with at most N entries of each object. The kept entries are '
        'those for which the largest distance of an entry to its nearest kept entry is smallest '
        '(k-centre, on pooled memories). Distances are 0 for the same memory and at most 2.',
    )
    verb.add_argument('bank', type=Path, help='the bank')
    verb.add_argument(
        '--max-entries', type=int, required=True, metavar='N',
        help='maximum number of entries of an object',
    )  # fmt: skip
    verb.add_argument('-q', '--quiet', action='store_true', help='no line for each dropped entry')
    add_output(verb)
    verb.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Prune and write; raises InputError or EngineError."""
    check_positive(given.max_entries, '--max-entries')
    check_output(given.output, given.overwrite)
    bank, dropped = prune(MemoryBank.load(given.bank), given.max_entries)
    if not dropped:
        print(f'no object has more than {given.max_entries} entries; all are kept')
    if not given.quiet:
        for item in dropped:
            print(
                f'dropped entry {item.index} ({item.entry.object_key}, stamp {item.entry.stamp}): '
                f'{item.distance:.3f} from entry {item.nearest}, which is kept'
            )
    if dropped:
        farthest = max(item.distance for item in dropped)
        print(f'dropped {counted(len(dropped), "entry", "entries")}, at most {farthest:.3f} away')
    save(bank, given.output, given.overwrite)
    return 0
