# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames meet depth images: in any order, late, missing, of another camera; and corrections."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from space_cases import MODEL, SIZE, flat_depth, frame_of, labels_of, positions

import detsam2_ros.space.stream as stream_module
from detsam2_ros.results.space import Reason
from detsam2_ros.space.books import Unused
from detsam2_ros.space.camera import CameraModel
from detsam2_ros.space.depth import DepthImage
from detsam2_ros.space.stream import SpaceOptions, SpaceStream

STEP = 100_000_000
CUP = labels_of(_1=(10, 10, 40, 40))
OTHER = labels_of(_1=(20, 10, 50, 40))
SMALL = CameraModel((30, 40), (40.0, 40.0), (20.0, 15.0), frame_id='camera')


def stream_of(camera: bool = True, **options: Any) -> SpaceStream:
    made = SpaceStream(SpaceOptions(**{'reach': 8, 'waiting': 5, **options}), number=1000)
    if camera:
        made.set_camera(MODEL, 0.0)
    return made


def check(stream: SpaceStream) -> None:
    """The books balance, whatever happened."""
    books = stream.books
    assert books.received == books.used + books.waiting + books.unused.total()
    assert min(books.used, books.waiting, *books.unused.values(), 0) == 0


def test_each_frame_with_the_depth_of_its_stamp_in_either_order() -> None:
    stream = stream_of()
    assert stream.add_depth(flat_depth(1 * STEP, 1.0), 0.0) == []
    (first,) = stream.add_frame(frame_of(CUP, 1 * STEP, 0), 0.1)
    assert stream.add_frame(frame_of(CUP, 2 * STEP, 1), 0.2) == []
    assert stream.look(0.3) == []
    (second,) = stream.add_depth(flat_depth(2 * STEP, 2.0), 0.3)
    for placed, metres, index in ((first, 1.0, 0), (second, 2.0, 1)):
        frame = placed.frame
        assert (frame.index, frame.revision, frame.mask_revision) == (index, 0, 0)
        assert frame.stamp == frame.depth_stamp == (index + 1) * STEP
        assert frame.stream == 1000
        assert positions(frame)[1].centroid[2] == pytest.approx(metres)
    assert stream.books.used == 2
    check(stream)


def test_a_correction_is_measured_with_the_kept_depth() -> None:
    stream = stream_of()
    for i in range(4):
        stream.add_depth(flat_depth(i * STEP, 1.0 + i), 0.0)
        stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
    (placed,) = stream.add_frame(
        frame_of(OTHER, 1 * STEP, 1, revision=1, final=True, withdrawn_ids=(7,)), 1.0)
    frame = placed.frame
    assert (frame.revision, frame.mask_revision, frame.final) == (1, 1, True)
    assert frame.withdrawn_ids == (7,)
    assert positions(frame)[1].centroid == pytest.approx((2 * -5 / 80, 2 * -5 / 80, 2), abs=0.02)
    (again,) = stream.add_frame(frame_of(labels_of(), 1 * STEP, 1, revision=2), 1.0)
    assert (again.frame.revision, again.frame.objects) == (2, ())
    assert (stream.books.frames, stream.books.corrections) == (4, 2)


def test_a_correction_before_the_depth_makes_one_message() -> None:
    stream = stream_of()
    stream.add_frame(frame_of(CUP, STEP, 0), 0.0)
    assert stream.add_frame(frame_of(OTHER, STEP, 0, revision=1), 0.1) == []
    (placed,) = stream.add_depth(flat_depth(STEP), 0.2)
    assert (placed.frame.revision, placed.frame.mask_revision) == (0, 1)


def test_the_nearest_depth_once_a_newer_one_is_there() -> None:
    stream = stream_of(max_stamp_difference=30)
    stream.add_depth(flat_depth(1080, 1.0), 0.0)
    stream.add_depth(flat_depth(980, 4.0), 0.0)  # out of order
    stream.add_depth(flat_depth(1010, 2.0), 0.0)
    (placed,) = stream.add_frame(frame_of(CUP, 1000, 0), 0.0)
    assert placed.frame.depth_stamp == 1010
    assert positions(placed.frame)[1].centroid[2] == pytest.approx(2.0)
    stream.add_frame(frame_of(CUP, 1100, 1), 0.1)
    (placed,) = stream.look(0.7)
    assert placed.frame.depth_stamp == 1080
    check(stream)


