# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects of a stream: who is who, for how long, and which mask is whose."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask, scene
from stream_cases import EMPTY, SIZE, USUAL, picture

pytestmark = pytest.mark.usefixtures('both_modes')

RED, GREEN = disc_box(14, 24), disc_box(48, 24)


# ---- tracked, lost, retired
def test_a_missed_detection_leaves_the_object_tracked():
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **USUAL)
    images = [picture('red', shift=i) for i in range(12)]
    run.push(*images)
    for i, image in enumerate(images):
        (shown,) = run.latest()[i].objects
        assert (shown.visible, shown.conditioned) == (True, i == 0)
        assert iou(mask(run.latest()[i], 1), colour_mask(image, 'red')) > 0.5


def test_an_object_is_tracked_from_a_prompt_far_behind_every_pass():
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **USUAL, max_conditioned_memories=1)
    run.push(*[picture('red')] * 48)
    assert run.ids(47) == [1]
    assert run.stream.conditioned_frames(1) == (0,)


def test_a_hidden_object_is_listed_and_comes_back_by_itself():
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **USUAL, max_lost_frames=9)
    run.push(*[picture('red')] * 8, *[EMPTY] * 8, *[picture('red')] * 4)
    for i in range(8, 16):
        (shown,) = run.latest()[i].objects
        assert (shown.id, shown.visible, shown.box) == (1, False, None)
        assert shown.score < 0.5
    assert all(run.ids(i) == [1] for i in range(16, 20))
    assert run.engine.stats().objects == 1


def test_an_object_retires_after_max_lost_frames_and_its_id_does_not_come_again():
    run = Run(ColourDetector(['red']), **USUAL, max_lost_frames=8)
    run.push(*[picture('red')] * 8, *[EMPTY] * 8)
    # Last seen on frame 7: on frame 15 it was lost for 8 frames.
    run.push(*[picture('red')] * 8)
    assert [run.ids(i) for i in range(24)] == [[1]] * 8 + [[]] * 8 + [[2]] * 8
    assert run.engine.stats().objects == 2


def test_one_frame_short_of_max_lost_frames_it_is_still_the_same():
    run = Run(ColourDetector(['red']), **USUAL, max_lost_frames=9)
    run.push(*[picture('red')] * 8, *[EMPTY] * 8, *[picture('red')] * 4)
    assert run.ids(19) == [1]


def test_what_was_published_of_a_retired_object_stays():
    """A correction for another object must not erase one that retired in between."""
    script = {0: [(0, RED)], 16: [(1, GREEN)]}
    run = Run(
        ScriptedDetector(script, 4), window_size=4, detect_interval=4, max_propagation=16,
        max_lost_frames=4,
    )
    run.push(*[picture('red', 'green')] * 8, *[picture('green')] * 8)
    before = run.latest()[7]
    run.push(*[picture('green')] * 4)
    after = run.latest()[7]
    assert after.revision == 1 and after.changed_ids == (2,)
    assert run.ids(7) == [2, 1] or run.ids(7) == [1, 2]
    np.testing.assert_array_equal(mask(after, 1), mask(before, 1))
    assert set(np.unique(after.labels)) == {0, 1, 2}


# ---- who is who
def test_objects_of_one_class_keep_their_ids_when_they_cross():
    def script(frame: int):
        return [(0, disc_box(14 + frame * 2, 16)), (0, disc_box(50 - frame * 2, 32))]

    run = Run(ScriptedDetector(script, 4), **USUAL)
    images = [
        scene(('red', 14 + i * 2, 16), ('green', 50 - i * 2, 32), size=SIZE) for i in range(20)
    ]
    run.push(*images)
    for i, image in enumerate(images):
        assert run.ids(i) == [1, 2]
        for id_, colour in ((1, 'red'), (2, 'green')):
            assert iou(mask(run.latest()[i], id_), colour_mask(image, colour)) > 0.5


def test_another_class_at_the_same_place_is_another_object():
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(3, RED)]}, 4), **USUAL)
    run.push(*[picture('red')] * 8)
    assert {o.id: o.class_name for o in run.latest()[5].objects} == {1: 'class 0', 2: 'class 3'}


