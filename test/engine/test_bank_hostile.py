# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bank files made to hurt, or damaged: bounded memory and time, and never read past their end."""

import dataclasses
import json
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bank_cases
import pytest
from bank_cases import MODEL, change_header, make_bank, memory, parts, rewrite, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detsam2_ros.engine.bank import tensors as bank_file
from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank, inspect
from detsam2_ros.engine.bank.tensors import MAX_HEADER_BYTES
from detsam2_ros.results.errors import BankError

path = bank_cases.path

MIB = 1 << 20
# What Python makes of a header, whatever it says: measured, 26 at most (empty tables).
TIMES_HEADER = 40


class Late(BaseException):
    """No Exception: those of reading a file become BankErrors."""


@contextmanager
def measured(seconds: float = 20.0) -> Iterator[list[int]]:
    """Fail after so many seconds; puts the peak of the bytes allocated meanwhile in the list."""

    def late(*_: object) -> None:
        raise Late(f'still at it after {seconds} s')

    peak: list[int] = []
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def full(piece: bytes, start: bytes = b'{"a":[', end: bytes = b'0]}') -> bytes:
    """Return a header as large as is accepted, out of one piece."""
    return start + piece * ((MAX_HEADER_BYTES - len(start) - len(end)) // len(piece)) + end


def keys(last: bytes) -> bytes:
    numbered = b''.join(b'"%x":0,' % i for i in range(400_000))
    return b'{' + numbered + last + b'}'


BIG = b'9' * 4000
PLACE = b'{"t":{"dtype":"F32","data_offsets":[0,4],"shape":['
HEADERS: dict[str, Callable[[], bytes]] = {
    'empty tables': lambda: full(b'{},'),
    'depth': lambda: b'[' * MAX_HEADER_BYTES,
    'long text': lambda: full(b'x', b'{"a":"', b'"}'),
    'a key twice, the last of many': lambda: keys(b'"last":0,"last":0'),
    'many numbers in a shape': lambda: full(b'9' * 28 + b',', PLACE, b'1]}}'),
    'huge numbers in a shape': lambda: full(BIG + b',', PLACE, b'1]}}'),
    'a number beyond the digits that Python reads': lambda: full(b'9', b'{"a":', b'}'),
    'not UTF-8': lambda: full(b'\xff'),
    'no JSON': lambda: b'x' * MAX_HEADER_BYTES,
}


@pytest.mark.parametrize('name', HEADERS)
def test_hostile_headers_take_bounded_memory_and_time(path, name):
    rewrite(path, HEADERS[name](), b'\0' * 4)
    with measured() as peak, pytest.raises(BankError) as caught:
        MemoryBank.load(path)
    assert peak[0] < TIMES_HEADER * MAX_HEADER_BYTES, f'{peak[0] / MIB:.0f} MiB'
    assert len(str(caught.value)) < 1000 and '\n' not in str(caught.value)


def test_a_file_over_the_limit_is_not_read(path):
    make_bank().save(path)
    with path.open('r+b') as file:
        file.truncate(1 << 40)  # sparse: takes no space
    with measured() as peak, pytest.raises(BankError, match='max_bank_bytes'):
        MemoryBank.load(path)
    assert peak[0] < MIB


@pytest.mark.parametrize('declared', [
    9, MAX_HEADER_BYTES, MAX_HEADER_BYTES + 1, 1 << 40, 2**63, 2**64 - 1])
@pytest.mark.parametrize('rest', [b'{}', b'{}' + b'0' * 100])
def test_a_declared_length_reserves_nothing(path, declared, rest):
    path.write_bytes(declared.to_bytes(8, 'little') + rest)
    why = f'header of {declared} bytes, at most' if declared > MAX_HEADER_BYTES else ''
    with measured() as peak, pytest.raises(BankError, match=why) as caught:
        MemoryBank.load(path)
    assert str(caught.value).startswith(f'cannot load memory bank {path}: ')
    assert peak[0] < MIB and '\n' not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ('shape', 'end'),
    [([2**40, 2**20], 4 << 60), ([2**62], 2**64), ([1 << 30], 4 << 30), ([0, 2**62], 0)],
)
def test_a_declared_tensor_reserves_nothing(path, shape, end):
    make_bank().save(path)
    header, data = parts(path)
    header['0.spatial'] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [0, end]}
    rewrite(path, header, data)
    with measured() as peak, pytest.raises(BankError):
        MemoryBank.load(path)
    assert peak[0] < MIB


@pytest.mark.parametrize('entries', [10, 20_000])
def test_declared_entries_without_tensors(path, entries):
    make_bank().save(path)
    given = [['cup', 1, 'cup', i] for i in range(entries)]
    change_header(path, lambda header: header.update(entries=given))
    with measured() as peak, pytest.raises(BankError, match=f'declares {entries} entries'):
        inspect(path)
    assert peak[0] < TIMES_HEADER * MAX_HEADER_BYTES


def test_a_sound_bank_takes_a_few_times_its_size(path):
    large = dataclasses.replace(MODEL, memory_shape=(16, 32, 32))
    entries = tuple(BankEntry('cup', 7, 'cup', i, memory(i, large)) for i in range(40))
    MemoryBank(large, entries).save(path)
    with measured() as peak:
        MemoryBank.load(path)
    assert peak[0] < 2 * path.stat().st_size


def test_nothing_is_read_past_the_end(path, monkeypatch):
    """Every read of every damaged file lies inside it, whatever its header says."""
    make_bank().save(path)
    header, data = parts(path)
    names = [name for name in header if name != '__metadata__']
    reads: list[tuple[int, int]] = []
    original = bank_file.TensorFile._read

    def watched(self, start, count):
        found = original(self, start, count)
        assert start >= 0 and len(found) == count
        reads.append((start + count, self.size))
        return found

    monkeypatch.setattr(bank_file.TensorFile, '_read', watched)
    loaded = 0
    for name in names:
        for begin, end in ((0, 1), (-4, 0), (1, -1), (2**40, 2**40 + 4), (0, len(data) + 1)):
            changed = json.loads(json.dumps(header))
            offsets = changed[name]['data_offsets']
            changed[name]['data_offsets'] = [offsets[0] + begin, offsets[1] + end]
            rewrite(path, changed, data)
            try:
                MemoryBank.load(path)
                loaded += 1
            except BankError:
                continue
    for cut in range(0, 200, 7):
        rewrite(path, header, data[: max(len(data) - cut, 0)])
        try:
            MemoryBank.load(path)
            loaded += 1
        except BankError:
            continue
    assert loaded == 1, 'only the whole file is a bank'
    assert reads and all(end <= size for end, size in reads)


def test_a_file_that_shrinks_while_it_is_read(path, monkeypatch):
    make_bank().save(path)
    original = bank_file.TensorFile.read

    def shrinking(self, name):
        Path(path).write_bytes(path.read_bytes()[:-50])
        return original(self, name)

    monkeypatch.setattr(bank_file.TensorFile, 'read', shrinking)
    with pytest.raises(BankError, match='became shorter|cut short|gone'):
        MemoryBank.load(path)


# ---- random damage: loaded or refused, never anything else
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
