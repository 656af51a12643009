# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Who is who: assignment, duplicates, ids, merging, and new objects that are older ones."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.tracking.frame_masks import FrameMasks
from detsam2_ros.engine.tracking.ids import MAX_OBJECT_ID, IdAllocator
from detsam2_ros.engine.tracking.matching import assign, assign_by_class, new_objects
from detsam2_ros.engine.tracking.merging import MaskTrack, lost_to, merged_pairs
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.reidentification import same_before_birth
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.errors import EngineError
from detsam2_ros.results.masks import Mask, box_iou


def detections(*rows: tuple[tuple[float, float, float, float], int, float]) -> Detections:
    boxes, class_ids, scores = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes), np.array(class_ids), np.array(scores))


A, B, FAR = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0), (80.0, 80.0, 90.0, 90.0)


# Detections, boxes and classes of the objects, the least IoU, and the object of each detection.
ASSIGNED = {
    'the overlapping one of the class': (
        [(B, 1, 0.9), (A, 1, 0.8), (FAR, 1, 0.9)], [A, B], [1, 1], 0.3, [1, 0, -1]),
    'classes are kept apart': ([(A, 1, 0.9)], [A], [2], 0.3, [-1]),
    'one to one, the better pair': (
        [((2.0, 0.0, 12.0, 10.0), 1, 0.99), (A, 1, 0.5)], [A], [1], 0.3, [-1, 0]),
    # The best single pair (detection 0, object 0) would leave the other two unmatched.
    'the largest sum, not the single best': (
        [((1.0, 0.0, 11.0, 10.0), 1, 0.9), ((-3.0, 0.0, 7.0, 10.0), 1, 0.9)],
        [A, (4, 0, 14, 10)], [1, 1], 0.3, [1, 0]),
    # IoU of A and its copy shifted by 5 is 1/3.
    'above the least IoU': ([((5.0, 0.0, 15.0, 10.0), 1, 0.9)], [A], [1], 0.33, [0]),
    'below the least IoU': ([((5.0, 0.0, 15.0, 10.0), 1, 0.9)], [A], [1], 0.34, [-1]),
    'zero IoU still needs overlap': ([(FAR, 1, 0.9)], [A], [1], 0.0, [-1]),
}


@pytest.mark.parametrize(
    ('found', 'objects', 'ids', 'match_iou', 'expected'), ASSIGNED.values(), ids=ASSIGNED)
def test_assign(found, objects, ids, match_iou, expected):
    result = assign(detections(*found), np.array(objects, float), np.array(ids), match_iou)
    assert result.tolist() == expected


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


NEAR, TRACKED = (1.0, 0.0, 11.0, 10.0), (3.0, 0.0, 13.0, 10.0)
TWICE = [(A, 1, 0.9), (NEAR, 1, 0.8)]  # the first is matched
APART = [((-5.0, 0.0, 5.0, 10.0), 1, 0.9), ((5.0, 0.0, 15.0, 10.0), 1, 0.8)]
# Detections, the object that each was matched to, boxes of the objects, and what is started.
STARTED = {
    'best score first, above the score': (
        [(A, 1, 0.6), (B, 1, 0.9), (FAR, 1, 0.49)], [-1, -1, -1], [], [1, 0]),
    'a matched detection starts nothing': ([(A, 1, 0.9)], [0], [A], []),
    'several of one thing start one': (
        [(NEAR, 1, 0.7), (A, 1, 0.9), (NEAR, 1, 0.8)], [-1, -1, -1], [], [1]),
    'another class in the same place': ([(A, 1, 0.9), (A, 2, 0.8)], [-1, -1], [], [0, 1]),
    'a second one of a matched object starts nothing': (TWICE, [0, -1], [TRACKED], []),
    'close to the matched detection, not to the drifted box of the object': (
        TWICE, [0, -1], [(8.0, 0.0, 18.0, 10.0)], []),
    'close to the box, not to the detection that was matched': (APART, [0, -1], [TRACKED], []),
    'close to neither': (APART, [0, -1], [(-4.0, 0.0, 6.0, 10.0)], [1]),
    # c overlaps b, b overlaps a; a and c lie far enough apart to be two things.
    'what is suppressed does not suppress': (
        [(A, 1, 0.9), (TRACKED, 1, 0.8), ((6.0, 0.0, 16.0, 10.0), 1, 0.7)], [-1] * 3, [], [0, 2]),
    'no detections': ([], np.zeros(0, int), [A], []),
}


