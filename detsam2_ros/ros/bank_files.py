# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The directory of memory banks, which no path may leave; no ROS in here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detsam2_ros.engine import BankError
from detsam2_ros.engine.bank import BankInfo, inspect
from detsam2_ros.engine.identity import ModelIdentity

SUFFIX = '.safetensors'
MAX_LISTED = 1000


@dataclass(frozen=True)
class BankFile:
    """A file of the directory: relative path, size, and its header or why it cannot be loaded."""

    path: str
    file_bytes: int
    info: BankInfo | None
    problem: str


def confined(directory: Path, path: str) -> Path:
    """Return the absolute path of a bank file inside the directory, links resolved.

    The suffix may be left out. Raises BankError when the path is empty or leads elsewhere.
    """
    if not path.strip() or '\0' in path:
        raise BankError(f'path {path!r} names no file; give one relative to {directory}')
    root = directory.resolve()
    wanted = Path(path if path.endswith(SUFFIX) else path + SUFFIX)
    full = (root / wanted).resolve()
    if wanted.is_absolute() or not full.is_relative_to(root) or full == root:
        raise BankError(
            f'path {path!r} leads out of the memory bank directory {directory}; give a path '
            f'relative to it, or set memory_bank_directory'
        )
    return full


def list_banks(
    directory: Path, max_bytes: int, identity: ModelIdentity | None
) -> list[BankFile]:
    """Return the bank files of the directory and its folders, by path.

    identity: of the loaded model; a bank of another one has a problem. Raises BankError when
    the directory cannot be read; one that does not exist yet holds nothing.
    """
    found = []
    for path in _files(directory):
        full = directory / path
        info, problem, size = None, '', 0
        try:
            size = full.stat().st_size
            info = inspect(confined(directory, path), max_bytes)
            if identity is not None:
                info.check(identity)
        except (BankError, OSError) as error:
            problem = str(error)
        found.append(BankFile(path, size, info, problem))
    return found


def _files(directory: Path) -> list[str]:
    if not directory.exists():
        return []
    failures: list[OSError] = []
    paths = []
    for path in _walk(directory, failures):
        paths.append(path)
        if len(paths) > MAX_LISTED:
            raise BankError(
                f'{directory} holds more than {MAX_LISTED} memory banks; move some elsewhere')
    if failures:
        raise BankError(f'{failures[0].filename} cannot be read: {failures[0].strerror}')
    return sorted(paths)


def _walk(directory: Path, failures: list[OSError]) -> Iterator[str]:
    for folder, _, names in os.walk(directory, onerror=failures.append):
        for name in names:
            if name.endswith(SUFFIX):
                yield (Path(folder) / name).relative_to(directory).as_posix()
