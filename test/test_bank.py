# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory bank files: exact round trips, refusals that name both sides, writes that are whole."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import stat
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from detsam2_ros.engine import bank_file
from detsam2_ros.engine.bank import BankEntry, BankObject, MemoryBank, inspect
from detsam2_ros.engine.bank_header import METADATA_KEY
from detsam2_ros.engine.errors import BankError
from detsam2_ros.engine.identity import ModelIdentity
from detsam2_ros.engine.memory import Memory

FLOATS = ('pointer', 'score')
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
        MemoryBank(MODEL, entries, '2026-01-02T03:04:05+00:00', 'video.mp4'), **changes
    )


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


def refusal(path: Path, **arguments: int) -> str:
    """Load a file that must be refused, whole or its header alone, and return the message."""
    with pytest.raises(BankError) as caught:
        MemoryBank.load(path, **arguments)
    message = str(caught.value)
    assert message.startswith(f'cannot load memory bank {path}: ')
    assert '\n' not in message and len(message) < 600
    return message


# ---- round trip


def test_round_trip_is_bit_exact(path: Path):
    bank = make_bank()
    # Extremes of the dtypes survive, negative zero too.
    bank.entries[0].memory.pointer[:3] = torch.tensor([-0.0, 3.4e38, 1e-45])
    bank.save(path)
    assert same(MemoryBank.load(path), bank)


def test_the_same_bank_gives_the_same_bytes(path: Path, tmp_path: Path):
    make_bank().save(path)
    make_bank().save(tmp_path / 'again')
    MemoryBank.load(path).save(tmp_path / 'copy')
    assert path.read_bytes() == (tmp_path / 'again').read_bytes()
    assert path.read_bytes() == (tmp_path / 'copy').read_bytes()


def test_the_file_is_a_usual_safetensors_file(path: Path):
    bank = make_bank()
    bank.save(path)
    with safe_open(path, framework='pt') as file:
        assert list(file.metadata()) == [METADATA_KEY]
        assert len(list(file.keys())) == 9
        assert torch.equal(file.get_tensor('2.spatial'), bank.entries[2].memory.spatial)
        assert torch.equal(file.get_tensor('0.score'), bank.entries[0].memory.score)


def test_tensors_start_at_multiples_of_their_element_size(path: Path):
    model = dataclasses.replace(MODEL, memory_shape=(1, 1, 1))
    bank = MemoryBank(model, tuple(BankEntry('x', 1, '', i, memory(i, model)) for i in range(3)))
    bank.save(path)
    header, data = parts(path)
    begins = [header[f'{i}.{part}']['data_offsets'][0] for i in range(3) for part in FLOATS]
    assert (path.stat().st_size - len(data)) % 8 == 0
    assert all(begin % 4 == 0 for begin in begins)


def test_loaded_tensors_own_their_memory(path: Path):
    make_bank().save(path)
    loaded = MemoryBank.load(path)
    tensor = loaded.entries[0].memory.spatial
    assert tensor.untyped_storage().nbytes() == tensor.nbytes


def test_views_of_one_batch_are_saved_each(path: Path):
    batch = torch.arange(48.0).reshape(2, 4, 3, 2).bfloat16()
    turned = torch.arange(24.0).reshape(2, 3, 4).bfloat16().permute(2, 1, 0)
    views = [
        dataclasses.replace(e, memory=dataclasses.replace(e.memory, spatial=s))
        for e, s in zip(make_bank().entries, (batch[0], batch[1], turned), strict=True)
    ]
    bank = make_bank(entries=tuple(views))
    bank.save(path)
    assert same(MemoryBank.load(path), bank)
    assert path.stat().st_size < 4000


def test_size_at_the_dimensions_of_sam_2_1(path: Path):
    model = ModelIdentity('facebook/sam2.1-hiera-tiny', '12' * 32, 1024, (64, 64, 64), 256)
    one = BankEntry('cup', 0, 'cup', 0, memory(0, model))
    bank = MemoryBank(model, (one, dataclasses.replace(one, stamp=1)))
    bank.save(path)
    assert bank.nbytes == 2 * (64**3 * 2 + 256 * 4 + 4)
    assert path.stat().st_size / 2 < 0.51 * 2**20


