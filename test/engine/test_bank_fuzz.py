# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory bank files with random damage: loaded or refused, never anything else."""

from pathlib import Path

import pytest
from bank_cases import change_header, make_bank, same
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.results.errors import BankError


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
