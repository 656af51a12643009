# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory banks in a stream: what they find without a detector, and who is who beside one."""

import dataclasses
from pathlib import Path

import fakes
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask
from stream_cases import EMPTY, SIZE, USUAL, make_bank, picture, same_results

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.results.errors import BankError
from oracle import random_sam2

pytestmark = pytest.mark.usefixtures('both_modes')


def test_a_bank_holds_what_was_seen():
    bank = make_bank('red', 'green', entries=3)
    objects = bank.objects()
    assert {key: (o.class_id, o.class_name, len(o.entries)) for key, o in objects.items()} == {
        'red-1': (0, 'red', 3), 'green-2': (1, 'green', 3)}
    assert list(objects) == ['red-1', 'green-2']
    assert [len(o.entries) for o in objects.values()] == [3, 3]
    assert {e.stamp for e in bank.entries} <= {0, 4000, 8000, 12000}
    assert max(e.stamp for e in bank.entries) == 12000
    assert bank.source == 'recording'


def test_a_bank_segments_another_video_without_any_detection(tmp_path: Path):
    make_bank('red', 'green').save(tmp_path / 'bank')
    run = Run(None, **USUAL)
    run.stream.load_bank(MemoryBank.load(tmp_path / 'bank'))
    images = [EMPTY] * 4 + [picture('red', shift=i) for i in range(8)]
    first = run.push(*images[:4])
    # Looked for on every frame, shown once visible.
    assert all(r.objects == () for r in first)
    run.push(*images[4:])
    for i in range(4, 12):
        result = run.latest()[i]
        (shown,) = result.objects
        assert (shown.id, shown.class_name, shown.conditioned) == (1, 'red', False)
        assert iou(mask(result, 1), colour_mask(images[i], 'red')) > 0.5
    assert run.engine.stats().conditioned_frames == 0


def test_a_bank_from_a_file_gives_the_very_same_masks(tmp_path: Path):
    model = fakes.tiny_sam2(1)
    boxes = [(0, (4.0, 4.0, 30.0, 40.0)), (1, (30.0, 8.0, 60.0, 44.0))]
    maker = Run(ScriptedDetector(lambda frame: boxes), model, **USUAL)
    maker.push(*random_sam2.images(12, *SIZE, seed=1))
    bank = maker.stream.export_bank(2)
    bank.save(tmp_path / 'bank')
    runs = []
    for each in (bank, MemoryBank.load(tmp_path / 'bank')):
        run = Run(None, model, **USUAL)
        run.stream.load_bank(each)
        run.push(*random_sam2.images(8, *SIZE, seed=2))
        runs.append(run)
    assert any(run.ids(i) for run in runs for i in range(8))
    same_results(*(run.results for run in runs))


def test_a_bank_object_that_is_detected_keeps_its_id_and_gets_prompts():
    run = Run(ColourDetector(['red']), **USUAL)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 8)
    assert [run.ids(i) for i in range(8)] == [[1]] * 8
    assert run.stream.conditioned_frames(1) == (0, 4)
    run.stream.unload_bank()
    run.push(*[picture('red')] * 4)
    assert run.ids(11) == [1]  # by its own prompts
    assert run.engine.stats().objects == 1


def test_unloading_drops_what_only_the_bank_knew():
    run = Run(None, **USUAL)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 4)
    assert run.ids(3) == [1]
    run.stream.unload_bank()
    assert run.stream.bank is None
    results = run.push(*[picture('red')] * 4)
    assert [o for r in results if r.revision == 0 for o in r.objects] == []
    run.stream.unload_bank()  # without a bank there is nothing to do


def test_a_bank_takes_the_place_of_another_between_two_passes():
    red, green = make_bank('red'), make_bank('green')
    run = Run(None, **USUAL)
    run.stream.load_bank(red)
    image = picture('red', 'green')
    run.push(*[image] * 6)
    run.stream.load_bank(green)
    assert run.stream.bank is not None and list(run.stream.bank.objects()) == ['green-1']
    run.push(*[image] * 2)
    assert [o.class_name for o in run.latest()[7].objects] == ['green']
    assert iou(run.latest()[7].masks[0], colour_mask(image, 'green')) > 0.5


def test_an_object_that_is_in_both_banks_keeps_its_id():
    run = Run(None, **USUAL)
    run.stream.load_bank(make_bank('red', 'green'))
    run.push(*[picture('red', 'green')] * 4)
    ids = {o.class_name: o.id for o in run.latest()[3].objects}
    run.stream.load_bank(make_bank('red', 'green', entries=1))
    run.push(*[picture('red', 'green')] * 4)
    assert {o.class_name: o.id for o in run.latest()[7].objects} == ids


def test_a_bank_can_be_added_to_another():
    run = Run(None, **USUAL)
    run.stream.load_bank(make_bank('red'))
    other = dataclasses.replace(
        (bank := make_bank('green')),
        entries=tuple(dataclasses.replace(e, class_id=5) for e in bank.entries),
    )
    run.stream.load_bank(other, replace=False)
    assert run.stream.bank is not None
    assert list(run.stream.bank.objects()) == ['red-1', 'green-1']
    run.push(*[picture('red', 'green')] * 4)
    assert sorted(o.class_name for o in run.latest()[3].objects) == ['green', 'red']
    # The same once more adds nothing.
    size = len(run.stream.bank)
    run.stream.load_bank(other, replace=False)
    assert len(run.stream.bank) == size