def test_an_exact_depth_that_comes_late_corrects() -> None:
    stream = stream_of(max_stamp_difference=30)
    stream.add_frame(frame_of(CUP, 1000, 0), 0.0)
    (first,) = stream.add_depth(flat_depth(1020, 2.0), 0.1)
    (second,) = stream.add_depth(flat_depth(1000, 3.0), 0.2)
    assert [p.frame.revision for p in (first, second)] == [0, 1]
    assert second.frame.depth_stamp == 1000
    assert positions(second.frame)[1].centroid[2] == pytest.approx(3.0)
    assert stream.add_depth(flat_depth(990, 9.0), 0.3) == []  # no better
    check(stream)


def test_missing_depth_is_said_in_time_and_made_good_later() -> None:
    stream = stream_of(max_depth_delay=0.5)
    assert stream.add_frame(frame_of(CUP, STEP, 0), 10.0) == []
    assert stream.look(10.4) == []
    (placed,) = stream.look(10.6)
    assert placed.frame.depth_stamp is None
    assert positions(placed.frame)[1].reason is Reason.NO_DEPTH_IMAGE
    assert stream.books.without_depth == 1
    (late,) = stream.add_depth(flat_depth(STEP), 11.0)
    assert late.frame.revision == 1 and positions(late.frame)[1].valid


@pytest.mark.parametrize('waits', [True, False])
def test_what_is_withdrawn_stays_away_when_depth_comes_late(waits: bool) -> None:
    """Another frame's correction withdrew the object; this frame has no correction of its own."""
    newest: dict[int, Any] = {}
    stream = SpaceStream(SpaceOptions(), newest_masks=newest.get)
    stream.set_camera(MODEL, 0.0)
    stream.add_frame(frame_of(CUP, STEP, 0, tentative=(1,)), 0.0)
    assert len(stream.look(0.1 if waits else 9.0)) == (not waits)
    newest[STEP] = frame_of(labels_of(), STEP, 0, withdrawn_ids=(1,))
    (placed,) = stream.add_depth(flat_depth(STEP), 9.1)
    assert placed.frame.objects == () and placed.frame.withdrawn_ids == (1,)
    newest[STEP] = frame_of(CUP, STEP, 0, stream=1)  # the timeline knows of a restart already
    (placed,) = stream.add_frame(frame_of(labels_of(), STEP, 0, revision=1), 9.2)
    assert placed.frame.objects == ()


def test_depth_of_every_other_frame() -> None:
    """Those between are published as soon as a newer depth image shows that theirs is lost."""
    stream = stream_of()
    shown = []
    for i in range(6):
        if i % 2 == 0:
            shown += stream.add_depth(flat_depth(i * STEP), 0.0)
        shown += stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
    assert [p.frame.index for p in shown] == [0, 1, 2, 3, 4]
    assert [positions(p.frame)[1].valid for p in shown] == [True, False] * 2 + [True]


def test_without_a_calibration_nothing_is_placed() -> None:
    stream = stream_of(camera=False)
    stream.add_depth(flat_depth(STEP), 0.0)
    assert stream.add_frame(frame_of(CUP, STEP, 0), 0.0) == []
    (placed,) = stream.set_camera(MODEL, 0.1)
    assert positions(placed.frame)[1].valid
    late = stream_of(camera=False)
    late.add_depth(flat_depth(STEP), 0.0)
    late.add_frame(frame_of(CUP, STEP, 0), 0.0)
    (placed,) = late.look(9.0)
    assert positions(placed.frame)[1].reason is Reason.NO_CAMERA_INFO
    late.set_camera(MODEL, 9.1)
    (placed,) = late.add_frame(frame_of(OTHER, STEP, 0, revision=1), 9.2)
    assert positions(placed.frame)[1].valid
    check(late)


@pytest.mark.parametrize(
    ('model', 'text'),
    [
        (SMALL, 'of 40x30, the'),
        (CameraModel(SIZE, (40.0, 40.0), (20.0, 15.0), frame_id='left'), "the frame 'left'"),
    ],
)
def test_the_calibration_of_another_camera(model: CameraModel, text: str) -> None:
    stream = stream_of(camera=False)
    stream.set_camera(model, 0.0)
    stream.add_depth(flat_depth(STEP), 0.0)
    (placed,) = stream.add_frame(frame_of(CUP, STEP, 0), 0.0)
    assert positions(placed.frame)[1].reason is Reason.NO_CAMERA_INFO
    assert text in stream.camera_refusal and 'remap camera_info' in stream.camera_refusal