def test_a_class_without_a_name_is_named_by_its_number():
    run = Run(ScriptedDetector({0: [(77, RED)]}, 4), **USUAL)
    run.push(*[picture('red')] * 4)
    (shown,) = run.latest()[0].objects
    assert (shown.class_id, shown.class_name) == (77, '77')


def test_several_detections_of_one_thing_are_one_object():
    twice = [(0, RED, 0.9), (0, (7.0, 17.0, 23.0, 33.0), 0.8), (0, (5.0, 16.0, 22.0, 32.0), 0.95)]
    run = Run(ScriptedDetector({0: twice, 4: twice}, 4), **USUAL)
    run.push(*[picture('red')] * 8)
    assert [run.ids(i) for i in range(8)] == [[1]] * 8
    assert run.engine.stats().objects == 1


def test_a_detection_that_matches_badly_but_leads_back_to_the_object_is_the_object():
    # On frame 4 the box holds a quarter of the disc: too little overlap to match.
    quarter = (14.0, 24.0, 22.0, 32.0)
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(0, quarter)]}, 4), **USUAL)
    run.push(*[picture('red')] * 8)
    assert [run.ids(i) for i in range(8)] == [[1]] * 8
    assert run.engine.stats().objects == 1
    assert run.stream.conditioned_frames(1) == (0, 4)


def test_two_objects_that_come_to_share_a_mask_become_the_older_one(both_modes):
    # On frame 7, a window's last, the disc is found as a whole and its quarter once more.
    quarter = (14.0, 24.0, 22.0, 32.0)
    script = {0: [(0, RED)], 7: [(0, RED), (0, quarter)]}
    run = Run(ScriptedDetector(script, 7), window_size=4, detect_interval=7, max_propagation=8)
    run.push(*[picture('red')] * 8)
    assert run.ids(6) == [1, 2]
    out = run.push(*[picture('red')] * 4)
    assert [run.ids(i) for i in range(4, 12)] == [[1]] * 8
    vanished = {r.index: r.changed_ids for r in out if r.revision}
    shown = {4, 5, 6, 7} if both_modes == 'window' else set(range(4, 12))
    assert vanished.keys() == shown and all(2 in ids for ids in vanished.values())
    run.push(*[picture('red')] * 8)
    assert run.ids(19, visible=False) == [1]
    assert run.engine.stats().objects == 2


@pytest.mark.parametrize('windows', ['aligned', 'plain'])
def test_windows_of_one_frame_do_not_keep_them_apart(both_modes, windows):
    quarter = (14.0, 24.0, 22.0, 32.0)
    script = {0: [(0, RED)], 7: [(0, RED), (0, quarter)]}
    run = Run(
        ScriptedDetector(script, 7), window_size=1, detect_interval=7, max_propagation=8,
        windows=windows,
    )  # fmt: skip
    run.push(*[picture('red')] * 14)
    assert run.ids(12, visible=False) == [1] and run.engine.stats().objects == 2


def test_objects_of_two_classes_on_one_mask_are_not_merged():
    run = Run(ScriptedDetector({0: [(0, RED), (1, RED)]}, 4), **USUAL)
    run.push(*[picture('red')] * 12)
    assert run.ids(11) == [1, 2]


# ---- which detections count
def test_weak_detections_start_nothing_but_confirm_what_is_known():
    script = {0: [(0, RED, 0.49)], 4: [(0, RED, 0.5)], 8: [(0, RED, 0.1)]}
    run = Run(ScriptedDetector(script, 4), **USUAL, new_object_score=0.5)
    run.push(*[picture('red')] * 4)
    assert run.latest()[3].objects == ()
    run.push(*[picture('red')] * 8)
    assert run.ids(8) == [1]
    assert run.stream.conditioned_frames(1) == (4, 8)


