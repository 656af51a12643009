# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detections to objects: assignment, duplicates, ids, merging."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.engine.tracking.ids import MAX_OBJECT_ID, IdAllocator
from detsam2_ros.engine.tracking.matching import assign, assign_by_class, new_objects
from detsam2_ros.engine.tracking.merging import MaskTrack, merged_pairs
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.errors import EngineError
from detsam2_ros.results.masks import Mask, box_iou


def detections(*rows: tuple[tuple[float, float, float, float], int, float]) -> Detections:
    boxes, class_ids, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes), np.array(class_ids), np.array(scores))


A, B, FAR = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (80.0, 80.0, 90.0, 90.0)


def test_assign_takes_the_overlapping_object_of_the_class():
    found = detections((B, 1, 0.9), (A, 1, 0.8), (FAR, 1, 0.9))
    assert assign(found, np.array([A, B]), np.array([1, 1]), 0.3).tolist() == [1, 0, -1]


def test_assign_keeps_classes_apart():
    found = detections((A, 1, 0.9))
    assert assign(found, np.array([A]), np.array([2]), 0.3).tolist() == [-1]


def test_assign_is_one_to_one_and_takes_the_better_pair():
    shifted = (2.0, 0.0, 12.0, 10.0)
    found = detections((shifted, 1, 0.99), (A, 1, 0.5))
    assert assign(found, np.array([A]), np.array([1]), 0.3).tolist() == [-1, 0]


def test_assign_maximises_the_sum_not_the_single_best():
    # The best single pair (detection 0, object 0) would leave the other two unmatched.
    objects = np.array([[0, 0, 10, 10], [4, 0, 14, 10]], float)
    found = detections(((1.0, 0.0, 11.0, 10.0), 1, 0.9), ((-3.0, 0.0, 7.0, 10.0), 1, 0.9))
    assert assign(found, objects, np.array([1, 1]), 0.3).tolist() == [1, 0]


def test_assign_respects_the_least_iou():
    # IoU of A and its copy shifted by 5 is 1/3.
    found = detections(((5.0, 0.0, 15.0, 10.0), 1, 0.9))
    assert assign(found, np.array([A]), np.array([1]), 0.33).tolist() == [0]
    assert assign(found, np.array([A]), np.array([1]), 0.34).tolist() == [-1]


def test_assign_at_zero_iou_still_needs_overlap():
    assert assign(detections((FAR, 1, 0.9)), np.array([A]), np.array([1]), 0.0).tolist() == [-1]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    'row', [[0, 0, 0, 0], [np.nan] * 4, [0, 0, np.inf, 10], [np.inf, 0, np.inf, 10]])
def test_assign_never_matches_an_object_without_a_mask(row):
    objects = np.array([row, A], float)
    found = detections((A, 1, 0.9), (A, 1, 0.9))
    assert assign(found, objects, np.array([1, 1]), 0.0).tolist().count(0) == 0


@pytest.mark.filterwarnings('error')
def test_assign_without_detections_or_objects():
    none = np.zeros((0, 4))
    assert assign(Detections.empty(), np.array([A]), np.array([1]), 0.3).shape == (0,)
    assert assign(detections((A, 1, 0.9)), none, np.zeros(0, int), 0.3).tolist() == [-1]
    assert assign(Detections.empty(), none, np.zeros(0, int), 0.3).dtype == np.int64


