# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Merge, remove, rename: what goes where, and what is refused by name."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from bank_cases import MODEL, entry, make_bank, same
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.banks.editing import merge, remove, rename
from detsam2_ros.engine import BankError, MemoryBank

OTHER = make_bank(
    entries=(entry('cup-1', 30, 4), entry('cup-1', 20, 2), entry('plate', 1, 5, 9, 'plate')),
    source='other.mp4',
)


def test_merged_objects_add_up_and_twins_are_taken_once():
    merged = merge([('a', make_bank()), ('b', OTHER)])
    found = {key: [e.stamp for e in o.entries] for key, o in merged.objects().items()}
    assert found == {'cup-1': [10, 20, 30], 'ball': [10], 'plate': [1]}
    assert merged.source == 'video.mp4; other.mp4'
    assert same(merge([('a', make_bank())]), make_bank())


def test_long_sources_are_cut():
    banks = [
        (str(i), make_bank(entries=(entry('cup', i, i),), source=f'{i} {"x" * 900}'))
        for i in range(5)
    ]
    merged = merge(banks)
    assert len(merged.source) == 1024 and merged.source.endswith('...') and len(merged) == 5


def test_other_models_are_refused_by_naming_both():
    other = make_bank(
        model=dataclasses.replace(MODEL, name='large', sha256='cd' * 32),
        entries=make_bank().entries,
    )
    with pytest.raises(BankError) as caught:
        merge([('a.safetensors', make_bank()), ('b.safetensors', other)])
    for part in ('a.safetensors', 'b.safetensors', 'tiny', 'large'):
        assert part in str(caught.value)


def test_one_key_or_class_with_two_meanings_is_refused():
    for odd, part in (
        (entry('ball', 1, 9, 4, 'globe'), r"'ball' is class 0 \(bäll\) in a and 4 \(globe\) in b"),
        (entry('x', 1, 9, 4, 'cup'), "class 'cup' has id 7 and, in b, 4"),
    ):
        with pytest.raises(BankError, match=part):
            merge([('a', make_bank()), ('b', make_bank(entries=(odd,)))])


def test_remove_by_key_class_and_entry():
    bank, gone = remove(make_bank(), keys=['cup-1'])
    assert [e.object_key for e in bank.entries] == ['ball'] and len(gone) == 2
    bank, gone = remove(make_bank(), classes=['bäll'], entries=[0])
    assert [e.stamp for e in bank.entries] == [20] and len(gone) == 2
    assert bank.created == make_bank().created


@pytest.mark.parametrize(
    ('given', 'part'),
    [
        ({'keys': ['mug']}, "no object 'mug' in the bank; it has ball, cup-1"),
        ({'classes': ['mug']}, "no class 'mug'"),
        ({'entries': [3]}, 'no entry 3; the bank has 0 to 2'),
        ({'entries': [-1]}, 'no entry -1'),
        ({'classes': ['cup', 'bäll']}, 'nothing would be left'),
    ],
)
def test_what_is_not_there_cannot_be_removed(given, part):
    with pytest.raises(BankError, match=part):
        remove(make_bank(), **given)


def test_rename_keys_classes_and_ids():
    bank = rename(make_bank(), {'cup-1': 'ball', 'ball': 'cup-1'}, {'cup': 'mug'}, {'mug': 70})
    assert [(e.object_key, e.class_name, e.class_id) for e in bank.entries] == [
        ('ball', 'mug', 70), ('ball', 'mug', 70), ('cup-1', 'bäll', 0),
    ]  # fmt: skip


def test_objects_of_one_class_may_become_one():
    bank = make_bank(entries=(entry('a', 1, 1), entry('b', 1, 2)))
    assert [o.entries for o in rename(bank, {'b': 'a'}).objects().values()] == [
        rename(bank, {'b': 'a'}).entries
    ]


@pytest.mark.parametrize(
    ('given', 'part'),
    [
        (({'mug': 'x'},), "no object 'mug'"),
        (({}, {'mug': 'x'}), "no class 'mug'"),
        (({}, {}, {'mug': 3}), "no class 'mug'"),
        (({'ball': 'cup-1'},), 'has two classes'),
        (({}, {'bäll': 'cup'}), "class 'cup' has id 7 and, in the renamed bank, 0"),
        (({'ball': ''},), 'must not be empty'),
        (({'ball': 'a\nb'},), 'printable'),
    ],
)
def test_names_that_cannot_be_are_refused(given, part):
    with pytest.raises(BankError, match=part):
        rename(make_bank(), *given)


names = st.text(st.characters(exclude_categories=['C', 'Z']), min_size=1, max_size=8)


@st.composite
def banks(draw):
    """Return a bank with any keys, classes, stamps and source."""
    keys = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    classes = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    entries = []
    for i in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(keys) - 1))
        stamp = draw(st.integers(-(2**63), 2**63 - 1))
        entries.append(entry(keys[at], stamp, i, at % len(classes), classes[at % len(classes)]))
    return make_bank(entries=tuple(entries), source=draw(names | st.just('')))


@settings(max_examples=60)
@given(banks())
def test_any_bank_comes_back_from_its_file_bit_for_bit(tmp_path_factory, bank):
    path = tmp_path_factory.getbasetemp() / 'round.safetensors'
    bank.save(path)
    first = path.read_bytes()
    loaded = MemoryBank.load(path)
    assert same(loaded, bank)
    loaded.save(path)
    assert path.read_bytes() == first


@settings(max_examples=60)
@given(banks())
def test_what_is_taken_apart_merges_to_the_whole(bank):
    parts = []
    for key in bank.objects():
        others = [other for other in bank.objects() if other != key]
        parts.append((key, remove(bank, keys=others)[0] if others else bank))
    merged = merge(parts)
    assert Counter(map(id, merged.entries)) == Counter(map(id, bank.entries))
    there = {key: f'{key}!' for key in bank.objects()}
    back = {new: old for old, new in there.items()}
    assert same(rename(rename(bank, there), back), bank)
