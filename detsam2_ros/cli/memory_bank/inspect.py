# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""memory_bank inspect: a bank as a table, as JSON, and as a sheet on an image."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from detsam2_ros.banks.attention_map import looks
from detsam2_ros.cli.memory_bank.common import (
    add_model,
    add_overwrite,
    check_output,
    describe,
    load_model,
)
from detsam2_ros.cli.memory_bank.sheet import Shown, draw, write_html, write_sheet
from detsam2_ros.engine import ConfigError, MemoryBank
from detsam2_ros.media.images import ImageFileError, read_image
from detsam2_ros.media.video import InputError
from detsam2_ros.words import counted


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser(
        'inspect',
        help='report what is in a bank, and what it finds in an image',
        description='Report what is in a bank. With --image also draw, for each entry alone, '
        'where the image reads the object in the entry, and the mask that the entry gives.',
    )
    verb.add_argument('bank', type=Path, help='the bank')
    verb.add_argument('--entries', action='store_true', help='also print a line for each entry')
    verb.add_argument('--json', action='store_true', help='everything as JSON instead of a table')
    sheet = verb.add_argument_group('sheet')
    sheet.add_argument('--image', type=Path, metavar='FILE', help='the image to look at')
    sheet.add_argument('--html', type=Path, metavar='FILE', help='write a page')
    sheet.add_argument('--png', type=Path, metavar='FILE', help='write a picture')
    sheet.add_argument(
        '--key', action='append', default=[], help='only this object; may be repeated'
    )
    add_overwrite(sheet)
    add_model(verb, None, 'for the sheet; default: the model that the bank names')
    verb.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Report and draw; raises InputError or EngineError."""
    wanted = [(path, o) for path, o in ((given.html, '--html'), (given.png, '--png')) if path]
    if wanted and given.image is None:
        raise ConfigError(f'{wanted[0][1]} needs --image FILE: what the bank is shown')
    if given.image is not None and not wanted:
        raise ConfigError('--image needs --html FILE or --png FILE: where the sheet goes')
    for path, option in wanted:
        check_output(path, given.overwrite, option)
    bank = MemoryBank.load(given.bank)
    for key in given.key:
        if key not in bank.objects():
            raise ConfigError(f'--key {key}: the bank has {", ".join(bank.objects())[:200]}')
    print(json.dumps(facts(given.bank, bank), indent=1) if given.json else table(given, bank))
    if wanted:
        _sheet(given, bank)
    return 0


def facts(path: Path, bank: MemoryBank) -> dict[str, Any]:
    """Return everything reported about a bank, as a JSON value."""
    objects = [
        {
            'key': key,
            'class_id': banked.class_id,
            'class_name': banked.class_name,
            'entries': len(banked.entries),
            'bytes': sum(entry.nbytes for entry in banked.entries),
        }
        for key, banked in bank.objects().items()
    ]
    entries = [
        {
            'entry': i,
            'key': entry.object_key,
            'class_name': entry.class_name,
            'stamp': entry.stamp,
            'score': round(float(entry.memory.score.sigmoid()), 4),
        }
        for i, entry in enumerate(bank.entries)
    ]
    return {
        'file': str(path),
        'file_bytes': path.stat().st_size,
        'bytes': bank.nbytes,
        'model': dataclasses.asdict(bank.model),
        'created': bank.created,
        'source': bank.source,
        'objects': objects,
        'entries': entries,
    }


def table(given: argparse.Namespace, bank: MemoryBank) -> str:
    """Return the bank as a table for people."""
    reported = facts(given.bank, bank)
    model = bank.model
    lines = [
        f'{given.bank}: {describe(bank)}',
        f'  model    {model.name}, {model.image_size} pixels, sha256 {model.sha256[:12]}',
        f'  created  {bank.created}',
        f'  source   {bank.source or "not given"}',
        '',
    ]
    rows = [('object', 'class', 'id', 'entries', 'bytes')]
    rows += [
        (o['key'], o['class_name'], str(o['class_id']), str(o['entries']), str(o['bytes']))
        for o in reported['objects']
    ]
    lines += _aligned(rows, numbers=3)
    if given.entries:
        rows = [('entry', 'object', 'class', 'stamp', 'score')]
        rows += [
            (str(e['entry']), e['key'], e['class_name'], f'{e["stamp"] / 1e9:.3f} s',
             f'{e["score"]:.2f}')
            for e in reported['entries']
        ]  # fmt: skip
        lines += ['', *_aligned(rows, numbers=2)]
    return '\n'.join(lines)


def _aligned(rows: Sequence[tuple[str, ...]], numbers: int) -> list[str]:
    """Return rows as lines of aligned columns, the last `numbers` columns to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = len(widths) - numbers
    return [
        '  '
        + '  '.join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _sheet(given: argparse.Namespace, bank: MemoryBank) -> None:
    try:
        image = read_image(given.image)
    except ImageFileError as error:
        raise InputError(f'--image {given.image} cannot be used: it is {error}') from error
    model = load_model(given, given.sam2 or bank.model.name)
    bank.check(model.identity)
    indices = [
        i for i, entry in enumerate(bank.entries) if not given.key or entry.object_key in given.key
    ]
    found_by = looks(model, [bank.entries[i] for i in indices], image)
    # A bar appears only on a terminal. Large models take seconds for each entry on a CPU.
    bar = tqdm(found_by, total=len(indices), unit='entry', disable=None, dynamic_ncols=True)
    shown = [
        draw(image, Shown(index, bank.entries[index], look))
        for index, look in zip(indices, bar, strict=True)
    ]
    title = f'{given.bank.name} on {given.image.name}'
    if given.html is not None:
        write_html(given.html, title, table(given, bank), image, shown)
    if given.png is not None:
        if len(shown) > 60:
            raise InputError(f'--png: {len(shown)} entries are too many; take --html or --key')
        write_sheet(given.png, shown)
    # Standard output may be JSON for a program.
    found = sum(item.found for item in shown)
    print(
        f'memory_bank: {found} of {counted(len(shown), "entry", "entries")} find something in '
        f'{given.image.name}',
        file=sys.stderr,
    )
