# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What revisions gain, lose and cost, by hand; and what was known at each lag."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segmented import frame, mask, random_pair, revised, video

from detsam2_ros.quality.alignment import MeasureError
from detsam2_ros.quality.formats.results import as_revised
from detsam2_ros.quality.lags import reach, view
from detsam2_ros.quality.revisions import Revisions, revisions, total
from detsam2_ros.quality.segments import RevisedVideo, Revision, SegmentedVideo

A, B, CLOTH = (0, 0, 10, 10), (20, 20, 30, 30), (30, 0, 38, 8)
HALF, MOST, ALMOST = (0, 0, 10, 4), (0, 0, 10, 8), (0, 0, 10, 9)  # of A: 40, 80, 90 pixels


def test_a_view_is_what_was_known_so_many_frames_later() -> None:
    said = revised(
        (0, 0, {1: HALF}), (1, 1, {1: A}), (0, 4, {1: MOST}), (1, 4, {1: B}), (0, 9, {1: A}),
        (2, 9, {1: A}),
    )  # fmt: skip

    def boxes(lag: int | None) -> list[Any]:
        return [own.segments[0].mask.box for own in view(said, lag).frames.values()]

    assert boxes(0) == boxes(2) == [HALF, A, A], 'frame 2 was published late: that is its lag 0'
    assert boxes(3) == [HALF, B, A]
    assert boxes(8) == [MOST, B, A]
    assert boxes(9) == boxes(None) == [A, B, A]
    assert reach(said) == 9


def test_withdrawn_ids_vanish() -> None:
    said = Revision(0, 1, 5, True, frame({1: A, 2: B}), frozenset({2}))
    last = view(RevisedVideo('clip', (40, 48), (said,)), None)
    assert [s.id for s in last.frames[0].segments] == [1]


@given(st.integers(0, 10_000), st.integers(0, 40))
def test_from_the_reach_on_every_lag_is_the_last_view(seed: int, beyond: int) -> None:
    views = [random_pair(seed, frames=4, things=3)[1], random_pair(seed + 1, 4, 3)[1]]
    said = [
        Revision(number, place, number + 3 * place, bool(place), own)
        for place, one in enumerate(views) for number, own in one.frames.items()
    ]  # fmt: skip
    video_ = RevisedVideo('clip', views[0].size, tuple(said))
    assert view(video_, reach(video_) + beyond).frames == view(video_, None).frames
    assert view(video_, 0).frames == view(video_, 2).frames == views[0].frames


def test_gain_regret_and_time_to_correct() -> None:
    truth = video([{1: A, 2: B}, {1: A}])
    said = revised(
        (0, 0, {7: HALF}),  # IoU 0.4 and 0: neither is found
        (1, 2, {7: A}),
        (0, 3, {7: MOST, 8: B}),
        (0, 5, {7: A, 8: B}),  # thing 1 is right now, thing 2 has been since frame 3
        (1, 5, {7: ALMOST}),  # 10 of 100 pixels are lost, and IoU 0.1
    )
    own = revisions(truth, said)
    assert own.first == pytest.approx((0.4, 0, 1)) and own.final == pytest.approx((1, 1, 0.9))
    assert own.gain == pytest.approx((0.6 + 1 - 0.1) / 3)
    assert (own.found_first, own.found_final) == (1 / 3, 1.0)
    assert own.regret_masks == pytest.approx(1 / 3)
    assert own.regret_pixels == pytest.approx(10 / 300)
    assert own.waits == (5, 3) and own.wrong_at_first == 2
    assert own.time_to_correct == pytest.approx((4, 4.9))


@pytest.mark.parametrize(
    ('last', 'masks'), [((0, 0, 10, 10), 0), ((0, 0, 10, 9), 1), ((0, 1, 10, 10), 1)]
)
def test_regret_is_of_masks_that_became_notably_worse(last: Any, masks: int) -> None:
    own = revisions(video([{1: A}]), revised((0, 0, {3: A}), (0, 1, {3: last})))
    assert own.regret_masks == masks
    assert own.regret_pixels == pytest.approx(0.1 * masks)


def test_a_thing_that_is_right_then_wrong_then_right_is_corrected_at_last() -> None:
    said = revised((0, 0, {}), (0, 2, {1: A}), (0, 4, {1: B}), (0, 6, {1: A}), (0, 8, {1: A}))
    assert revisions(video([{1: A}]), said).waits == (6,)
    late = revised((0, 3, {}), (0, 5, {1: A}))
    assert revisions(video([{1: A}]), late).waits == (2,), 'from the first publication on'
    never = revisions(video([{1: A}]), revised((0, 0, {}), (0, 4, {})))
    assert never.waits == () and never.wrong_at_first == 1
    assert np.isnan(never.time_to_correct).all()