def test_objects_and_inspect(path: Path):
    bank = make_bank()
    bank.save(path)
    assert len(bank) == 3
    assert bank.objects() == {
        'cup-1': (7, 'cup', bank.entries[:2]),
        'ball': (0, 'bäll', bank.entries[2:]),
    }
    info = inspect(path)
    assert info.objects == (BankObject('cup-1', 7, 'cup', 2), BankObject('ball', 0, 'bäll', 1))
    assert (info.model, info.created, info.source) == (bank.model, bank.created, bank.source)
    assert info.file_bytes == path.stat().st_size


def test_a_bank_made_now_says_so_in_utc():
    assert make_bank().created < MemoryBank(MODEL, ()).created
    assert MemoryBank(MODEL, ()).created.endswith('+00:00')


# ---- another model


@pytest.mark.parametrize(
    'other',
    [
        {'sha256': 'cd' * 32},
        {'image_size': 128},
        {'memory_shape': (4, 3, 3)},
        {'pointer_dim': 16},
    ],
)
def test_a_bank_of_another_model_is_refused_naming_both(path: Path, other: dict):
    model = dataclasses.replace(MODEL, name='large', **other)
    bank = make_bank()
    bank.save(path)
    for thing in (bank, inspect(path)):
        with pytest.raises(BankError, match='made with tiny .*loaded model is large ') as caught:
            thing.check(model)
        (value,) = other.values()
        shown = 'x'.join(map(str, value)) if isinstance(value, tuple) else str(value)[:12]
        assert shown in str(caught.value)


def test_the_same_weights_under_another_name_are_the_same_model():
    make_bank().check(dataclasses.replace(MODEL, name='/somewhere/else.pt'))


# ---- banks that must not come to be


def replaced(part: str, tensor: torch.Tensor) -> MemoryBank:
    first, *rest = make_bank().entries
    broken = dataclasses.replace(first.memory, **{part: tensor})
    return make_bank(entries=(dataclasses.replace(first, memory=broken), *rest))


@pytest.mark.parametrize(
    ('part', 'tensor', 'message'),
    [
        ('spatial', torch.zeros(4, 3, 2), r'spatial is torch.float32 .*tiny makes torch.bfloat16'),
        ('spatial', torch.zeros(4, 3, 3).bfloat16(), r'\[4, 3, 3\].*\[4, 3, 2\]'),
        ('pointer', torch.zeros(9), r'pointer is .*\[9\].*\[8\]'),
        ('score', torch.zeros(1), r'score is .*\[1\].*\[\]'),
        ('pointer', torch.full((8,), torch.nan), 'pointer holds NaN'),
        ('spatial', torch.full((4, 3, 2), torch.inf).bfloat16(), 'spatial holds NaN or inf'),
        ('score', torch.tensor(-torch.inf), 'score holds NaN or infinity'),
        ('pointer', torch.zeros(8, device='meta'), 'on meta, .* on cpu'),
    ],
)
def test_memories_that_do_not_fit_are_refused(part: str, tensor: torch.Tensor, message: str):
    with pytest.raises(BankError, match=message):
        replaced(part, tensor)


BAD_LABELS = [
    ({'class_id': -1}, r'class id must be a whole number in 0\.\.2147483647, got -1'),
    ({'class_id': 2**31}, 'class id'),
    ({'class_id': True}, 'class id'),
    ({'class_id': 1.5}, 'class id'),
    ({'stamp': 2**63}, 'stamp'),
    ({'stamp': None}, 'stamp'),
    ({'object_key': ''}, 'object key must not be empty'),
    ({'object_key': 5}, 'object key must be a text'),
    ({'object_key': 'a\nb'}, 'printable'),
    ({'object_key': 'ball\ud800'}, 'printable'),
    ({'class_name': 'x' * 2000}, 'class name must be a text of at most 1024'),
    ({'object_key': 'ball'}, r"'ball' has two classes: 7 \(cup\) and 0 \(bäll\)"),
]


@pytest.mark.parametrize(('change', 'message'), BAD_LABELS)
def test_entries_with_bad_labels_are_refused(change: dict, message: str):
    first, *rest = make_bank().entries
    with pytest.raises(BankError, match=message):
        make_bank(entries=(dataclasses.replace(first, **change), *rest))


