# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory banks: conditioned memories of an earlier recording, kept in a file."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import torch

from detsam2_ros.engine.bank.header import (
    PARTS,
    EntryLabel,
    Header,
    check_header,
    check_layout,
    check_model,
    read_header,
    tensor_name,
    write_header,
)
from detsam2_ros.engine.bank.tensors import open_tensors, write_tensors
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import ModelIdentity
from detsam2_ros.results.errors import BankError

DEFAULT_MAX_BANK_BYTES = 1 << 30


@dataclass(frozen=True)
class BankEntry:
    """One conditioned memory of an object of the bank."""

    object_key: str  # the object within this bank
    class_id: int  # 0..2^31-1
    class_name: str
    stamp: int  # of the frame that the memory was made on, nanoseconds
    memory: Memory  # on the CPU

    @property
    def nbytes(self) -> int:
        """Bytes of the memory's tensors."""
        return sum(tensor.nbytes for tensor in _tensors(self.memory).values())

    def digest(self) -> bytes:
        """Return the SHA-256 of the spatial memory; equal memories have equal digests."""
        spatial = self.memory.spatial.contiguous().view(torch.uint8)
        return hashlib.sha256(spatial.numpy().tobytes()).digest()


@dataclass(frozen=True)
class BankObject:
    """An object of a bank: its class and its entries, in the bank's order."""

    key: str  # within the bank
    class_id: int
    class_name: str
    entries: tuple[BankEntry, ...]


@dataclass(frozen=True)
class BankInfo:
    """What the header of a bank file says, without its tensors; from `inspect`."""

    model: ModelIdentity
    created: str  # ISO 8601 in UTC
    source: str  # free text: what the bank was recorded from
    labels: tuple[EntryLabel, ...]  # a label for each entry, in the file's order
    file_bytes: int

    @property
    def entry_counts(self) -> dict[str, int]:
        """The number of entries of each object, by object key in the file's order."""
        return dict(Counter(label.key for label in self.labels))

    def check(self, model: ModelIdentity) -> None:
        """Raise BankError, naming both models, when another model made the bank."""
        check_model(self.model, model)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


@dataclass(frozen=True)
class MemoryBank:
    """Conditioned memories of objects, and the model that made the memories.

    Raises BankError for a memory whose shape or dtype is not the model's, that holds NaN or
    infinity, or that is not on the CPU. Raises BankError for an object of two classes and for an
    entry that comes twice.
    """

    model: ModelIdentity
    entries: tuple[BankEntry, ...]
    created: str = field(default_factory=_now)  # ISO 8601 in UTC
    source: str = ''  # free text: what the bank was recorded from

    def __post_init__(self) -> None:
        object.__setattr__(self, 'entries', tuple(self.entries))
        check_header(self._header())
        # Stamps may repeat (a source may have no clock); no memory may be attended to twice.
        frames = Counter((e.object_key, e.stamp) for e in self.entries)
        seen: set[tuple[str, bytes]] = set()
        for i, entry in enumerate(self.entries):
            for part, tensor in _tensors(entry.memory).items():
                _check_tensor(f'entry {i} ({entry.object_key}): {part}', part, tensor, self.model)
            if frames[entry.object_key, entry.stamp] > 1:
                content = (entry.object_key, entry.digest())
                if content in seen:
                    raise BankError(f'entry {i} ({entry.object_key}) is there twice')
                seen.add(content)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors of the bank."""
        return sum(entry.nbytes for entry in self.entries)

    def objects(self) -> dict[str, BankObject]:
        """Return the objects by their keys, in the bank's order."""
        entries: dict[str, list[BankEntry]] = {}
        for entry in self.entries:
            entries.setdefault(entry.object_key, []).append(entry)
        return {
            key: BankObject(key, own[0].class_id, own[0].class_name, tuple(own))
            for key, own in entries.items()
        }

    def check(self, model: ModelIdentity) -> None:
        """Raise BankError, naming both models, when another model made the bank."""
        check_model(self.model, model)

    def _header(self) -> Header:
        labels = (
            EntryLabel(e.object_key, e.class_id, e.class_name, e.stamp) for e in self.entries
        )
        return Header(self.model, self.created, self.source, tuple(labels))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], max_bytes: int = DEFAULT_MAX_BANK_BYTES
    ) -> MemoryBank:
        """Read a bank; raises BankError, naming the file, for a file that is not a sound bank.

        The header is checked before any tensor is read. max_bytes limits the size of the file.
        """
        try:
            with open_tensors(Path(path), max_bytes) as file:
                header = read_header(file)
                entries = []
                for i, label in enumerate(header.labels):
                    parts = {part: file.read(tensor_name(i, part)) for part in PARTS}
                    entries.append(BankEntry(*label, Memory(**parts)))
            return cls(header.model, tuple(entries), header.created, header.source)
        except BankError as error:
            raise BankError(f'cannot load memory bank {path}: {error}') from error

    def save(self, path: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the bank to a file that appears whole or not at all.

        The same bank gives the same bytes. Raises BankError when the file cannot be written, and
        when a file of this name exists and overwrite is False. A failure leaves an existing file
        as it was.
        """
        if not self.entries:
            raise BankError(
                f'cannot save memory bank {path}: there is nothing to save, no object has a '
                'conditioned memory'
            )
        tensors = {
            tensor_name(i, part): tensor
            for i, entry in enumerate(self.entries)
            for part, tensor in _tensors(entry.memory).items()
        }
        try:
            write_tensors(Path(path), tensors, write_header(self._header()), overwrite)
        except BankError as error:
            raise BankError(f'cannot save memory bank {path}: {error}') from error


def inspect(path: str | os.PathLike[str], max_bytes: int = DEFAULT_MAX_BANK_BYTES) -> BankInfo:
    """Read the header of a bank file without its tensors; raises BankError as `load` does."""
    try:
        with open_tensors(Path(path), max_bytes) as file:
            return BankInfo(*read_header(file), file.size)
    except BankError as error:
        raise BankError(f'cannot load memory bank {path}: {error}') from error


def _tensors(memory: Memory) -> dict[str, torch.Tensor]:
    return {part: getattr(memory, part) for part in PARTS}


def _check_tensor(what: str, part: str, tensor: torch.Tensor, model: ModelIdentity) -> None:
    check_layout(what, part, tensor.dtype, tuple(tensor.shape), model)
    if tensor.device.type != 'cpu':
        raise BankError(f'{what} is on {tensor.device}, a memory bank keeps its tensors on cpu')
    if not torch.isfinite(tensor).all():
        raise BankError(f'{what} holds NaN or infinity')