def test_ghosts_shown_withdrawn_and_left() -> None:
    truth = video([{1: A}, {1: A}, {1: A, 2: B}])
    said = revised(
        (0, 0, {1: A, 5: CLOTH}), (1, 1, {1: A, 5: CLOTH}), (0, 4, {1: A}),
        (1, 4, {1: A, 5: CLOTH, 6: (2, 2, 9, 9)}),  # 6 is a double
        (2, 4, {1: HALF}),  # a bad mask of thing 1, and no ghost
    )  # fmt: skip
    own = revisions(truth, said)
    assert (own.ghosts_shown, own.ghosts_withdrawn, own.ghosts_left) == (3, 1, 2)
    region = replace(truth, frames={0: frame({1: A}, mask((28, 0, 40, 9)))})
    assert revisions(region, said).ghosts_shown == 0, 'what lies in ignored pixels is none'


def test_edits_count_what_is_written_and_nothing_that_stays() -> None:
    truth = video([{1: A}])
    said = revised((0, 0, {1: HALF, 2: B}), (0, 1, {1: A, 2: B}), (0, 2, {1: A}))
    own = revisions(truth, said)
    # Masks: 1, 2, then 1 again; one is left. Pixels: 40 + 100, 60 more, 100 taken back.
    assert own.edit_overhead == (3 / 1, 300 / 100)
    once = revisions(truth, revised((0, 0, {1: A})))
    assert once.edit_overhead == (1.0, 1.0)


def test_age_at_finality() -> None:
    said = revised((0, 9, {}), (1, 9, {}), (0, 29, {}), (2, 9, {}))
    assert revisions(video([{1: A}]), said).ages == (29, 8, 7)
    known = replace(said, settled={0: 30, 1: 31})
    assert revisions(video([{1: A}]), known).age_at_finality == (30, 30)
    open_ = replace(said, revisions=tuple(replace(r, final=False) for r in said.revisions))
    own = revisions(video([{1: A}]), open_)
    assert own.ages == () and own.unsettled == 3


def test_a_frame_of_which_nothing_was_said_is_missed() -> None:
    own = revisions(video([{1: A}, {1: A}]), revised((0, 0, {1: A})))
    assert own.first == own.final == (1.0, 0.0)


@given(st.integers(0, 10_000))
def test_a_perfect_tracker_gains_loses_and_corrects_nothing(seed: int) -> None:
    truth, _ = random_pair(seed, frames=5, things=4)
    own = revisions(truth, as_revised(truth))
    if own.first:
        assert (own.gain, own.found_first, own.regret_masks, own.regret_pixels) == (0, 1, 0, 0)
        assert own.edit_overhead == (1, 1)
    assert own.ghosts_shown == own.wrong_at_first == own.unsettled == 0 and not any(own.ages)


def test_counts_of_videos_add_up() -> None:
    a = revisions(video([{1: A}]), revised((0, 0, {}), (0, 4, {1: A})))
    b = revisions(video([{1: B}]), revised((0, 0, {1: B})))
    assert a + b == total([a, b]) and (a + b).final == (1.0, 1.0) and (a + b).waits == (4,)
    assert total([]) == Revisions()


@pytest.mark.parametrize(
    ('truth', 'message'),
    [
        (SegmentedVideo('cups', (48, 40), {0: frame({})}), 'the truth is 40x48, the results are'),
        (SegmentedVideo('cups', (40, 48), {}), 'the truth knows no frame'),
        (video({7: {1: A}}, 'cups'), 'frames 0 to 1 and truth of frames 7 to 7 share no frame'),
    ],
)
def test_what_cannot_be_compared_is_named(truth: SegmentedVideo, message: str) -> None:
    with pytest.raises(MeasureError, match=f"^video 'cups': .*{message}"):
        revisions(truth, revised((0, 0, {}), (1, 1, {})))


def test_an_id_twice_on_a_frame_is_named() -> None:
    twice: Mapping[int, Any] = {0: replace(frame({1: A}), segments=frame({1: A}).segments * 2)}
    with pytest.raises(MeasureError, match="^video 'x', frame 0: id 1 is there twice"):
        revisions(video([{1: A}]), as_revised(SegmentedVideo('x', (40, 48), twice)))