@pytest.mark.parametrize(
    ('found', 'rows', 'objects', 'expected'), STARTED.values(), ids=STARTED)
def test_which_detections_start_objects(found, rows, objects, expected):
    found = detections(*found) if found else Detections.empty()
    assert starts(found, rows, objects, [1] * len(objects)) == expected


def test_touching_objects_start_apart_even_at_overlap_zero():
    assert starts(detections((A, 1, 0.9), (B, 1, 0.8)), [-1, -1], overlap=0.0) == [0, 1]


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


# The frames' squares of two tracks, the least IoU, and whether the second becomes the first.
MERGED = {
    'one mask': ([1, 2, 3], [1, 2, 3], 0.8, True),
    'parted': ([1, 2, 3], [1, 2, 30], 0.8, False),
    'parted by a bit': ([1, 2, 3], [1, 2, 6], 0.8, False),
    'the newest frame is where both are visible': ([1, 2, 3], [1, 2, None], 0.6, True),
    'an empty mask is not visible': ([1, 2, 3], [1, 2, -1], 0.6, True),
    'half of the frames agree': ([1] * 4, [30, 30, 1, 1], 0.8, True),
    'less than half of them': ([1] * 5, [30, 30, 30, 1, 1], 0.8, False),
    'less than half, where only one is visible': ([1] * 5, [None] * 3 + [1, 1], 0.8, False),
    'frames without both do not count': ([-1] * 3 + [1, 1], [None] * 3 + [1, 1], 0.8, True),
    'the only frame': ([5], [5], 0.8, True),
    'one frame of two': ([5, None], [5, None], 0.8, False),
    'no masks, IoU zero': ([None, None], [None, None], 0.0, False),
    'empty masks, IoU zero': ([-1, -1], [-1, -1], 0.0, False),
    'no overlap, IoU zero': ([1, 1], [30, 30], 0.0, False),
    'no frames': ([], [], 0.8, False),
}


@pytest.mark.parametrize(('first', 'second', 'iou', 'merged'), MERGED.values(), ids=MERGED)
def test_which_tracks_are_merged(first, second, iou, merged):
    pairs = merged_pairs([track(1, first), track(2, second)], iou)
    assert pairs == ([(1, 2)] if merged else [])


def test_the_older_of_merged_objects_lives():
    younger, older = track(3, [1, 2, 3], born=9), track(7, [1, 2, 3], born=4)
    assert merged_pairs([younger, older], 0.8) == [(7, 3)]
    # Of equally old ones that with the lower id; of three the oldest.
    assert merged_pairs([track(5, [1, 2], born=0), track(4, [1, 2], born=0)], 0.8) == [(4, 5)]
    assert merged_pairs([track(i, [4, 4]) for i in (3, 1, 2)], 0.8) == [(1, 2), (1, 3)]
    assert merged_pairs([], 0.8) == []


# Places of the masks of objects 1 and 2, frame by frame; who stays, and since when.
LOST = {
    'nearer before': ([9, 9, 9], [1, 9, 9], (1, 1)),
    'nearer before, the other one': ([30, 9, 9], [8, 9, 9], (2, 1)),
    'alone before': ([9, 9, 9], [None, 9, 9], (1, 1)),
    'alone before, the other one': ([None, -1, 9, 9], [9, 9, 9, 9], (2, 2)),
    'alone amid': ([20, 20, 20, 20], [1, 20, None, 20], (1, 1)),
    'not before they were apart': ([1, 5, 5, 5], [1, 1, 5, 5], (1, 2)),
    'shared on all frames': ([9, 9], [9, 9], (2, 0)),  # prompted last
    'never shared': ([9, 9], [1, 1], None),
}


@pytest.mark.parametrize(('first', 'second', 'expected'), LOST.values(), ids=LOST)
def test_which_of_two_is_lost(first, second, expected):
    prompts: Any = [{0: None, 4: None}, {0: None, 8: None}]
    pair = [TrackedObject(i + 1, 0, 'cup', prompts=prompts[i]) for i in range(2)]
    tracks = [track(1, first).masks, track(2, second).masks]
    found = lost_to(
        range(len(first)), lambda i, obj: tracks[pair.index(obj)][i], (pair[0], pair[1]), 0.8)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found[0].id, found[2]) == expected and found[1] is pair[2 - expected[0]]