def test_a_calibration_of_any_size_costs_nothing_until_masks_fit_it() -> None:
    stream = stream_of(camera=False)
    stream.set_camera(CameraModel((10**9, 10**9), (1.0, 1.0), (0.0, 0.0), (0.1,) * 14), 0.0)
    stream.add_depth(flat_depth(STEP), 0.0)
    (placed,) = stream.add_frame(frame_of(CUP, STEP, 0), 0.0)
    assert positions(placed.frame)[1].reason is Reason.NO_CAMERA_INFO
    stream.set_camera(MODEL, 0.0)
    (placed,) = stream.add_frame(frame_of(OTHER, STEP, 0, revision=1), 0.0)
    assert positions(placed.frame)[1].valid


@pytest.mark.parametrize('before', [True, False])
def test_depth_of_another_camera_is_refused_by_name(before: bool) -> None:
    stream, wrong = stream_of(), DepthImage(STEP, 'left', np.ones(SIZE, np.uint16))
    if before:
        stream.add_depth(wrong, 0.0)
    stream.add_frame(frame_of(CUP, STEP, 0), 0.0)
    if not before:
        stream.add_depth(wrong, 0.0)
    assert stream.books.unused == {Unused.OTHER_CAMERA: 1}
    assert "frame 'left'" in stream.refusal
    check(stream)
    allowed = stream_of(check_frame_id=False)
    allowed.add_frame(frame_of(CUP, STEP, 0), 0.0)
    assert allowed.add_depth(wrong, 0.0)


