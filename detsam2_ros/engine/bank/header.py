# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The JSON header of a memory bank file, which is checked before any tensor is read."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import torch

from detsam2_ros.engine.bank.tensors import TensorFile, parse_json
from detsam2_ros.engine.sam2.model import ModelIdentity
from detsam2_ros.results.detections import MAX_CLASS_ID
from detsam2_ros.results.errors import BankError

FORMAT_VERSION = 1
METADATA_KEY = 'detsam2_memory_bank'
PARTS = ('spatial', 'pointer', 'score')
_SPATIAL_DTYPE = 'bfloat16'
_MAX_DIM = 1 << 20
MAX_TEXT = 1024
_UTC_TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)', re.ASCII)


class EntryLabel(NamedTuple):
    """An entry of a bank without its memory."""

    key: str  # of the object
    class_id: int
    class_name: str
    stamp: int  # of the frame, nanoseconds


class Header(NamedTuple):
    """Everything in a memory bank file but its tensors."""

    model: ModelIdentity
    created: str  # ISO 8601 in UTC
    source: str  # free text
    labels: tuple[EntryLabel, ...]  # a label for each entry


def tensor_name(i: int, part: str) -> str:
    """Return the name of a part (of PARTS) of entry i in the file."""
    return f'{i}.{part}'


def write_header(header: Header) -> dict[str, str]:
    """Return the safetensors metadata that holds the header."""
    table = {
        'format_version': FORMAT_VERSION,
        'model_name': header.model.name,
        'model_sha256': header.model.sha256,
        'image_size': header.model.image_size,
        'memory_shape': header.model.memory_shape,
        'pointer_dim': header.model.pointer_dim,
        'dtype': _SPATIAL_DTYPE,
        'created': header.created,
        'source': header.source,
        'entries': header.labels,
    }
    return {METADATA_KEY: json.dumps(table, separators=(',', ':'))}


def read_header(file: TensorFile) -> Header:
    """Read the header and check that the file holds exactly the tensors that it declares.

    Raises BankError for a header that is not valid.
    """
    text = file.metadata.get(METADATA_KEY)
    if not isinstance(text, str):
        raise BankError('this is a safetensors file, but not a memory bank')
    table = parse_json(text, 'memory bank header')
    version = table.get('format_version')
    if version != FORMAT_VERSION or type(version) is not int:
        raise BankError(
            f'it has memory bank format version {version!r:.40}, this program reads version '
            f'{FORMAT_VERSION}'
        )
    header = _parse(table)
    check_header(header)
    if not header.labels:
        raise BankError('it holds no entries')
    names = {tensor_name(i, part) for i in range(len(header.labels)) for part in PARTS}
    if names != set(file.tensors):
        missing, unknown = sorted(names - set(file.tensors)), sorted(set(file.tensors) - names)
        raise BankError(
            f'its header declares {len(header.labels)} entries; missing tensors: {missing[:3]}, '
            f'tensors of no entry: {unknown[:3]}'
        )
    for i in range(len(header.labels)):
        for part in PARTS:
            name = tensor_name(i, part)
            place = file.tensors[name]
            check_layout(f'tensor {name!r}', part, place.dtype, place.shape, header.model)
    return header


def _parse(table: dict[str, Any]) -> Header:
    fields = {
        'format_version', 'model_name', 'model_sha256', 'image_size', 'memory_shape',
        'pointer_dim', 'dtype', 'created', 'source', 'entries',
    }  # fmt: skip
    if set(table) != fields:
        odd = ', '.join(sorted(set(table) ^ fields))
        raise BankError(f'its memory bank header lacks or should not have: {odd[:200]}')
    if table['dtype'] != _SPATIAL_DTYPE:
        raise BankError(
            f'its memories are {table["dtype"]!r:.40}, this program reads {_SPATIAL_DTYPE}'
        )
    shape, entries = table['memory_shape'], table['entries']
    if not isinstance(shape, list) or not isinstance(entries, list):
        raise BankError('its memory bank header has no list of entries or no memory shape')
    if not all(isinstance(label, list) and len(label) == 4 for label in entries):
        raise BankError('an entry in its header is not [object key, class id, class name, stamp]')
    model = ModelIdentity(
        table['model_name'],
        table['model_sha256'],
        table['image_size'],
        tuple(shape),
        table['pointer_dim'],
    )
    labels = tuple(EntryLabel(*label) for label in entries)
    return Header(model, table['created'], table['source'], labels)