def test_a_key_that_means_two_classes_is_refused_and_the_old_bank_stays():
    run = Run(None, **USUAL)
    bank = make_bank('red')
    run.stream.load_bank(bank)
    renamed = tuple(dataclasses.replace(e, class_name='blue') for e in bank.entries)
    with pytest.raises(BankError, match=r"'red-1' has two classes: 0 \(red\) and 1 \(blue\)"):
        run.stream.load_bank(dataclasses.replace(bank, entries=renamed), replace=False)
    assert run.stream.bank is bank


def test_a_bank_of_another_model_is_refused_and_the_old_one_works_on():
    run = Run(None, **USUAL)
    bank = make_bank('red')
    run.stream.load_bank(bank)
    for changed, name in (({'seed': 1}, 'colour-1'), ({'image_size': 96}, 'colour-0')):
        other = make_bank('green', model=fakes.colour_sam2(**changed))
        with pytest.raises(BankError, match=f'made with {name} .* the loaded model is colour-0 '):
            run.stream.load_bank(other)
    assert run.stream.bank is bank
    run.push(*[picture('red', 'green')] * 4)
    assert [o.class_name for o in run.latest()[3].objects] == ['red']


def test_a_bank_with_too_many_objects_is_refused():
    run = Run(None, **USUAL, max_objects=1)
    with pytest.raises(BankError, match='holds 2 objects, but max_objects is 1'):
        run.stream.load_bank(make_bank('red', 'green'))
    assert run.stream.bank is None


def test_exporting_keeps_key_and_entries_of_the_bank():
    run = Run(ColourDetector(['red', 'green']), **USUAL)
    run.stream.load_bank(make_bank('red', entries=2))
    run.push(*[picture('red', 'green')] * 8)
    exported = run.stream.export_bank(10)
    objects = exported.objects()
    assert list(objects) == ['red-1', 'green-2']
    assert [len(o.entries) for o in objects.values()] == [2 + 2, 2]
    assert len(run.stream.export_bank(1)) == 2
    # A bank that was only looked for is exported too.
    idle = Run(None, **USUAL)
    idle.stream.load_bank(exported)
    assert {e.object_key for e in idle.stream.export_bank(10).entries} == set(objects)


def test_exporting_needs_at_least_one_entry_and_copes_with_none():
    run = Run(None, **USUAL)
    with pytest.raises(ValueError, match='max_entries_per_object must be >= 1, got 0'):
        run.stream.export_bank(0)
    assert len(run.stream.export_bank(5)) == 0


def test_prompts_on_nothing_are_not_exported():
    # The detector sees ghosts: the model finds no object in the box.
    run = Run(ScriptedDetector({0: [(0, disc_box(14, 24))]}, 4), **USUAL)
    run.push(*[EMPTY] * 4)
    assert len(run.stream.export_bank(5)) == 0


def test_frames_of_one_stamp_can_be_exported():
    run = Run(ColourDetector(['red']), **USUAL)
    for i in range(8):
        run.stream.push(picture('red', shift=i), 0)
    run.stream.export_bank(5)


def test_reset_keeps_the_bank():
    run = Run(None, **USUAL)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 6)
    run.stream.reset()
    run.results.clear()
    run.push(*[picture('red')] * 4)
    assert [len(run.ids(i)) for i in range(4)] == [1] * 4


def test_a_bank_object_that_was_lost_is_looked_for_again():
    run = Run(None, **USUAL, max_lost_frames=4)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 4, *[EMPTY] * 12, *[picture('red')] * 4)
    assert run.ids(3) == [1]
    assert run.latest()[14].objects == ()
    assert run.ids(19) == [2]


def test_a_bank_for_an_object_that_is_known_already_adds_no_second_one():
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[picture('red')] * 8)
    run.stream.load_bank(make_bank('red'))
    run.push(*[picture('red')] * 20)
    assert [run.ids(i) for i in range(28)] == [[1]] * 28
    # It was taken for another object at most once, not again in every window.
    assert run.engine.stats().objects <= 2


def test_an_exported_key_never_stands_for_two_objects():
    # Both are the first object of class 0 in their streams, but not the same thing.
    recording = Run(ScriptedDetector({0: [(0, disc_box(48, 24))]}, 4), **USUAL)
    recording.push(*[picture('green')] * 4)
    bank = recording.stream.export_bank(1)
    run = Run(ScriptedDetector({0: [(0, disc_box(14, 24))]}, 4), **USUAL)
    run.stream.load_bank(bank)
    run.push(*[picture('red')] * 4)
    objects = run.stream.export_bank(1).objects()
    assert len(objects) == 2 and set(bank.objects()) < set(objects)


# ---- beside a detector: who is who, whose class is which, what is new
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
