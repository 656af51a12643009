# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A memory bank and a detector together: who is who, whose class is which, what is new."""

import dataclasses

import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask
from stream_cases import EMPTY, USUAL, make_bank, picture

from detsam2_ros.engine.bank.bank import MemoryBank

pytestmark = pytest.mark.usefixtures('both_modes')


def numbered(bank: MemoryBank, **ids: int) -> MemoryBank:
    """Return a bank whose classes have other ids, as another detector numbers them."""
    return dataclasses.replace(
        bank,
        entries=tuple(dataclasses.replace(e, class_id=ids[e.class_name]) for e in bank.entries),
    )


def test_a_detection_conditions_the_bank_object_that_it_overlaps_and_no_other():
    run = Run(ColourDetector(['red', 'green']), **USUAL)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red', 'green')] * 4)
    by_name = {o.class_name: o.id for o in run.latest()[3].objects if o.visible}
    assert sorted(by_name) == ['green', 'red'] and run.engine.stats().objects == 2
    assert run.stream.conditioned_frames(by_name['red']) == (0,)
    assert run.stream.export_bank(9).objects()['red-1'].entries  # still the bank's object


def test_a_detection_elsewhere_is_another_object():
    # One class: the bank knows the red disc, the detector finds the green one.
    run = Run(ScriptedDetector({0: [(0, disc_box(48, 24))]}, 4, classes=1), **USUAL)
    bank = make_bank('red')
    named = tuple(dataclasses.replace(e, class_name='class 0') for e in bank.entries)
    run.stream.load_bank(dataclasses.replace(bank, entries=named))
    image = picture('red', 'green')
    run.push(*[image] * 4)
    result = run.latest()[3]
    assert len(result.objects) == 2
    prompted = [o.id for o in result.objects if run.stream.conditioned_frames(o.id)]
    assert len(prompted) == 1 and iou(mask(result, prompted[0]), colour_mask(image, 'green')) > 0.5


def test_new_memory_adds_to_that_of_the_bank():
    run = Run(ColourDetector(['red']), **USUAL)
    bank = make_bank('red', entries=2)
    run.stream.load_bank(bank)
    run.push(*[picture('red', shift=i) for i in range(8)])
    (tracked,) = run.stream._state.objects
    assert len(tracked.bank.memories) == 2 and sorted(tracked.prompts) == [0, 4]
    union, new = run.stream.export_bank(9), run.stream.export_bank(9, new_only=True)
    assert len(union) == 4 and len(new) == 2
    assert list(new.objects()) == list(union.objects()) == ['red-1']  # so that they add up
    assert [e.stamp for e in new.entries] == [0, 4000]


def test_of_what_was_only_looked_for_nothing_is_new():
    run = Run(None, **USUAL)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 4)
    assert len(run.stream.export_bank(9)) == 2
    assert len(run.stream.export_bank(9, new_only=True)) == 0


def test_classes_are_matched_by_name():
    # To the bank red is 1 and green 0; to the detector it is the other way round.
    run = Run(ColourDetector(['red', 'green']), **USUAL)
    run.stream.load_bank(numbered(make_bank('red', 'green'), red=1, green=0))
    assert run.stream.bank is not None
    assert {k: (o.class_id, o.class_name) for k, o in run.stream.bank.objects().items()} == {
        'red-1': (0, 'red'), 'green-2': (1, 'green')}  # fmt: skip
    image = picture('red', 'green')
    run.push(*[image] * 8)
    result = run.latest()[7]
    assert [(o.class_id, o.class_name) for o in result.objects] == [(0, 'red'), (1, 'green')]
    for obj in result.objects:
        assert iou(mask(result, obj.id), colour_mask(image, obj.class_name)) > 0.5
        assert run.stream.conditioned_frames(obj.id) == (0, 4)
    assert run.engine.stats().objects == 2


def test_a_name_that_the_detector_does_not_know_gets_an_id_of_its_own():
    run = Run(ColourDetector(['red', 'yellow']), **USUAL)
    run.stream.load_bank(numbered(make_bank('green'), green=0))
    run.push(*[picture('red', 'green')] * 4)
    classes = {o.class_name: o.class_id for o in run.latest()[3].objects}
    assert classes['red'] == 0 and classes['green'] not in (0, 1)
    # A second bank that numbers it otherwise means the same class.
    run.stream.load_bank(numbered(make_bank('green'), green=1), replace=False)
    assert run.stream.bank is not None
    assert run.stream.bank.objects()['green-1'].class_id == classes['green']


def test_a_bank_with_the_right_numbers_is_taken_as_it_is():
    run = Run(ColourDetector(['red', 'green']), **USUAL)
    bank = make_bank('red', 'green')
    run.stream.load_bank(bank)
    assert run.stream.bank is bank


def test_a_bank_object_shows_up_when_it_was_seen_for_a_while():
    run = Run(None, **USUAL, bank_object_score=0.9, bank_object_frames=3)
    run.stream.load_bank(make_bank('red'))
    run.push(*[EMPTY] * 2, *[picture('red')] * 2)  # twice
    assert run.ids(3) == []
    run.push(*[EMPTY] * 4)
    assert all(run.ids(i) == [] for i in range(8))
    run.push(*[picture('red')] * 12)
    assert [run.ids(i) for i in range(8, 20)] == [[1]] * 12  # corrected, from the first on
    if run.config.mode == 'online':
        assert [len(run.first()[i].objects) for i in range(8, 12)] == [0, 0, 1, 1]


def test_a_bank_object_that_is_seen_dimly_does_not_show_up():
    # The model's presence logit is 5, a probability of 0.993.
    for least, shown in ((0.99, [1]), (0.995, [])):
        run = Run(None, **USUAL, bank_object_score=least)
        run.stream.load_bank(make_bank('red'))
        run.push(*[picture('red')] * 8)
        assert run.ids(7) == shown


def test_a_detection_of_a_bank_object_needs_no_waiting():
    run = Run(ColourDetector(['red']), **USUAL, bank_object_score=1.0, bank_object_frames=8)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 4)
    assert [run.ids(i) for i in range(4)] == [[1]] * 4


def test_no_more_frames_are_asked_for_than_a_pass_has():
    run = Run(None, **USUAL, bank_object_frames=1000)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 16)
    assert run.ids(15) == [1]
