# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A calibration or depth that comes late, out of order, or not while its frame is in reach."""

import numpy as np
import pytest
from space_cases import MODEL, SIZE, flat_depth, frame_of, labels_of, positions
from test_space_stream import CUP, OTHER, SMALL, STEP, check, stream_of

from detsam2_ros.results.space import Reason
from detsam2_ros.space.books import Unused
from detsam2_ros.space.camera import CameraModel
from detsam2_ros.space.depth import DepthImage
from detsam2_ros.space.stream import Placed


def depths(placed: list[Placed]) -> list[tuple[int, int, float | None]]:
    """Return index, revision and depth of the cup of each frame; None without a position."""
    found = []
    for each in placed:
        where = positions(each.frame)[1]
        metres = round(where.centroid[2], 3) if where.valid else None
        found.append((each.frame.index, each.frame.revision, metres))
    return found


@pytest.mark.parametrize('before', [None, SMALL])
def test_a_late_calibration_places_the_frames_in_reach(before: CameraModel | None) -> None:
    stream = stream_of(camera=False, reach=4, max_depth_delay=0.0)
    if before is not None:
        stream.set_camera(before, 0.0)
    first = []
    for i in range(6):
        first += stream.add_depth(flat_depth(i * STEP, 1.0 + i), i)
        first += stream.add_frame(frame_of(CUP, i * STEP, i), i)
    assert depths(first) == [(i, 0, None) for i in range(6)]
    assert {positions(p.frame)[1].reason for p in first} == {Reason.NO_CAMERA_INFO}
    assert stream.books.without_camera == 6 and stream.books.without_depth == 0
    # Two frames have left the reach: their depth came to nothing, and the books say why.
    assert stream.books.unused == {Unused.UNCALIBRATED: 2}
    check(stream)
    assert depths(stream.set_camera(MODEL, 9.0)) == [(i, 1, 1.0 + i) for i in range(2, 6)]
    assert stream.set_camera(MODEL, 9.1) == [] and stream.camera_refusal == ''
    assert (stream.books.used, stream.books.waiting, stream.books.corrections) == (4, 0, 4)
    (placed,) = stream.add_frame(frame_of(OTHER, 4 * STEP, 4, revision=1), 9.2)
    assert depths([placed]) == [(4, 2, 5.0)]
    check(stream)


def test_a_calibration_of_another_camera_places_nothing_anew() -> None:
    stream = stream_of(camera=False, max_depth_delay=0.0)
    stream.add_depth(flat_depth(STEP), 0.0)
    stream.add_frame(frame_of(CUP, STEP, 0), 0.0)
    assert stream.set_camera(SMALL, 1.0) == []
    (placed,) = stream.set_camera(MODEL, 2.0)
    assert positions(placed.frame)[1].valid
    assert stream.set_camera(SMALL, 3.0) == []


def test_depth_out_of_order() -> None:
    """Frames come in their order; depth that was overtaken makes a correction."""
    stream, placed = stream_of(), []
    for i in (3, 4, 5, 6):
        placed += stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
    for i in (5, 3, 4, 6):
        placed += stream.add_depth(flat_depth(i * STEP, 1.0 + i), 0.1)
    assert depths(placed) == [
        (3, 0, None), (4, 0, None), (5, 0, 6.0), (3, 1, 4.0), (4, 1, 5.0), (6, 0, 7.0)]
    check(stream)


def test_what_overtook_a_frame_is_the_newest_depth_not_the_last() -> None:
    stream = stream_of(max_stamp_difference=10)
    for stamp in (5 * STEP, 3 * STEP):
        stream.add_depth(flat_depth(stamp), 0.0)
    (placed,) = stream.add_frame(frame_of(CUP, 4 * STEP, 4), 0.0)  # does not wait for its own
    assert placed.frame.depth_stamp is None


@pytest.mark.parametrize('near', [0, 5])
def test_frames_pushed_out_while_they_wait_are_counted(near: int) -> None:
    """They take the nearest depth there is, as any frame whose time is up."""
    stream = stream_of(reach=3, max_depth_delay=60.0, max_stamp_difference=10)
    if near:
        stream.add_depth(flat_depth(STEP - near), 0.0)
    placed = []
    for i in range(1, 6):
        placed += stream.add_frame(frame_of(CUP, i * STEP, i), 0.0)
    assert depths(placed) == [(1, 0, 1.5 if near else None), (2, 0, None)]
    assert stream.books.pushed_out == 2 == stream.books.frames
    assert stream.books.without_depth == (1 if near else 2)
    stream.add_depth(flat_depth(5 * STEP), 0.0)
    assert stream.books.pushed_out == 2 and stream.books.frames == 5
    check(stream)


@pytest.mark.parametrize('late', [False, True])
def test_after_a_change_of_size_only_depth_that_fits_serves(late: bool) -> None:
    """Masks of another aspect: the kept depth of before is no nearest one, nor what comes late."""
    stream = stream_of(check_frame_id=False, max_stamp_difference=STEP)
    stream.add_depth(flat_depth(0), 0.0)
    stream.add_frame(frame_of(CUP, 0, 0), 0.0)
    square = labels_of(_1=(10, 10, 40, 40))[:, :60]
    if late:  # in one stream, as after the images of the first size were in flight
        stream.add_frame(frame_of(square, STEP, 1), 0.0)
        (placed,) = stream.look(9.0)
        assert placed.frame.depth_stamp is None
        stream.add_frame(frame_of(CUP, 2 * STEP, 2), 9.0)
        placed = stream.add_depth(flat_depth(2 * STEP), 9.0)
        assert [p.frame.index for p in placed] == [2]
    else:
        stream.add_frame(frame_of(square, STEP, 0, stream=1), 0.0)
        (placed,) = stream.look(9.0)
        assert placed.frame.depth_stamp is None
    check(stream)


def test_padding_counts_as_memory() -> None:
    rows = np.zeros((SIZE[0], SIZE[1] + 16), np.uint16)
    assert DepthImage(0, '', rows[:, : SIZE[1]]).held_bytes == rows.nbytes
    view = np.ndarray(SIZE, np.uint16, bytes(rows.nbytes), strides=rows.strides)
    assert DepthImage(0, '', view[...].view(np.uint16)).held_bytes == rows.nbytes
    assert DepthImage(0, '', np.zeros(SIZE, np.float32)).held_bytes == 4 * SIZE[0] * SIZE[1]


@pytest.mark.parametrize('ahead', [30 * 10**9, 10**18])
def test_depth_by_another_clock_does_not_hurry_frames(ahead: int) -> None:
    stream = stream_of(max_depth_delay=0.5)
    stream.add_depth(flat_depth(ahead), 0.0)
    placed = []
    for i in range(20):  # masks first, depth a moment later
        placed += stream.add_frame(frame_of(CUP, i * STEP, i), i)
        placed += stream.add_depth(flat_depth(i * STEP, 1.0 + i), i + 0.1)
    assert depths(placed) == [(i, 0, 1.0 + i) for i in range(20)]
    check(stream)
