# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the verbs of memory_bank share: options, checks of files, and reports about banks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from detsam2_ros.engine import ConfigError, MemoryBank, default_device, load_sam2
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.media.video import InputError
from detsam2_ros.words import counted

SUFFIX = '.safetensors'


def add_output(verb: Any) -> None:
    """Add -o and --overwrite."""
    verb.add_argument(
        '-o', '--output', type=Path, required=True, metavar='FILE', help='the bank to write'
    )
    add_overwrite(verb)


def add_overwrite(verb: Any) -> None:
    """Add --overwrite."""
    verb.add_argument('--overwrite', action='store_true', help='replace an existing file')


def add_model(verb: Any, default: str | None, text: str) -> None:
    """Add the options of the SAM 2 model."""
    group = verb.add_argument_group('model')
    group.add_argument('--sam2', default=default, metavar='MODEL', help=text)
    group.add_argument('--sam2-config', metavar='YAML', help='config of a checkpoint file')
    group.add_argument('--device', help='default: cuda when there is a GPU, else cpu')
    group.add_argument('--dtype', choices=('float32', 'bfloat16'), help="of SAM 2's computation")


def load_model(given: argparse.Namespace, name: str) -> Sam2Model:
    """Load the model that the options of `add_model` name; raises ModelError."""
    device = given.device or default_device()
    return load_sam2(name, config=given.sam2_config, device=device, dtype=given.dtype)


def check_output(path: Path, overwrite: bool, option: str = '--output') -> None:
    """Raise InputError for a file that cannot be written; to be called before any work."""
    if not path.absolute().parent.is_dir():
        raise InputError(f'{option} {path}: there is no such folder')
    if path.is_dir():
        raise InputError(f'{option} {path} is a folder; give a file')
    if path.exists() and not overwrite:
        raise InputError(f'{option} {path} is there already; give another name or --overwrite')


def check_positive(value: int | None, option: str) -> None:
    """Raise ConfigError for a number below 1; None is accepted."""
    if value is not None and value < 1:
        raise ConfigError(f'{option} must be >= 1, got {value}')


def save(bank: MemoryBank, path: Path, overwrite: bool) -> None:
    """Write a bank and report its counts; raises BankError."""
    bank.save(path, overwrite)
    print(f'{path}: {describe(bank)}')


def describe(bank: MemoryBank) -> str:
    """Return the counts of a bank in words."""
    objects = bank.objects()
    classes = {o.class_name for o in objects.values()}
    return (
        f'{counted(len(objects), "object")} of {counted(len(classes), "class", "classes")}, '
        f'{counted(len(bank), "entry", "entries")}, {bank.nbytes} bytes'
    )
