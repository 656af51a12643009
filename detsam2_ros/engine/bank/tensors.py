# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Safetensors files, read without trust in their header and written whole or not at all.

The layout is the public one (8 bytes length, JSON header, tensor bytes), so any safetensors
library reads these files. The library `safetensors` cannot read them here: on a file that shrinks
its memory map gives zeros or ends the process (both tests
`test_a_file_that_shrinks_while_it_is_read`), and its refusals do not name the tensor at fault
(`test_a_container_that_lies_is_refused`), so the header would have to be parsed here all the same.
Its `save` holds the file in memory as a whole, and orders tensors by their names as text; banks
of more than ten entries would get other bytes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from detsam2_ros.results.errors import BankError

MAX_HEADER_BYTES = 4 << 20
_MAX_DIMS = 8
_DTYPES = {'F32': torch.float32, 'BF16': torch.bfloat16}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class TensorPlace:
    """Dtype, shape and place of a tensor, as the header declares them."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int  # of its bytes, counted from the end of the header
    end: int


class TensorFile:
    """An open safetensors file whose header fits the file's size; see `open_tensors`."""

    def __init__(self, file: BinaryIO, max_bytes: int):
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        if self.size > max_bytes:
            raise BankError(
                f'it has {self.size} bytes, the limit (max_bank_bytes) is {max_bytes} bytes'
            )
        length = int.from_bytes(self._read(0, 8), 'little')
        if length > MAX_HEADER_BYTES or length < 2:
            raise BankError(
                f'this is not a safetensors file: its first bytes declare a header of {length} '
                f'bytes, at most {MAX_HEADER_BYTES} are accepted'
            )
        self._data_start = 8 + length
        header = parse_json(self._read(8, length), 'safetensors header')
        self.metadata = header.pop('__metadata__', {})
        if not isinstance(self.metadata, dict):
            raise BankError('its safetensors metadata is not a table')
        self.tensors = {name: _place(name, value) for name, value in header.items()}
        self._check_extent()

    def read(self, name: str) -> torch.Tensor:
        """Read a tensor into new memory; raises BankError when the file became shorter."""
        place = self.tensors[name]
        data = bytearray(self._read(self._data_start + place.begin, place.end - place.begin))
        return torch.frombuffer(data, dtype=place.dtype).reshape(place.shape)

    def _read(self, start: int, count: int) -> bytes:
        if start + count > self.size:
            raise BankError(
                f'it is cut short: it has {self.size} bytes, its header needs {start + count}'
            )
        self._file.seek(start)
        data = self._file.read(count)
        if len(data) != count:
            raise BankError(f'it became shorter while it was read: {self.size} bytes are gone')
        return data

    def _check_extent(self) -> None:
        """Check that the tensors fill the file: no gap, no overlap, nothing after the last."""
        end = 0
        for name, place in sorted(self.tensors.items(), key=lambda item: item[1].begin):
            if place.begin != end:
                raise BankError(
                    f'its tensor {name!r:.80} starts at byte {place.begin}, the one before ends '
                    f'at {end}'
                )
            end = place.end
        if self._data_start + end != self.size:
            raise BankError(
                f'it is cut short or has a tail: it has {self.size} bytes, its header declares '
                f'{self._data_start + end}'
            )


@contextlib.contextmanager
def open_tensors(path: Path, max_bytes: int) -> Iterator[TensorFile]:
    """Open a safetensors file for reading.

    Raises BankError, without the path, when the file cannot be read or its header is not valid.
    """
    try:
        # A named pipe would block in open(); a folder has no bytes to read.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BankError('it is not a regular file')
        with open(path, 'rb') as file:
            yield TensorFile(file, max_bytes)
    except (OSError, ValueError, RecursionError) as error:
        raise BankError(reason(error)) from error


def write_tensors(
    path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str], overwrite: bool
) -> None:
    """Write CPU tensors (float32, bfloat16) and metadata to a safetensors file, atomically.

    The bytes depend on the arguments alone. The file appears under its name when it is complete
    and on the disk. A failure leaves an existing file as it was. Raises BankError without the
    path.
    """
    # Wide elements come first, so that every tensor starts at a multiple of its element size.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].element_size())
    header: dict[str, Any] = {'__metadata__': metadata}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {
            'dtype': _DTYPE_NAMES[tensor.dtype],
            'shape': list(tensor.shape),
            'data_offsets': [begin, end],
        }
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise BankError(
            f'{len(tensors)} tensors need a header of {len(text)} bytes, at most '
            f'{MAX_HEADER_BYTES} are accepted'
        )
    data = (t.detach().reshape(-1).view(torch.uint8).numpy() for _, t in ordered)
    try:
        _write_atomically(path, (len(text).to_bytes(8, 'little'), text), data, overwrite)
    except (OSError, ValueError) as error:
        raise BankError(reason(error)) from error


def parse_json(data: bytes | str, what: str) -> dict[str, Any]:
    """Parse a JSON table; raises BankError for other values, keys given twice, and NaN."""
    try:
        value = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BankError(f'its {what} is not valid JSON: {error}') from error
    if not isinstance(value, dict):
        raise BankError(f'its {what} is not a JSON table')
    return value


def reason(error: Exception) -> str:
    """Return why an operation on a file failed, without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _write_atomically(
    path: Path, start: Iterable[bytes], data: Iterable[np.ndarray], overwrite: bool
) -> None:
    if not overwrite and os.path.lexists(path):
        raise BankError('there is a file of this name, and overwriting was not asked for')
    temporary = path.parent / f'.bank-{secrets.token_hex(8)}.tmp'
    try:
        with open(temporary, 'xb') as file:
            file.writelines(start)
            file.writelines(array.data for array in data)
            file.flush()
            # Without the sync the name may reach the disk before the bytes do.
            os.fsync(file.fileno())
        if not overwrite and os.path.lexists(path):
            raise BankError('another program made a file of this name meanwhile')
        os.replace(temporary, path)
    finally:
        # After a success the temporary file has been renamed; after a failure it must not stay.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    # The file is complete and in place, so a folder that cannot be synced is not a failure.
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _place(name: str, value: Any) -> TensorPlace:
    if not isinstance(value, dict) or set(value) != {'dtype', 'shape', 'data_offsets'}:
        raise BankError(f'its tensor {name!r:.80} lacks dtype, shape or data_offsets')
    dtype = _DTYPES.get(value['dtype']) if isinstance(value['dtype'], str) else None
    if dtype is None:
        raise BankError(
            f'its tensor {name!r:.80} has dtype {value["dtype"]!r:.80}, a memory bank has only '
            f'{" and ".join(_DTYPES)}'
        )
    numbers = []
    for key in ('shape', 'data_offsets'):
        given = value[key]
        # Numbers are limited in count and digits: the product of many long ones takes minutes.
        if (
            not isinstance(given, list)
            or len(given) > _MAX_DIMS
            or not all(type(number) is int and 0 <= number < 1 << 96 for number in given)
        ):
            raise BankError(f'its tensor {name!r:.80} has a bad {key}: {given!r:.100}')
        numbers.append(tuple(given))
    shape, offsets = numbers
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise BankError(
            f'its tensor {name!r:.80} of shape {list(shape)} does not take bytes {list(offsets)}'
        )
    return TensorPlace(dtype, shape, *offsets)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        # Keys are counted in one pass: a header may have some hundred thousand of them.
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f'a key comes twice: {counts.most_common(1)[0][0]!r:.80}')
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f'{name} is not a JSON number')
