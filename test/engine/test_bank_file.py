# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory bank files that must be refused: foreign, cut short, or with a header that lies."""

import json
import os
from pathlib import Path

import bank_cases
import pytest
import torch
from bank_cases import change_header, make_bank, parts, rewrite

from detsam2_ros.engine.bank import tensors as bank_file
from detsam2_ros.engine.bank.bank import MemoryBank, inspect
from detsam2_ros.engine.bank.header import METADATA_KEY
from detsam2_ros.results.errors import BankError

path = bank_cases.path


def refusal(path: Path, **arguments: int) -> str:
    """Load a file that must be refused, whole or its header alone, and return the message."""
    with pytest.raises(BankError) as caught:
        MemoryBank.load(path, **arguments)
    message = str(caught.value)
    assert message.startswith(f'cannot load memory bank {path}: ')
    assert '\n' not in message and len(message) < 600
    return message


def test_a_file_that_is_not_there(path: Path):
    assert refusal(path).endswith('No such file or directory')


def test_what_is_not_a_regular_file(tmp_path: Path):
    assert 'not a regular file' in refusal(tmp_path)
    os.mkfifo(tmp_path / 'pipe')
    assert 'not a regular file' in refusal(tmp_path / 'pipe')
    with pytest.raises(BankError, match='null'):
        MemoryBank.load('a\0b')


def test_a_file_over_the_limit_is_not_read(path: Path):
    make_bank().save(path)
    size = path.stat().st_size
    MemoryBank.load(path, max_bytes=size)
    message = refusal(path, max_bytes=size - 1)
    assert f'has {size} bytes, the limit (max_bank_bytes) is {size - 1} bytes' in message
    # A sparse terabyte: nothing of it may be read or allocated.
    with open(path, 'r+b') as file:
        file.truncate(1 << 40)
    assert 'limit (max_bank_bytes) is 1073741824' in refusal(path)


@pytest.mark.parametrize(
    'content', [b'PK\3\4' + b'0' * 99, b'\x89PNG\r\n\x1a\n' + b'0' * 99, b'\0' * 64, b'x' * 20])
def test_a_foreign_file(path: Path, content: bytes):
    path.write_bytes(content)
    assert 'not a safetensors file' in refusal(path)


def test_a_safetensors_file_that_is_no_bank(path: Path):
    from safetensors.torch import save_file

    save_file({'weight': torch.zeros(3)}, path)
    assert 'a safetensors file, but not a memory bank' in refusal(path)
    save_file({'weight': torch.zeros(3)}, path, {'format': 'pt'})
    assert 'a safetensors file, but not a memory bank' in refusal(path)
    save_file({'weight': torch.zeros(3, dtype=torch.int64)}, path)
    assert "dtype 'I64', a memory bank has only F32 and BF16" in refusal(path)


@pytest.mark.parametrize('version', [2, 0, '1', True, 1.0, None, [1]])
def test_another_format_version_names_both(path: Path, version: object):
    make_bank().save(path)
    change_header(path, lambda header: header.update(format_version=version))
    assert f'version {version!r}, this program reads version 1' in refusal(path)


def test_truncated_at_every_byte(path: Path):
    make_bank().save(path)
    for size in reversed(range(path.stat().st_size)):
        os.truncate(path, size)
        message = refusal(path)
        assert 'it is cut short' in message and f'it has {size} bytes' in message


def test_a_tail_is_refused(path: Path):
    make_bank().save(path)
    size = path.stat().st_size
    with open(path, 'ab') as file:
        file.write(b'!')
    assert f'it has {size + 1} bytes, its header declares {size}' in refusal(path)


HEADER_CHANGES = [
    (lambda h: h.pop('source'), 'lacks or should not have: source'),
    (lambda h: h.update(extra=1), 'lacks or should not have: extra'),
    (lambda h: h.update(dtype='float16'), "are 'float16', this program reads bfloat16"),
    (lambda h: h.update(entries=[]), 'holds no entries'),
    (lambda h: h.update(entries={}), 'no list of entries'),
    (lambda h: h.update(memory_shape=4), 'memory shape'),
    (lambda h: h.update(memory_shape=[4, 3, '2']), 'memory shape must be a whole number'),
    (lambda h: h.update(memory_shape=[4, 3, 10**9]), 'memory shape must be a whole number'),
    (lambda h: h.update(memory_shape=[4, 3, 4]),
     r'\[4, 3, 2\], the model tiny makes .*\[4, 3, 4\]'),
    (lambda h: h.update(pointer_dim=7), r'\[8\], the model tiny makes .*\[7\]'),
    (lambda h: h.update(model_name=[[]]), 'model name must be a text'),
    (lambda h: h.update(model_sha256=None), 'sha256 must be 64 hex digits'),
    (lambda h: h['entries'].pop(),
     r"2 entries; missing tensors: \[\], tensors of no entry: \['2.p"),
    (lambda h: h['entries'].append(['ball', 0, 'bäll', 30]),
     r"4 entries; missing tensors: \['3.pointer'"),
    (lambda h: h['entries'][0].pop(), 'is not \\[object key'),
    (lambda h: h['entries'].__setitem__(0, 'abcd'), 'is not \\[object key'),
    (lambda h: h['entries'][0].__setitem__(0, ['x']), 'object key must be a text'),
    (lambda h: h['entries'][0].__setitem__(1, 2**31), 'class id must be'),
    (lambda h: h['entries'][0].__setitem__(0, 'a\ud800'), 'object key must be'),
    (lambda h: h['entries'][0].__setitem__(3, float('nan')), 'NaN is not a JSON number'),
]


