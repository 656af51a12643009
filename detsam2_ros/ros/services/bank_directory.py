# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The directory of memory banks, which no path may leave; no ROS in here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detsam2_ros.engine import BankError
from detsam2_ros.engine.bank.bank import BankInfo, inspect
from detsam2_ros.engine.bank.tensors import reason
from detsam2_ros.engine.sam2.model import ModelIdentity

SUFFIX = '.safetensors'
MAX_LISTED = 1000


@dataclass(frozen=True)
class BankFile:
    """A bank file of the directory."""

    path: str  # relative to the directory
    file_bytes: int
    info: BankInfo | None  # its header, None where that cannot be read
    problem: str  # why the bank cannot be loaded, '' where it can


def confined(directory: Path, path: str) -> Path:
    """Return the absolute path of a bank file inside the directory, links resolved.

    The suffix may be left out. Raises BankError for a path that names no file, leads out of the
    directory, or is not valid for the file system.
    """
    name = path.rsplit('/', 1)[-1]
    if not path.strip() or '\0' in path or name in ('', '.', '..', SUFFIX):
        raise BankError(f'path {path!r} names no file; give one relative to {directory}')
    wanted = Path(path if path.endswith(SUFFIX) else path + SUFFIX)
    try:
        root = directory.resolve()
        full = (root / wanted).resolve()
        leaves = wanted.is_absolute() or not full.is_relative_to(root) or full == root
        if not leaves:  # files elsewhere are not even looked at
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.stat(full)  # raises where a name is too long or a folder cannot be read
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        raise BankError(f'path {path!r} cannot be used in {directory}: {reason(error)}') from error
    if leaves:
        raise BankError(
            f'path {path!r} leads out of the memory bank directory {directory}; give a path '
            f'relative to it, or set memory_bank_directory'
        )
    return full


def list_banks(directory: Path, max_bytes: int, identity: ModelIdentity | None) -> list[BankFile]:
    """Return the bank files of the directory and its folders, by path.

    identity: of the loaded model; a bank of another model is listed with a problem. Raises
    BankError when the directory cannot be read. A directory that does not exist yet is empty.
    """
    found = []
    for path in _files(directory):
        info, problem, size = None, '', 0
        try:
            full = confined(directory, path)  # first: nothing is reported of files elsewhere
            size = full.stat().st_size
            info = inspect(full, max_bytes)
            if identity is not None:
                info.check(identity)
            if _text(path) != path:
                raise BankError('its name is not UTF-8, so no request can name it; rename it')
        except (BankError, OSError) as error:
            problem = _text(str(error))
        found.append(BankFile(_text(path), size, info, problem))
    return found


def _text(name: str) -> str:
    """Replace what a message cannot carry: bytes of a file name that are not UTF-8."""
    return name.encode('utf-8', 'replace').decode()


def _files(directory: Path) -> list[str]:
    try:
        os.stat(directory)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BankError(f'{directory} cannot be read: {error.strerror}') from error
    failures: list[OSError] = []
    paths = []
    for path in _walk(directory, failures):
        paths.append(path)
        if len(paths) > MAX_LISTED:
            raise BankError(
                f'{directory} holds more than {MAX_LISTED} memory banks; move some elsewhere'
            )
    if failures:
        raise BankError(f'{failures[0].filename} cannot be read: {failures[0].strerror}')
    return sorted(paths)


def _walk(directory: Path, failures: list[OSError]) -> Iterator[str]:
    for folder, _, names in os.walk(directory, onerror=failures.append):
        for name in names:
            if name.endswith(SUFFIX):
                yield (Path(folder) / name).relative_to(directory).as_posix()
