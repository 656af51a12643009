# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A small memory bank for tests, and ways to take its file apart and put it together again."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.bank.header import METADATA_KEY
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import ModelIdentity

MODEL = ModelIdentity('tiny', 'ab' * 32, 64, (4, 3, 2), 8)


def memory(seed: int, model: ModelIdentity = MODEL) -> Memory:
    random = torch.Generator().manual_seed(seed)
    return Memory(
        torch.randn(model.memory_shape, generator=random).bfloat16(),
        torch.randn(model.pointer_dim, generator=random),
        torch.randn((), generator=random),
    )


def entry(key: str, stamp: int, seed: int, class_id: int = 7, name: str = 'cup') -> BankEntry:
    return BankEntry(key, class_id, name, stamp, memory(seed))


def make_bank(**changes: object) -> MemoryBank:
    entries = (entry('cup-1', 10, 1), entry('cup-1', 20, 2), entry('ball', 10, 3, 0, 'bäll'))
    return dataclasses.replace(
        MemoryBank(MODEL, entries, '2026-01-02T03:04:05+00:00', 'video.mp4'), **changes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'bank.safetensors'


def same(a: MemoryBank, b: MemoryBank) -> bool:
    def bits(bank: MemoryBank) -> list[object]:
        return [
            (e.object_key, e.class_id, e.class_name, e.stamp, t.dtype, t.shape, raw(t))
            for e in bank.entries
            for t in (e.memory.spatial, e.memory.pointer, e.memory.score)
        ]

    def raw(tensor: torch.Tensor) -> bytes:
        return tensor.reshape(-1).view(torch.uint8).numpy().tobytes()

    heads = [(bank.model, bank.created, bank.source) for bank in (a, b)]
    return heads[0] == heads[1] and bits(a) == bits(b)


def parts(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], 'little')
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def rewrite(path: Path, header: dict | bytes, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, 'little') + text + data)


def change_header(path: Path, change) -> None:
    """Apply change to the memory bank's own header inside the file."""
    header, data = parts(path)
    own = json.loads(header['__metadata__'][METADATA_KEY])
    change(own)
    header['__metadata__'][METADATA_KEY] = json.dumps(own)
    rewrite(path, header, data)