def test_depth_is_kept_for_frames_in_reach_only() -> None:
    stream = stream_of(reach=8)
    most = 0
    for i in range(100):
        stream.add_depth(flat_depth(i * STEP), 0.0)
        stream.add_depth(flat_depth(i * STEP + STEP // 2), 0.0)  # twice the rate of frames
        stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
        most = max(most, stream.held_bytes)
        check(stream)
    assert most <= (8 + 3) * 2 * SIZE[0] * SIZE[1]
    assert stream.held_frames == 8
    assert stream.add_frame(frame_of(OTHER, 50 * STEP, 50, revision=1), 0.0) == []
    assert stream.books.out_of_reach == 1
    stream.add_depth(flat_depth(20 * STEP + 1), 0.0)
    assert stream.books.unused[Unused.LATE] == 1
    assert stream.books.used == 100
    stream.end()
    assert stream.held_bytes == stream.books.waiting == 0
    check(stream)


def test_depth_without_any_frame_is_dropped_and_counted() -> None:
    stream = stream_of(waiting=5)
    for i in range(20):
        stream.add_depth(flat_depth(i * STEP), 0.0)
    assert (stream.books.waiting, stream.books.unused) == (5, {Unused.CROWDED_OUT: 15})


def test_superseded_is_what_frames_had_a_nearer_one_than() -> None:
    stream = stream_of(max_stamp_difference=40)
    for stamp in (1000, 1030, 1990, 2000, 2100):
        stream.add_depth(flat_depth(stamp), 0.0)
    for i, stamp in enumerate((1000, 2000, 3000)):
        stream.add_frame(frame_of(CUP, stamp, i), 0.0)
    stream.look(9.0)
    assert stream.books.used == 2
    assert stream.books.unused == {Unused.SUPERSEDED: 2, Unused.UNMATCHED: 1}
    check(stream)


def test_a_repeated_stamp_is_counted() -> None:
    stream = stream_of()
    for _ in range(3):
        stream.add_depth(flat_depth(0), 0.0)
    assert stream.books.unused == {Unused.REPEATED_STAMP: 2}
    check(stream)


def test_a_restart_is_another_stream() -> None:
    stream = stream_of()
    for i in range(3):
        stream.add_depth(flat_depth(i * STEP), 0.0)
        stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
    assert stream.add_frame(frame_of(CUP, 0, 0, stream=1), 0.0) == []  # a bag that loops
    (placed,) = stream.add_depth(flat_depth(0, 3.0), 0.0)
    assert (placed.frame.stream, placed.frame.revision) == (1001, 0)
    assert positions(placed.frame)[1].centroid[2] == pytest.approx(3.0)
    stream.add_frame(frame_of(CUP, 9 * STEP, 9, stream=1), 0.0)  # waits for its depth
    (placed,) = stream.add_frame(frame_of(CUP, 0, 0, stream=2), 0.0)
    assert (placed.frame.stream, placed.frame.index) == (1001, 9)
    (placed,) = stream.add_depth(flat_depth(0), 0.0)
    assert (placed.frame.stream, placed.frame.index) == (1002, 0)
    stream.end()
    stream.add_depth(flat_depth(0), 0.0)
    (placed,) = stream.add_frame(frame_of(CUP, 0, 0), 0.0)
    assert placed.frame.stream == 1003
    check(stream)


@pytest.mark.parametrize('reach', [8, 50])
@pytest.mark.parametrize('lead', [0, 1, 3])
@pytest.mark.parametrize('shift', [0, 5])
def test_after_a_restart_only_depth_of_the_new_run_counts(reach, lead, shift) -> None:
    """Stamps repeat, or nearly so, and depth comes before the masks that show the restart."""
    stream = stream_of(reach=reach, max_stamp_difference=20, waiting=60)
    for i in range(20):
        stream.add_depth(flat_depth(i * STEP, 1.0), 0.0)
        stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
    placed = []
    for i in range(15 + lead):
        placed += stream.add_depth(flat_depth(i * STEP + shift, 3.0), 1.0)
        check(stream)
        if i >= lead:
            index = i - lead
            placed += stream.add_frame(frame_of(CUP, index * STEP + shift, index, stream=1), 1.0)
            check(stream)
    placed = [p.frame for p in placed if p.frame.stream == 1001]
    assert [frame.index for frame in placed] == list(range(15))
    assert [positions(f)[1].centroid[2] for f in placed] == pytest.approx([3.0] * 15)


def test_depth_out_of_order_before_a_restart_is_not_of_the_new_run() -> None:
    stream = stream_of(max_stamp_difference=20)
    for stamp in (0, 2, 1):
        stream.add_depth(flat_depth(stamp * STEP, 1.0), 0.0)
    for i in range(3):
        stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
    stream.add_depth(flat_depth(3 * STEP), 0.0)
    for i in range(2):
        assert stream.add_frame(frame_of(CUP, i * STEP, i, stream=1), 0.0) == []
    assert stream.books.unused == {Unused.RESTARTED: 1}
    check(stream)


def test_a_frame_that_fails_does_not_hold_up_the_others(monkeypatch) -> None:
    measure, failing = stream_module.measure_frame, [2 * STEP]

    def fails(frame, *others):
        if frame.stamp in failing:
            raise RuntimeError('a defect')
        return measure(frame, *others)

    monkeypatch.setattr(stream_module, 'measure_frame', fails)
    stream, placed = stream_of(), []
    for i in range(1, 5):
        placed += stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
        placed += stream.add_depth(flat_depth(i * STEP), 0.0)
    assert [p.frame.index for p in placed] == [1, 2, 3, 4]
    assert [positions(p.frame)[1].valid for p in placed] == [True, False, True, True]
    assert stream.failure == 'RuntimeError: a defect'
    check(stream)


def test_points_only_when_asked_for_and_once() -> None:
    stream = stream_of()
    stream.want_points = True
    stream.add_depth(flat_depth(STEP), 0.0)
    (placed,) = stream.add_frame(frame_of(CUP, STEP, 0), 0.0)
    assert placed.points is not None and len(placed.points[1]) > 100
    (placed,) = stream.add_frame(frame_of(OTHER, STEP, 0, revision=1), 0.0)
    assert placed.points is None


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(['depth', 'frame', 'look', 'camera', 'restart', 'end']),
        st.integers(0, 30), st.floats(0, 2),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=150)
@given(events=_EVENTS, difference=st.sampled_from([0, 15]))
def test_whatever_comes_the_books_balance_and_revisions_count_up(events, difference) -> None:
    stream = stream_of(reach=6, waiting=4, max_stamp_difference=difference)
    now, restarts, revisions = 0.0, 0, {}
    sent: dict[tuple[int, int], int] = {}
    for kind, number, seconds in events:
        now += seconds
        stamp = 10 * number
        if kind == 'depth':
            placed = stream.add_depth(flat_depth(stamp + number % 3), now)
        elif kind == 'frame':
            revision = sent[restarts, stamp] = sent.get((restarts, stamp), -1) + 1
            placed = stream.add_frame(
                frame_of(CUP, stamp, number, stream=restarts, revision=revision), now)
        elif kind == 'look':
            placed = stream.look(now)
        elif kind == 'camera':
            placed = stream.set_camera(MODEL if number % 2 else SMALL, now)
        elif kind == 'restart':
            restarts, placed = restarts + 1, []
        else:
            restarts, placed = 0, stream.end()
            sent.clear()
        for each in placed:
            frame = each.frame
            key = frame.stream, frame.stamp
            # A frame that left the reach and comes again is a new one.
            assert frame.revision in (0, revisions.get(key, -1) + 1)
            revisions[key] = frame.revision
            placeable = frame.depth_stamp is not None
            valid = positions(frame)[1].valid
            assert valid == placeable if stream.camera is MODEL else valid <= placeable
        assert stream.held_frames <= 6
        check(stream)
    stream.end()
    assert stream.books.waiting == 0
    check(stream)
