# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detections: shapes, and which of them can be a prompt."""

import numpy as np
import pytest
from fakes import BrokenDetector, ScriptedDetector
from hypothesis import given
from hypothesis import strategies as st

from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.results.detections import Detections, usable


def one(box: tuple[float, ...], score: float = 0.9) -> Detections:
    return Detections(np.array([box]), np.array([3]), np.array([score]))


def test_lists_become_arrays_of_the_declared_types():
    found = Detections([[0, 1, 2, 3]], [4], [0.5])
    assert (found.boxes.dtype, found.class_ids.dtype, found.scores.dtype) == (
        np.float32, np.int64, np.float32
    )
    assert len(found) == 1


@pytest.mark.parametrize('empty', [[], np.zeros((0, 4)), np.zeros(0), np.zeros((0, 6))])
def test_no_boxes_in_any_form(empty: object):
    found = Detections(empty, [], [])
    assert found.boxes.shape == (0, 4) and len(found) == 0
    assert len(Detections.empty()) == 0 and not Detections.empty()


@pytest.mark.parametrize('boxes', [[1, 2, 3, 4], [[1, 2, 3]], [[[1, 2, 3, 4]]]])
def test_boxes_of_another_shape_are_refused(boxes: object):
    with pytest.raises(ValueError, match=r'boxes must be \[n, 4\] xyxy, got shape'):
        Detections(boxes, [1], [1])


@pytest.mark.parametrize(('ids', 'scores'), [([1, 2], [0.5]), ([1], [0.5, 0.5]), ([], [])])
def test_unequal_lengths_are_refused(ids: list, scores: list):
    with pytest.raises(ValueError, match=f'1 boxes, {len(ids)} class_ids and {len(scores)} scor'):
        Detections([[0, 0, 1, 1]], ids, scores)


def test_detectors_fit_the_protocol():
    assert isinstance(ScriptedDetector({}), Detector)
    assert isinstance(BrokenDetector(None), Detector)
    assert not isinstance(object(), Detector)


def test_boxes_are_clipped_to_the_image():
    kept, dropped = usable(one((-5, -6, 70, 9)), height=8, width=64)
    assert kept.boxes.tolist() == [[0, 0, 64, 8]]
    assert dropped == 0


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('box', [
    (np.nan, 0, 5, 5), (0, 0, np.inf, 5), (-np.inf, 0, 5, 5), (5, 5, 5, 9), (5, 5, 9, 5.5),
    (9, 9, 5, 5), (64, 0, 70, 8), (-9, 0, 0.5, 8), (63.5, 0, 90, 8), (1e38, 0, 3e38, 5),
])
def test_boxes_that_cannot_be_a_prompt_are_dropped(box: tuple):
    kept, dropped = usable(one(box), height=8, width=64)
    assert (len(kept), dropped) == (0, 1)
    assert kept.boxes.shape == (0, 4)


@pytest.mark.parametrize('score', [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_dropped(score: float):
    assert usable(one((0, 0, 5, 5), score), 8, 64)[1] == 1


def test_the_best_score_comes_first_and_equal_ones_keep_their_order():
    boxes = np.array([[i, 0, i + 4, 4] for i in range(4)])
    found = Detections(boxes, [10, 11, 12, 13], [0.2, 0.9, 0.2, 0.95])
    kept, _ = usable(found, 8, 64)
    assert kept.class_ids.tolist() == [13, 11, 10, 12]
    assert kept.boxes[:, 0].tolist() == [3, 1, 0, 2]


def test_what_was_given_is_not_changed():
    found = one((-5, np.nan, 70, 9))
    usable(found, 8, 64)
    np.testing.assert_array_equal(found.boxes, np.array([[-5, np.nan, 70, 9]], np.float32))


numbers = st.floats(width=32) | st.floats(-10, 80, width=32)


@given(st.lists(st.tuples(numbers, numbers, numbers, numbers, numbers), max_size=6))
def test_what_is_kept_lies_in_the_image(rows: list):
    array = np.array(rows, np.float32).reshape(-1, 5)
    found = Detections(array[:, :4], np.arange(len(array)), array[:, 4])
    kept, dropped = usable(found, height=20, width=30)
    assert len(kept) + dropped == len(found)
    x0, y0, x1, y1 = kept.boxes.T
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= 30).all() and (y1 <= 20).all()
    assert (x1 - x0 >= 1).all() and (y1 - y0 >= 1).all()
    assert (np.diff(kept.scores) <= 0).all()