def test_objects_beyond_the_limit_are_counted_and_left_out():
    colours = ['red', 'green', 'blue', 'yellow', 'cyan']
    image = scene(*[(c, 7 + 12 * i, 24, 5) for i, c in enumerate(colours)], size=SIZE)
    run = Run(ColourDetector(colours), **USUAL, max_objects=3)
    run.push(*[image] * 8)
    assert run.ids(7) == [1, 2, 3]
    stats = run.engine.stats()
    assert (stats.objects, stats.ignored_detections, stats.detections) == (3, 4, 10)


def test_an_object_keeps_few_memories_and_always_the_newest():
    run = Run(ColourDetector(['red']), **USUAL, max_conditioned_memories=3)
    for i in range(15):
        run.push(*[picture('red', shift=i)] * 4)
        frames = run.stream.conditioned_frames(1)
        assert len(frames) == min(3, i + 1)
        assert frames == tuple(sorted(frames)) and frames[-1] == 4 * i
    with pytest.raises(KeyError, match="'front' has no object 9"):
        run.stream.conditioned_frames(9)


# ---- association by class
def test_by_class_the_best_detection_is_the_one_object_of_its_class():
    script = {0: [(0, RED, 0.6), (0, GREEN, 0.9)], 4: [(0, GREEN, 0.1), (1, RED)]}
    run = Run(ScriptedDetector(script, 4), **USUAL, association='class')
    image = picture('red', 'green')
    run.push(*[image] * 8)
    for i in range(8):
        assert [(o.id, o.class_id) for o in run.latest()[i].objects] == [(1, 0), (2, 1)]
        assert iou(mask(run.latest()[i], 1), colour_mask(image, 'green')) > 0.5
        assert iou(mask(run.latest()[i], 2), colour_mask(image, 'red')) > 0.5


def test_by_class_a_detection_elsewhere_is_the_same_object():
    script = {0: [(0, GREEN)], 4: [(0, RED)]}
    run = Run(ScriptedDetector(script, 4), **USUAL, association='class')
    image = picture('red', 'green')
    run.push(*[image] * 8)
    assert iou(mask(run.latest()[0], 1), colour_mask(image, 'green')) > 0.5
    assert iou(mask(run.latest()[4], 1), colour_mask(image, 'red')) > 0.5
    assert run.engine.stats().objects == 1


def test_by_class_the_id_lives_on_while_the_object_does():
    run = Run(ColourDetector(['red', 'green']), **USUAL, association='class', max_lost_frames=4)
    run.push(*[picture('green')] * 4, *[picture('red', 'green')] * 4, *[picture('red')] * 8)
    assert [o.class_name for o in run.latest()[15].objects] == ['red']
    assert run.ids(5) == [1, 2] and run.ids(15) == [2]


# ---- masks and labels
def test_where_masks_overlap_the_label_is_the_one_with_the_higher_logit():
    # Two reds so near to each other that each object's mask covers both discs.
    reds = {'left': (255, 0, 0), 'right': (255, 60, 0)}
    image = scene((reds['left'], 14, 24), (reds['right'], 48, 24), size=SIZE)
    run = Run(ScriptedDetector({0: [(0, RED), (1, GREEN)]}, 4), **USUAL)
    run.push(*[image] * 4)
    result = run.latest()[2]
    # The two masks differ at most along the edges.
    assert iou(*result.masks) > 0.7 and result.masks[0].sum() > 250
    left, right = result.labels[:, :32], result.labels[:, 32:]
    assert set(np.unique(left)) == {0, 1}
    assert set(np.unique(right)) == {0, 2}
    np.testing.assert_array_equal(result.labels > 0, result.masks.any(axis=0))


@pytest.mark.parametrize('size', [(48, 64), (64, 48), (100, 100), (31, 230)])
def test_masks_have_the_size_of_the_image(size):
    height, width = size
    run = Run(ColourDetector(['red']), **USUAL)
    image = scene(('red', width / 2, height / 2, min(size) / 3), size=size)
    run.push(*[image] * 4)
    for result in run.results:
        assert result.masks.shape == (1, *size) and result.labels.shape == size
        assert iou(result.masks[0], colour_mask(image, 'red')) > 0.5