boxes_strategy = st.lists(
    st.tuples(
        st.integers(0, 8), st.integers(0, 8), st.integers(1, 6), st.integers(1, 6),
        st.integers(0, 1),
    ),
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(boxes_strategy, boxes_strategy, st.sampled_from([0.0, 0.1, 0.3, 0.5]))
def test_assign_is_the_best_of_all_one_to_one_choices(found, objects, match_iou):
    def split(rows):
        array = np.array(rows, float).reshape(-1, 5)
        boxes = np.concatenate([array[:, :2], array[:, :2] + array[:, 2:4]], axis=1)
        return boxes, array[:, 4].astype(int)

    found_boxes, found_ids = split(found)
    object_boxes, object_ids = split(objects)
    result = assign(
        Detections(found_boxes, found_ids, np.ones(len(found))), object_boxes, object_ids,
        match_iou,
    )
    iou = box_iou(found_boxes, object_boxes)
    allowed = (iou >= match_iou) & (iou > 0) & (found_ids[:, None] == object_ids[None])
    taken = [j for j in result if j >= 0]
    assert len(taken) == len(set(taken))
    assert all(allowed[i, j] for i, j in enumerate(result) if j >= 0)
    best = max(
        sum(iou[i, j] for i, j in enumerate(choice) if j >= 0 and allowed[i, j])
        for choice in itertools.product(range(-1, len(objects)), repeat=len(found))
        if len([j for j in choice if j >= 0]) == len({j for j in choice if j >= 0})
    )
    assert sum(iou[i, j] for i, j in enumerate(result) if j >= 0) == pytest.approx(best)


def starts(found, rows, objects=(), ids=(), score=0.5, overlap=0.5):
    boxes = np.array(objects, float).reshape(-1, 4)
    return new_objects(found, np.array(rows), boxes, np.array(ids, int), score, overlap)


def test_new_objects_come_best_score_first_and_above_the_score():
    found = detections((A, 1, 0.6), (B, 1, 0.9), (FAR, 1, 0.49))
    assert starts(found, [-1, -1, -1]) == [1, 0]


def test_a_matched_detection_starts_nothing():
    assert starts(detections((A, 1, 0.9)), [0], [A], [1]) == []


def test_several_detections_of_one_thing_start_one_object():
    near = (1.0, 0.0, 11.0, 10.0)
    found = detections((near, 1, 0.7), (A, 1, 0.9), (near, 1, 0.8))
    assert starts(found, [-1, -1, -1]) == [1]


def test_another_class_at_the_same_place_starts_its_own_object():
    assert starts(detections((A, 1, 0.9), (A, 2, 0.8)), [-1, -1]) == [0, 1]


def test_a_second_detection_of_a_matched_object_starts_nothing():
    near, tracked = (1.0, 0.0, 11.0, 10.0), (3.0, 0.0, 13.0, 10.0)
    found = detections((A, 1, 0.9), (near, 1, 0.8))
    assert starts(found, [0, -1], [tracked], [1]) == []
    # Close to the matched detection alone, not to the object's drifted box.
    assert starts(found, [0, -1], [(8.0, 0.0, 18.0, 10.0)], [1]) == []
    # Close to the object's box alone, not to the detection it was matched to.
    apart = detections(((-5.0, 0.0, 5.0, 10.0), 1, 0.9), ((5.0, 0.0, 15.0, 10.0), 1, 0.8))
    assert starts(apart, [0, -1], [tracked], [1]) == []
    assert starts(apart, [0, -1], [(-4.0, 0.0, 6.0, 10.0)], [1]) == [1]


def test_a_suppressed_detection_does_not_suppress():
    # c overlaps b, b overlaps a; a and c lie far enough apart to be two things.
    a, b, c = (0.0, 0.0, 10.0, 10.0), (3.0, 0.0, 13.0, 10.0), (6.0, 0.0, 16.0, 10.0)
    assert starts(detections((a, 1, 0.9), (b, 1, 0.8), (c, 1, 0.7)), [-1] * 3) == [0, 2]


def test_touching_objects_start_apart_even_at_overlap_zero():
    assert starts(detections((A, 1, 0.9), (B, 1, 0.8)), [-1, -1], overlap=0.0) == [0, 1]


def test_new_objects_without_detections():
    assert starts(Detections.empty(), np.zeros(0, int), [A], [1]) == []


def test_by_class_the_best_score_is_the_object():
    found = detections((A, 1, 0.2), (B, 1, 0.3), (A, 2, 0.7), (B, 2, 0.9), (FAR, 3, 0.4))
    rows, new = assign_by_class(found, {1: 5}, 0.5)
    assert rows.tolist() == [-1, 5, -1, -1, -1]
    assert new == [3]


def test_by_class_without_detections():
    rows, new = assign_by_class(Detections.empty(), {1: 0}, 0.5)
    assert (rows.tolist(), new) == ([], [])


def test_ids_count_up_and_do_not_come_back_while_others_were_not_used():
    ids = IdAllocator()
    assert [ids.take(set()) for _ in range(3)] == [1, 2, 3]
    for expected in range(4, MAX_OBJECT_ID + 1):
        assert ids.take(set()) == expected
    assert ids.take({1, 2}) == 3


def test_ids_error_when_all_are_in_use():
    with pytest.raises(EngineError, match='65535 object ids are in use'):
        IdAllocator().take(range(1, MAX_OBJECT_ID + 1))


def square(x: int, size: int = 8) -> np.ndarray:
    mask = np.zeros((40, 60), bool)
    mask[10 : 10 + size, x : x + size] = True
    return mask


def track(id_: int, xs: list[int | None], class_id: int = 1, born: int | None = None) -> MaskTrack:
    """Make a track: x of a square per frame, None = no mask, -1 = an empty mask."""
    masks = [
        None if x is None else Mask.of(square(x) if x >= 0 else np.zeros((40, 60), bool))
        for x in xs
    ]
    return MaskTrack(id_, class_id, id_ if born is None else born, masks)


def test_objects_on_one_mask_are_merged_and_the_older_lives():
    younger, older = track(3, [1, 2, 3], born=9), track(7, [1, 2, 3], born=4)
    assert merged_pairs([younger, older], 0.8) == [(7, 3)]


def test_equally_old_objects_keep_the_lower_id():
    assert merged_pairs([track(5, [1, 2], born=0), track(4, [1, 2], born=0)], 0.8) == [(4, 5)]


def test_objects_of_two_classes_are_not_merged():
    assert merged_pairs([track(1, [1, 2]), track(2, [1, 2], class_id=2)], 0.8) == []


def test_objects_that_parted_are_not_merged():
    assert merged_pairs([track(1, [1, 2, 3]), track(2, [1, 2, 30])], 0.8) == []
    assert merged_pairs([track(1, [1, 2, 3]), track(2, [1, 2, 6])], 0.8) == []


def test_the_newest_frame_is_the_newest_where_both_are_visible():
    assert merged_pairs([track(1, [1, 2, 3]), track(2, [1, 2, None])], 0.6) == [(1, 2)]
    assert merged_pairs([track(1, [1, 2, 3]), track(2, [1, 2, -1])], 0.6) == [(1, 2)]


def test_half_of_the_frames_where_one_is_visible_must_agree():
    assert merged_pairs([track(1, [1] * 4), track(2, [30, 30, 1, 1])], 0.8) == [(1, 2)]
    assert merged_pairs([track(1, [1] * 5), track(2, [30, 30, 30, 1, 1])], 0.8) == []
    assert merged_pairs([track(1, [1] * 5), track(2, [None] * 3 + [1, 1])], 0.8) == []
    # Frames on which neither is visible do not count.
    assert merged_pairs([track(1, [-1] * 3 + [1, 1]), track(2, [None] * 3 + [1, 1])], 0.8)


def test_one_shared_frame_is_enough_only_when_there_is_just_one():
    assert merged_pairs([track(1, [5]), track(2, [5])], 0.8) == [(1, 2)]
    assert merged_pairs([track(1, [5, None]), track(2, [5, None])], 0.8) == []


def test_three_objects_on_one_mask_leave_the_oldest():
    pairs = merged_pairs([track(i, [4, 4]) for i in (3, 1, 2)], 0.8)
    assert pairs == [(1, 2), (1, 3)]


def test_objects_without_masks_or_overlap_are_not_merged_even_at_iou_zero():
    assert merged_pairs([track(1, [None, None]), track(2, [None, None])], 0.0) == []
    assert merged_pairs([track(1, [-1, -1]), track(2, [-1, -1])], 0.0) == []
    assert merged_pairs([track(1, [1, 1]), track(2, [30, 30])], 0.0) == []
    assert merged_pairs([track(1, []), track(2, [])], 0.8) == []
    assert merged_pairs([], 0.8) == []


def test_boxes_that_overlap_do_not_mean_masks_that_do():
    ring = np.zeros((40, 60), bool)
    ring[5:30, 5:30] = True
    ring[8:27, 8:27] = False
    inside = np.zeros((40, 60), bool)
    inside[10:20, 10:20] = True
    tracks = [MaskTrack(i, 1, i, [Mask.of(m)] * 2) for i, m in ((1, ring), (2, inside))]
    assert merged_pairs(tracks, 0.0) == []