def test_an_entry_that_comes_twice_is_refused_but_not_two_of_one_stamp():
    entries = make_bank().entries
    with pytest.raises(BankError, match=r'entry 3 \(cup-1\) is there twice'):
        make_bank(entries=(*entries, entry('cup-1', 10, 1)))
    make_bank(entries=(*entries, entry('cup-1', 10, 9)))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'created': 'yesterday'}, "ISO 8601 in UTC, got 'yesterday'"),
        ({'created': '2026-01-02T03:04:05'}, 'in UTC'),
        ({'created': '2026-01-02T03:04:05+02:00'}, 'in UTC'),
        ({'source': 'a\0b'}, 'source must be a text'),
        ({'model': dataclasses.replace(MODEL, sha256='xyz')}, "64 hex digits, got 'xyz'"),
        ({'model': dataclasses.replace(MODEL, name='')}, 'model name must not be empty'),
        ({'model': dataclasses.replace(MODEL, memory_shape=(4, 3))}, r'\[C, h, w\], got \[4, 3\]'),
        ({'model': dataclasses.replace(MODEL, image_size=0)}, 'image size .* got 0'),
    ],
)
def test_headers_that_make_no_sense_are_refused(change: dict, message: str):
    with pytest.raises(BankError, match=message):
        make_bank(**change)


# ---- files that must be refused


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
    'content', [b'PK\3\4' + b'0' * 99, b'\x89PNG\r\n\x1a\n' + b'0' * 99, b'\0' * 64, b'x' * 20]
)
def test_a_foreign_file(path: Path, content: bytes):
    path.write_bytes(content)
    assert 'not a safetensors file' in refusal(path)


@pytest.mark.parametrize('length', [2**64 - 1, 2**63, 1 << 40, bank_file.MAX_HEADER_BYTES + 1])
def test_a_huge_declared_header_is_not_allocated(path: Path, length: int):
    path.write_bytes(length.to_bytes(8, 'little') + b'{}' + b'0' * 100)
    assert f'header of {length} bytes, at most' in refusal(path)


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
    (
        lambda h: h.update(memory_shape=[4, 3, 4]),
        r'\[4, 3, 2\], the model tiny makes .*\[4, 3, 4\]',
    ),
    (lambda h: h.update(pointer_dim=7), r'\[8\], the model tiny makes .*\[7\]'),
    (lambda h: h.update(model_name=[[]]), 'model name must be a text'),
    (lambda h: h.update(model_sha256=None), 'sha256 must be 64 hex digits'),
    (
        lambda h: h['entries'].pop(),
        r"2 entries; missing tensors: \[\], tensors of no entry: \['2.p",
    ),
    (
        lambda h: h['entries'].append(['ball', 0, 'bäll', 30]),
        r"4 entries; missing tensors: \['3.pointer'",
    ),
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
    (
        lambda h: h.update({'x': h.pop('0.score')}),
        r"tensors: \['0.score'\], tensors of no entry: \['x'\]",
    ),
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
        '"format_version":1', f'"format_version":{nested}'
    )
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


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    file = tmp_path_factory.mktemp('fuzz') / 'bank.safetensors'
    make_bank().save(file)
    return file, file.read_bytes()


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_random_damage_never_raises_anything_but_bank_error(sound, damage, in_header: bool):
    path, data = sound
    limit = 8 + int.from_bytes(data[:8], 'little') if in_header else len(data)
    broken = bytearray(data)
    for position, value in damage:
        broken[position % limit] = value
    path.write_bytes(broken)
    try:
        loaded = MemoryBank.load(path)
    except BankError as error:
        assert '\n' not in str(error)
    else:
        assert len(loaded) == 3


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_never_raise_anything_but_bank_error(sound, content: bytes, framed: bool):
    path, _ = sound
    path.write_bytes(len(content).to_bytes(8, 'little') + content if framed else content)
    with pytest.raises(BankError):
        MemoryBank.load(path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(['format_version', 'model_name', 'model_sha256', 'image_size', 'memory_shape'])
    | st.sampled_from(['pointer_dim', 'dtype', 'created', 'source', 'entries']),
    json_values,
)
def test_any_value_in_the_header_is_taken_or_refused(sound, key: str, value: object):
    path, data = sound
    path.write_bytes(data)
    change_header(path, lambda header: header.update({key: value}))
    try:
        loaded = MemoryBank.load(path)
    except BankError:
        return
    assert key in ('model_name', 'source', 'image_size') or same(loaded, make_bank())