def check_header(header: Header) -> None:
    """Check the types and ranges of a header that may come from any file; raises BankError."""
    model, created, source, labels = header
    _check_text('model name', model.name, minimum=1)
    sha = model.sha256
    if not isinstance(sha, str) or len(sha) != 64 or set(sha) - set('0123456789abcdef'):
        raise BankError(f'the model sha256 must be 64 hex digits, got {sha!r:.80}')
    if len(model.memory_shape) != 3:
        raise BankError(
            f'the memory shape must be [C, h, w], got {list(model.memory_shape)!r:.80}'
        )
    for what, number in (
        ('image size', model.image_size),
        ('pointer length', model.pointer_dim),
        *(('memory shape', dim) for dim in model.memory_shape),
    ):
        _check_int(what, number, 1, _MAX_DIM)
    _check_text('source', source)
    _check_text('creation time', created, minimum=1)
    if not _UTC_TIME.fullmatch(created):
        raise BankError(f'the creation time must be ISO 8601 in UTC, got {created!r:.80}')
    classes: dict[str, tuple[int, str]] = {}
    for i, (key, class_id, class_name, stamp) in enumerate(labels):
        _check_text(f'entry {i}: object key', key, minimum=1)
        _check_text(f'entry {i}: class name', class_name, minimum=1)
        _check_int(f'entry {i} ({key}): class id', class_id, 0, MAX_CLASS_ID)
        _check_int(f'entry {i} ({key}): stamp', stamp, -(2**63), 2**63 - 1)
        first = classes.setdefault(key, (class_id, class_name))
        if first != (class_id, class_name):
            raise BankError(
                f'object {key!r} has two classes: {first[0]} ({first[1]}) and {class_id} '
                f'({class_name})'
            )


def _check_text(what: str, value: Any, minimum: int = 0) -> None:
    # isprintable is False for control characters and for halves of surrogate pairs, which UTF-8
    # cannot encode.
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TEXT:
        raise BankError(f'{what} must be a text of at most {MAX_TEXT} printable characters')
    if len(value) < minimum:
        raise BankError(f'{what} must not be empty')


def _check_int(what: str, value: Any, minimum: int, maximum: int) -> None:
    if type(value) is not int or not minimum <= value <= maximum:
        raise BankError(
            f'{what} must be a whole number in {minimum}..{maximum}, got {value!r:.40}'
        )


def check_layout(
    what: str, part: str, dtype: torch.dtype, shape: tuple[int, ...], model: ModelIdentity
) -> None:
    """Raise BankError unless a part of an entry has the dtype and shape that the model makes."""
    expected = {
        'spatial': (torch.bfloat16, model.memory_shape),
        'pointer': (torch.float32, (model.pointer_dim,)),
        'score': (torch.float32, ()),
    }[part]
    if (dtype, shape) != expected:
        raise BankError(
            f'{what} is {dtype} {list(shape)}, the model {model.name} makes {expected[0]} '
            f'{list(expected[1])}'
        )


def check_model(bank: ModelIdentity, model: ModelIdentity) -> None:
    """Raise BankError, naming both models, unless one model can read the other's memories."""

    def same(identity: ModelIdentity) -> tuple[object, ...]:
        return (
            identity.sha256,
            identity.image_size,
            tuple(identity.memory_shape),
            identity.pointer_dim,
        )

    if same(bank) != same(model):
        raise BankError(
            f'the memory bank was made with {_describe(bank)}, the loaded model is '
            f'{_describe(model)}: make the bank again with this model, or load that model'
        )


def _describe(model: ModelIdentity) -> str:
    shape = 'x'.join(str(dim) for dim in model.memory_shape)
    return (
        f'{model.name} (sha256 {model.sha256[:12]}, image size {model.image_size}, memory '
        f'{shape}, pointer {model.pointer_dim})'
    )
