# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The one scorer: pairs on a frame, and tallies over a clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segmented import frame, mask, of_labels, random_pair, to_labels

from detsam2_ros.quality.overlap import iou_table, label_iou_table, share_within, within, without
from detsam2_ros.quality.scoring import FOUND_IOU, Tally, pair
from detsam2_ros.results.masks import Mask

A, B = (0, 0, 10, 10), (20, 20, 30, 30)


@given(st.integers(0, 10_000))
def test_tables_of_masks_and_of_labels_are_those_of_pixels(seed: int) -> None:
    truth, shown = (to_labels(one.frames[0]) for one in random_pair(seed, 1))
    own, other = of_labels(truth), of_labels(shown)
    expected = [[(t & s).sum() / (t | s).sum() for s in (m.pixels() for m in other.values())]
                for t in (m.pixels() for m in own.values())]  # fmt: skip
    table = np.array(expected).reshape(len(own), len(other))
    assert np.allclose(iou_table(list(own.values()), list(other.values())), table)
    labels = label_iou_table(truth, [*own, 250], shown, [*other])
    assert np.allclose(labels[:-1], table) and not labels[-1].any(), '250 is not in the image'


def test_parts_of_masks() -> None:
    one, region = mask(A), mask((5, 0, 40, 40))
    assert without(one, region) == mask((0, 0, 5, 10)) and without(one, None) is one
    assert not without(one, mask((0, 0, 40, 40)))
    assert np.argwhere(within(one, (8, 9, 12, 12))).tolist() == [[0, 0], [0, 1]]
    assert share_within([one, mask(B), Mask((40, 48))], region).tolist() == [0.5, 1.0, 0.0]


def test_pairs_are_one_to_one_and_of_the_greatest_sum() -> None:
    # Greedy would give thing 1 the first mask, and leave 0.1 to thing 2.
    own = pair(np.array([[0.8, 0.7], [0.6, 0.1]]), [1, 2], [5, 6])
    assert own.ious == {1: 0.7, 2: 0.6} and own.partners == {1: 6, 2: 5}
    assert own.found == {1: 6, 2: 5} and own.strays == set()
    nothing = pair(np.zeros((1, 2)), [1], [5, 6])
    assert nothing.ious == {1: 0.0} and nothing.partners == {} and nothing.strays == {5, 6}
    assert pair(np.zeros((0, 0)), [], []).ious == {}


@pytest.mark.parametrize(('iou', 'found'), [(FOUND_IOU, True), (FOUND_IOU - 0.01, False)])
def test_found_means_half(iou: float, found: bool) -> None:
    tally = Tally()
    tally.add_frame(pair(np.array([[iou]]), [1], [5]))
    assert bool(tally.found) == found == (not tally.stray)
    assert tally.mean == iou


def test_a_tally_follows_ids() -> None:
    tally = Tally()
    for true_ids, shown_ids, iou in [
        ([1], [5], 1.0),
        ([1], [6], 0.9),  # another id
        ([], [6], 0.0),  # hidden, and still shown
        ([1], [5], 0.4),  # not found, so that its id is still 6
        ([1], [6], 0.8),
    ]:
        table = np.full((len(true_ids), len(shown_ids)), iou)
        tally.add_frame(pair(table, true_ids, shown_ids))
    assert (tally.switches, tally.hidden, tally.lingering) == (1, 1, 1)
    assert tally.mean == pytest.approx(3.1 / 4) and tally.found == 0.75
    assert tally.shown == {5: 2, 6: 3} and tally.stray == {5: 1, 6: 1}
    assert tally.false_objects == []
    tally.add_frame(pair(np.zeros((0, 1)), [], [5]))
    assert tally.false_objects == [5]
    assert Tally().mean == Tally().found == 0.0


def test_frames_without_anything_are_empty() -> None:
    assert iou_table([], [mask(A)]).shape == (0, 1) and not frame({}).segments