# ---- writing


def leftovers(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if file != path)


def failing_save(bank: MemoryBank, path: Path, message: str, **arguments: bool) -> None:
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(BankError, match=message) as caught:
        bank.save(path, **arguments)
    assert str(caught.value).startswith(f'cannot save memory bank {path}: ')
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize('call', ['fsync', 'replace'])
@pytest.mark.parametrize('old', [True, False])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(path, monkeypatch, call, old):
    if old:
        make_bank(source='old').save(path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    failing_save(make_bank(), path, 'No space left on device')
    assert leftovers(path) == []
    monkeypatch.undo()
    make_bank().save(path)
    assert same(MemoryBank.load(path), make_bank())


def test_a_write_that_stops_half_way_leaves_the_old_file(path: Path):
    """The limit on file sizes makes a real write fail in the middle of the tensors."""
    make_bank(source='old').save(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - 50, hard))
    try:
        failing_save(make_bank(), path, 'File too large')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert leftovers(path) == []
    assert MemoryBank.load(path).source == 'old'


def test_an_interrupted_save_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_bank().save(path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path):
    failing_save(make_bank(), tmp_path / 'no' / 'bank', 'No such file or directory')
    (tmp_path / 'file').touch()
    failing_save(make_bank(), tmp_path / 'file' / 'bank', 'Not a directory')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_folder_without_permission(path: Path):
    path.parent.chmod(0o500)
    try:
        failing_save(make_bank(), path, 'Permission denied')
    finally:
        path.parent.chmod(0o700)


def test_a_folder_of_that_name_stays(tmp_path: Path):
    (tmp_path / 'bank').mkdir()
    failing_save(make_bank(), tmp_path / 'bank', 'Is a directory')
    assert leftovers(tmp_path / 'bank') == []


def test_overwriting_must_be_allowed(path: Path):
    make_bank(source='old').save(path, overwrite=False)
    failing_save(make_bank(), path, 'overwriting was not asked for', overwrite=False)
    make_bank(source='new').save(path)
    assert MemoryBank.load(path).source == 'new'
    assert leftovers(path) == []


def test_a_file_that_comes_meanwhile_is_not_overwritten(path: Path, monkeypatch):
    fsync = os.fsync

    def other_program(descriptor: int) -> None:
        path.write_bytes(b'theirs')
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', other_program)
    with pytest.raises(BankError, match='meanwhile'):
        make_bank().save(path, overwrite=False)
    assert path.read_bytes() == b'theirs'
    assert leftovers(path) == []


def test_the_bytes_are_on_the_disk_before_the_name_is(path: Path, monkeypatch):
    calls = []
    for name in ('fsync', 'replace'):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, n=name, o=original: (calls.append(n), o(*a))[1])
    make_bank().save(path)
    assert calls == ['fsync', 'replace', 'fsync']


def test_the_file_gets_the_usual_permissions(path: Path):
    make_bank().save(path)
    usual = path.parent / 'usual'
    usual.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_an_empty_bank_is_not_saved(path: Path):
    failing_save(make_bank(entries=()), path, 'nothing to save')
    assert list(path.parent.iterdir()) == []


def test_a_bank_whose_header_could_not_be_read_back_is_not_saved(path: Path, monkeypatch):
    monkeypatch.setattr(bank_file, 'MAX_HEADER_BYTES', 800)
    failing_save(make_bank(), path, '9 tensors need a header of .* at most 800')
    assert list(path.parent.iterdir()) == []


def test_readers_see_the_old_or_the_new_bank_never_a_mixture(path: Path):
    banks = [
        make_bank(source='old'),
        make_bank(source='new', entries=(entry('x', 1, 50), entry('y', 2, 51))),
    ]
    banks[0].save(path)
    done = threading.Event()
    problems: list[object] = []
    loads = [0, 0]

    def read() -> None:
        while not done.is_set():
            try:
                loaded = MemoryBank.load(path)
                which = loaded.source == 'new'
                loads[which] += 1
                if not same(loaded, banks[which]):
                    problems.append('a mixture')
            except Exception as error:
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(100):
        banks[(i + 1) % 2].save(path)
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert min(loads) > 0