@pytest.mark.parametrize(('change', 'message'), HEADER_CHANGES)
def test_a_header_that_lies_is_refused_also_by_inspect(path: Path, change, message: str):
    make_bank().save(path)
    change_header(path, change)
    with pytest.raises(BankError, match=message):
        inspect(path)
    refusal(path)


def tensor_change(name: str, **values: object):
    def change(header: dict) -> None:
        header[name].update(values)

    return change


CONTAINER_CHANGES = [
    (lambda h: h.pop('__metadata__'), 'not a memory bank'),
    (lambda h: h.update(__metadata__=[1]), 'metadata is not a table'),
    (lambda h: h.update(__metadata__={METADATA_KEY: 5}), 'not a memory bank'),
    (lambda h: h.update(__metadata__={METADATA_KEY: '5'}), 'header is not a JSON table'),
    (lambda h: h.update(__metadata__={METADATA_KEY: '{'}), 'header is not valid JSON'),
    (lambda h: h.update(__metadata__={METADATA_KEY: '[' * 99999}), 'header is not valid JSON'),
    (lambda h: h.update({'x': h.pop('0.score')}),
     r"tensors: \['0.score'\], tensors of no entry: \['x'\]"),
    (lambda h: h.update({'0.score': 5}), "'0.score' lacks dtype"),
    (tensor_change('0.score', dtype='F64'), "'0.score' has dtype 'F64'"),
    (tensor_change('0.score', dtype=[1]), r"'0.score' has dtype \[1\]"),
    (tensor_change('0.score', shape=[2]), "'0.score' of shape"),
    (tensor_change('0.score', shape=[-1]), "'0.score' has a bad shape"),
    (tensor_change('0.score', shape=[True]), "'0.score' has a bad shape"),
    (tensor_change('0.score', shape=[1]), r'is torch.float32 \[1\], the model tiny makes'),
    (tensor_change('0.score', shape=[2**70]), "'0.score' of shape"),
    (tensor_change('0.score', data_offsets=[4]), 'does not take bytes'),
    (tensor_change('0.score', data_offsets=[0, 4]), 'starts at byte'),
    (tensor_change('0.score', data_offsets=[2**70, 2**70 + 4]), 'starts at byte'),
    (tensor_change('0.pointer', extra=1), "'0.pointer' lacks"),
]


@pytest.mark.parametrize(('change', 'message'), CONTAINER_CHANGES)
def test_a_container_that_lies_is_refused(path: Path, change, message: str):
    make_bank().save(path)
    header, data = parts(path)
    change(header)
    rewrite(path, header, data)
    with pytest.raises(BankError, match=message):
        inspect(path)
    refusal(path)


@pytest.mark.parametrize('depth', [100, 700, 800, 850, 900, 920, 940, 960, 980, 5000])
def test_values_nested_too_deep_are_refused(path: Path, depth: int):
    make_bank().save(path)
    header, data = parts(path)
    own = header['__metadata__'][METADATA_KEY]
    nested = '[' * depth + ']' * depth
    header['__metadata__'][METADATA_KEY] = own.replace(
        '"format_version":1', f'"format_version":{nested}')
    rewrite(path, header, data)
    refusal(path)


def test_a_tensor_named_twice_is_refused(path: Path):
    make_bank().save(path)
    header, data = parts(path)
    text = json.dumps(header)[:-1] + ', "0.score": ' + json.dumps(header['1.score']) + '}'
    rewrite(path, text.encode(), data)
    assert "a key comes twice: '0.score'" in refusal(path)


def test_an_unknown_tensor_is_refused(path: Path):
    make_bank().save(path)
    header, data = parts(path)
    header['code'] = {'dtype': 'F32', 'shape': [1], 'data_offsets': [len(data), len(data) + 4]}
    rewrite(path, header, data + bytes(4))
    assert "tensors of no entry: ['code']" in refusal(path)


def test_text_that_is_not_utf_8_is_refused(path: Path):
    make_bank().save(path)
    header, data = parts(path)
    rewrite(path, json.dumps(header).encode().replace(b'0.score', b'0.\xff\xfe\xfdor'), data)
    assert 'not valid JSON' in refusal(path)


def test_nan_in_the_tensors_of_a_file_is_refused(path: Path):
    make_bank().save(path)
    header, data = parts(path)
    begin = header['1.spatial']['data_offsets'][0]
    rewrite(path, header, data[:begin] + b'\xff\xff' + data[begin + 2 :])
    assert 'entry 1 (cup-1): spatial holds NaN or infinity' in refusal(path)


def test_a_file_that_shrinks_while_it_is_read(path: Path):
    tensors = {'large': torch.zeros(1 << 20)}
    bank_file.write_tensors(path, tensors, {}, overwrite=True)
    with pytest.raises(BankError, match='shorter'), bank_file.open_tensors(path, 1 << 30) as file:
        os.truncate(path, 100)
        file.read('large')