def test_objects_of_two_classes_are_not_merged():
    assert merged_pairs([track(1, [1, 2]), track(2, [1, 2], class_id=2)], 0.8) == []


def test_boxes_that_overlap_do_not_mean_masks_that_do():
    ring = np.zeros((40, 60), bool)
    ring[5:30, 5:30] = True
    ring[8:27, 8:27] = False
    inside = np.zeros((40, 60), bool)
    inside[10:20, 10:20] = True
    tracks = [MaskTrack(i, 1, i, [Mask.of(m)] * 2) for i, m in ((1, ring), (2, inside))]
    assert merged_pairs(tracks, 0.0) == []


# ---- new objects that are older ones: which may be, and what becomes of their prompts
SIDE = 16
RESIZER = MaskResizer(SIDE, SIDE, SIDE, torch.device('cpu'))


def conditioning(index: int, logits: torch.Tensor, tracked_until: int) -> ConditioningFrame:
    memory = Memory(torch.zeros(1, 4, 4), torch.zeros(4), torch.tensor(5.0))
    return ConditioningFrame(memory, logits, 0, max(index, tracked_until))


def logits(left: int) -> torch.Tensor:
    mask = torch.full((SIDE, SIDE), -5.0)
    mask[4:10, left : left + 6] = 5.0
    return mask


def tracked(born: int, left: int, tracked_until: int = 0, **given: object) -> TrackedObject:
    own = TrackedObject(born=born, last_seen=born, class_id=0, class_name='ball', **given)
    own.prompts = {born: conditioning(born, logits(left), tracked_until)}
    return own


def read(obj: TrackedObject) -> frozenset[int]:
    """Return the prompts that a pass has read."""
    return frozenset(obj.prompts) - obj.unread


def late(obj: TrackedObject) -> dict[int, int]:
    """Return the prompts that came when later frames had been tracked, with the newest."""
    return {at: p.tracked_until for at, p in obj.prompts.items() if p.tracked_until > at}


def united(younger: TrackedObject, start: int) -> bool:
    """Whether an object is the one of frame 0, to which it was followed back."""
    older = tracked(0, left=2, id=1)
    followed = MaskPrediction(logits(2), torch.zeros(4), torch.tensor(5.0))
    masks = {
        0: FrameMasks.gather(0, {older: None, younger: followed}, RESIZER),
        6: FrameMasks.gather(6, {older: None, younger: None}, RESIZER),
    }
    return same_before_birth(masks, {}, 0.5, start) == [(older, younger)]


@pytest.mark.parametrize(('given', 'start', 'expected'), [
    ({'id': 2}, 4, True),  # first detected in this window
    ({'id': 2}, 8, False),  # in an earlier one, in which it was found to be new
    ({'id': None}, 8, True),  # late, for a frame before this window
    ({'id': None, 'by_hand': True}, 4, False),  # somebody said so
], ids=['new', 'known', 'late', 'by_hand'])  # fmt: skip
def test_which_objects_may_be_older_ones(given, start, expected):
    assert united(tracked(6, left=9, **given), start) == expected


def test_frames_that_a_pass_did_not_come_to_are_no_evidence():
    """It stopped early: there the younger one's masks are as they were published."""
    older, younger = tracked(0, left=2, id=1), tracked(6, left=9, id=2)
    masks = {
        0: FrameMasks.gather(0, {older: None}, RESIZER),
        6: FrameMasks.gather(6, {older: None, younger: None}, RESIZER),
    }
    assert same_before_birth(masks, {}, 0.5, 4) == []


def test_prompts_that_came_late_stay_late_in_another_object():
    older, younger = tracked(0, left=2, id=1), tracked(6, left=2, tracked_until=9, id=None)
    older.follow(younger, {6})
    assert (late(older), sorted(older.prompts)) == ({6: 9}, [0, 6])
    older.read(8)
    assert (read(older), late(older)) == (frozenset({0}), {6: 9})
    older.read(9)
    assert (read(older), late(older)) == (frozenset({0, 6}), {})
