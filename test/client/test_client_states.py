# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""MaskTimeline and what becomes of tentative objects: confirmed and withdrawn on every frame."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from client_cases import STEP, compressed, correction, labels_of, masks, objects

from detsam2_ros.client import MaskTimeline, ObjectState, TimelineFrame

TENTATIVE, CONFIRMED = ObjectState.TENTATIVE, ObjectState.CONFIRMED
BOTH = labels_of(0, 7, 7, 1, 0, 0, 1, 1)
ALONE = labels_of(0, 0, 0, 1, 0, 0, 1, 1)  # without the ghost 7


def filled(indices: Iterable[int], timeline: MaskTimeline | None = None) -> MaskTimeline:
    """Feed frames with object 1 and the tentative object 7."""
    timeline = MaskTimeline() if timeline is None else timeline
    for index in indices:
        timeline.add_masks(masks(BOTH, index * STEP))
        timeline.add_objects(objects(index * STEP, index, (1, 7), tentative=(7,)))
    return timeline


def withdrawal(index: int, revision: int = 1):
    return correction(BOTH, ALONE, index * STEP, index, revision, withdrawn=(7,))


def states(frame: TimelineFrame) -> dict[int, ObjectState]:
    return {thing.id: thing.state for thing in frame.objects}


@pytest.mark.parametrize('sent', [lambda message: message, compressed], ids=['raw', 'png'])
def test_a_withdrawn_id_is_gone_from_every_frame(sent) -> None:
    """Also from frames whose own corrections have not come, and from those still on their way."""
    timeline = filled(range(6))
    before = timeline.frames()
    frame = timeline.add_correction(sent(withdrawal(3)))
    assert (frame.index, frame.revision, frame.withdrawn_ids) == (3, 1, (7,))
    filled([6, 7], timeline)
    for index, frame in enumerate(timeline.frames()):
        assert states(frame) == {1: CONFIRMED} and frame.withdrawn_ids == (7,)
        assert frame.revision == (index == 3) and not frame.labels.flags.writeable
        np.testing.assert_array_equal(frame.labels, ALONE)
    for frame in before:  # what was asked for before does not change
        assert states(frame) == {1: CONFIRMED, 7: TENTATIVE} and frame.withdrawn_ids == ()
        np.testing.assert_array_equal(frame.labels, BOTH)


def test_a_withdrawal_counts_although_its_frame_is_not_kept_or_known_better() -> None:
    timeline = filled(range(8), MaskTimeline(length=4))
    assert timeline.add_correction(withdrawal(2)) is None
    assert all(7 not in frame.labels for frame in timeline.frames())
    timeline = filled(range(3))
    timeline.add_correction(correction(BOTH, ALONE, 0, 0, revision=2))
    assert timeline.add_correction(withdrawal(0)) is None  # an older revision, late
    assert all(frame.withdrawn_ids == (7,) for frame in timeline.frames())


def test_the_own_correction_of_a_frame_shows_what_lies_under_a_ghost() -> None:
    timeline, under = filled(range(2)), labels_of(0, 1, 0, 1, 0, 0, 1, 1)
    timeline.add_correction(withdrawal(0))
    np.testing.assert_array_equal(timeline.at(STEP).labels, ALONE)
    frame = timeline.add_correction(correction(BOTH, under, STEP, 1, withdrawn=(7,)))
    np.testing.assert_array_equal(frame.labels, under)
    assert frame.withdrawn_ids == (7,)


def test_messages_of_a_withdrawal_in_any_order_end_the_same() -> None:
    messages = [
        *(('add_masks', masks(BOTH, i * STEP)) for i in range(2)),
        *(('add_objects', objects(i * STEP, i, (1, 7), tentative=(7,))) for i in range(2)),
        ('add_correction', withdrawal(0)),
    ]
    for order in itertools.permutations(messages):
        timeline = MaskTimeline()
        for add, message in order:
            getattr(timeline, add)(message)
        if timeline.at(0).stream:  # a frame of a higher index came first: taken for a restart
            continue
        for frame in timeline.frames():
            assert states(frame) == {1: CONFIRMED} and frame.withdrawn_ids == (7,)
            np.testing.assert_array_equal(frame.labels, ALONE)


def test_a_confirmed_object_is_so_on_the_frames_before_too() -> None:
    timeline = filled(range(3))
    assert {states(frame)[7] for frame in timeline.frames()} == {TENTATIVE}
    timeline.add_masks(masks(BOTH, 3 * STEP))
    assert states(timeline.add_objects(objects(3 * STEP, 3, (1, 7))))[7] is CONFIRMED
    assert {states(frame)[7] for frame in timeline.frames()} == {CONFIRMED}
    # Published before it was confirmed, on another topic, and so late.
    filled([4], timeline)
    assert states(timeline.latest())[7] is CONFIRMED
    timeline = filled(range(3))
    timeline.add_correction(correction(BOTH, BOTH + 0, STEP, 1, ids=(1, 7)))
    assert {states(frame)[7] for frame in timeline.frames()} == {CONFIRMED}


def test_confirmed_ones_only() -> None:
    timeline = filled(range(2))
    frame = timeline.latest().confirmed()
    assert states(frame) == {1: CONFIRMED}
    np.testing.assert_array_equal(frame.labels, ALONE)
    assert not frame.labels.flags.writeable and not frame.mask(7).any()
    np.testing.assert_array_equal(timeline.latest().labels, BOTH)
    changed = timeline.add_correction(correction(BOTH, ALONE + 7 * (BOTH == 0), STEP, 1,
                                                 ids=(1, 7), tentative=(7,)))
    np.testing.assert_array_equal(changed.confirmed().labels, ALONE)
    timeline.add_masks(masks(BOTH, 2 * STEP))
    sure = timeline.add_objects(objects(2 * STEP, 2, (1, 7))).confirmed()
    assert states(sure) == {1: CONFIRMED, 7: CONFIRMED}
    np.testing.assert_array_equal(sure.labels, BOTH)
    np.testing.assert_array_equal(timeline.at(0).confirmed().labels, BOTH)


def test_an_id_that_is_given_anew_is_another_object() -> None:
    timeline = filled(range(2), MaskTimeline(max_lag=5))
    timeline.add_correction(withdrawal(1))
    for index in range(2, 7):
        filled([index], timeline)
        assert 7 not in states(timeline.latest())
    filled([7], timeline)
    assert states(timeline.latest())[7] is TENTATIVE and 7 in timeline.latest().labels
    timeline.add_masks(masks(BOTH, 8 * STEP))
    timeline.add_objects(objects(8 * STEP, 8, (1, 7)))
    filled([13], timeline)
    assert states(timeline.latest())[7] is CONFIRMED
    filled([14], timeline)
    assert states(timeline.latest())[7] is TENTATIVE


def test_a_stream_that_restarts_knows_nothing_of_the_fates_before() -> None:
    timeline = filled(range(3))
    timeline.add_correction(withdrawal(1))
    timeline.add_masks(masks(BOTH, 9 * STEP))
    frame = timeline.add_objects(objects(9 * STEP, 0, (1, 7), tentative=(7,)))
    assert frame.stream == 1 and states(frame)[7] is TENTATIVE
    np.testing.assert_array_equal(frame.labels, BOTH)
