# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The example planner: a corrected mask must do what the right mask would have done."""

import random

import numpy as np
import pytest
from client_cases import STEP, correction, masks, objects
from example_scripts import example

from detsam2_ros.client import MaskTimeline, TimelineFrame

pytest.importorskip('rclpy', reason='the example imports it')
pytest.importorskip('nav_msgs.msg', reason='the example imports it')

SIZE = (64, 96)  # 4 by 6 cells of 16 pixels
CELL = 16


@pytest.fixture(scope='module')
def planner():
    return example('planner')


def covering(*cells: tuple[int, int], by: int = 1) -> np.ndarray:
    """Make labels with an object that covers these cells (row, column)."""
    labels = np.zeros(SIZE, np.uint16)
    for row, column in cells:
        labels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = by
    return labels


def frames(*labels: np.ndarray, stream: int = 0) -> list[TimelineFrame]:
    """Make the frames that a timeline gives for these masks."""
    timeline = MaskTimeline()
    for i, image in enumerate(labels):
        timeline.add_masks(masks(image, i * STEP))
        timeline.add_objects(objects(i * STEP, i))
    return timeline.frames()


WALL = [(2, column) for column in range(6)]


def test_shares_of_cells(planner) -> None:
    labels = np.zeros((5, 7), np.uint16)
    labels[0:2, 0:1] = 9
    labels[4, 4:7] = 1
    share = planner.occupied_share(labels, 4)
    np.testing.assert_allclose(share, [[2 / 16, 0], [0, 1]])


def test_plan_is_the_column_that_is_free_furthest(planner) -> None:
    space = planner.FreeSpace(CELL)
    assert space.plan() is None
    space.update(frames(covering())[0])
    assert space.plan() == 2  # all free: the first of the two in the middle
    space = planner.FreeSpace(CELL)
    space.update(frames(covering((0, 0), (1, 1), (2, 2), (3, 3), (1, 4), (2, 5)))[0])
    assert space.plan() == 0
    space = planner.FreeSpace(CELL)
    space.update(frames(covering(*[(3, column) for column in range(6)]))[0])
    assert space.plan() is None


def test_a_correction_frees_cells_and_changes_the_plan(planner) -> None:
    """A wrong first mask closes a way that is free; the robot is not held up by it for long."""
    wrong, right = covering((3, 2), (3, 3), (2, 2)), covering((3, 3))
    timeline = MaskTimeline()
    timeline.add_masks(masks(wrong, 0))
    space = planner.FreeSpace(CELL)
    change = space.update(timeline.add_objects(objects(0, 0)))
    assert (change.freed, change.taken, change.before, change.after) == (0, 3, None, 1)
    change = space.update(timeline.add_correction(correction(wrong, right, 0, 0)))
    assert (change.freed, change.taken, change.before, change.after) == (2, 0, 1, 2)
    expected = (
        '2 cells freed, 0 newly occupied, 0 doubtful; plan changed from column 1 to column 2')
    assert str(change) == expected
    again = space.update(timeline.latest())
    assert str(again) == '0 cells freed, 0 newly occupied, 0 doubtful; plan stays at column 2'


def show(timeline: MaskTimeline, labels: np.ndarray, index: int, tentative=(2,)) -> TimelineFrame:
    """Feed a frame with the objects 1 and 2."""
    timeline.add_masks(masks(labels, index * STEP))
    return timeline.add_objects(objects(index * STEP, index, (1, 2), tentative=tentative))


DOUBT = covering((3, 2), (1, 2), by=2)  # on the way that would be planned


def test_a_tentative_object_is_gone_around_and_blocks_nothing(planner) -> None:
    space = planner.FreeSpace(CELL)
    change = space.update(show(MaskTimeline(), DOUBT, 0))
    assert (change.taken, change.doubtful, change.after, change.slowly) == (0, 2, 3, False)
    assert not space.belief.any() and space.caution[3, 2] == 1.0
    # Where every way is doubtful, the planner goes on, slowly.
    wall = covering(*[(3, column) for column in range(6)], by=2)
    change = planner.FreeSpace(CELL).update(show(MaskTimeline(), wall, 0))
    assert (change.doubtful, change.after, change.slowly) == (6, 2, True)
    assert str(change) == (
        '0 cells freed, 0 newly occupied, 6 doubtful; plan changed from standing still to column '
        '2, slowly')
    # A doubtful cell beyond the end of the way slows nobody.
    behind = covering((0, 2), by=2) + covering(*[(1, column) for column in range(6)])
    change = planner.FreeSpace(CELL).update(show(MaskTimeline(), behind, 0))
    assert (change.taken, change.doubtful, change.after, change.slowly) == (6, 1, 2, False)


def test_an_object_that_is_confirmed_blocks_its_cells_on_the_frames_before_too(planner) -> None:
    space, timeline = planner.FreeSpace(CELL, decay=1.0), MaskTimeline()
    for index in range(3):
        space.update(show(timeline, DOUBT, index))
    change = space.update(show(timeline, covering(), 3, tentative=()))
    assert (change.taken, change.doubtful) == (2, 0)
    assert space.belief[3, 2] == space.belief[1, 2] == 0.75


def test_a_withdrawn_object_leaves_every_frame_and_the_plan_goes_back(planner) -> None:
    """Also those whose own corrections have not come yet."""
    space, timeline = planner.FreeSpace(CELL, decay=1.0), MaskTimeline()
    for index in range(3):
        change = space.update(show(timeline, DOUBT, index))
    assert change.after == 3
    message = correction(DOUBT, covering(), 0, 0, withdrawn=(2,))
    change = space.update(timeline.add_correction(message))
    assert (change.doubtful, change.before, change.after, change.slowly) == (0, 3, 2, False)
    assert not space.caution.any()
    space.update(show(timeline, DOUBT, 3))  # was on its way
    assert not space.caution.any()


@pytest.mark.ros
def test_the_node_says_what_is_doubtful_and_what_was_withdrawn(planner) -> None:
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    sent = []
    try:
        node = planner.Planner(context=context)
        node.free_space.cell = CELL
        node.plans = type('Plans', (), {'publish': lambda _, message: sent.append(message.data)})()
        timeline = MaskTimeline()
        node.on_frame(show(timeline, DOUBT, 0))
        grid = np.array(node.grid().data).reshape(4, 6)[::-1]
        assert grid[3, 2] == grid[1, 2] == 50 and grid.sum() == 100
        node.on_frame(timeline.add_correction(
            correction(DOUBT, covering(), 0, 0, withdrawn=(2,))))
        assert not any(node.grid().data)
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert sent == [
        'frame 0: 0 cells freed, 0 newly occupied, 2 doubtful; plan changed from standing still '
        'to column 3',
        'frame 0 corrected (revision 1, withdrawn 2): 0 cells freed, 0 newly occupied, 0 '
        'doubtful; plan changed from column 3 to column 2',
    ]


def test_one_wrong_frame_among_many_does_not_decide(planner) -> None:
    space = planner.FreeSpace(CELL, memory=10, decay=0.9)
    for frame in frames(*[covering()] * 9, covering(*WALL)):
        space.update(frame)
    assert not space.occupied.any() and 0 < space.belief[2, 0] < 0.5


def test_newer_frames_count_more_whenever_they_come(planner) -> None:
    given = frames(covering(), covering(), covering(*WALL))
    for order in ([0, 1, 2], [2, 0, 1], [2, 1, 0]):
        space = planner.FreeSpace(CELL, decay=0.5)
        for i in order:
            space.update(given[i])
        np.testing.assert_allclose(space.belief[2], 1 / 1.75)
        assert space.newest == given[2] and space.occupied[2].all()


@pytest.mark.parametrize('seed', range(20))
def test_corrected_is_as_if_right_from_the_start(planner, seed: int) -> None:
    """Random masks, some corrected at a random later time: the belief is bit by bit the same."""
    chance = random.Random(seed)

    def anything() -> np.ndarray:
        return covering(*[(chance.randrange(4), chance.randrange(6)) for _ in range(8)])

    right = [anything() for _ in range(12)]
    first = [labels if chance.random() < 0.4 else anything() for labels in right]
    due: list[tuple[float, str, int]] = []
    for i in range(12):
        due.append((i, 'first', i))
        if (first[i] != right[i]).any():
            due.append((i + chance.uniform(0.1, 6.0), 'correction', i))
    timeline, space = MaskTimeline(), planner.FreeSpace(CELL, memory=8)
    for _, kind, i in sorted(due):
        if kind == 'first':
            timeline.add_masks(masks(first[i], i * STEP))
            changed = timeline.add_objects(objects(i * STEP, i))
        else:
            changed = timeline.add_correction(correction(first[i], right[i], i * STEP, i))
        space.update(changed)
    reference, uncorrected = planner.FreeSpace(CELL, memory=8), planner.FreeSpace(CELL, memory=8)
    for frame in frames(*right):
        reference.update(frame)
    for frame in frames(*first):
        uncorrected.update(frame)
    np.testing.assert_array_equal(space.belief, reference.belief)
    assert space.plan() == reference.plan()
    assert (uncorrected.belief != reference.belief).any(), 'nothing was at stake'


def test_a_correction_of_a_frame_beyond_memory_changes_nothing(planner) -> None:
    timeline, space = MaskTimeline(), planner.FreeSpace(CELL, memory=3)
    for i in range(5):
        timeline.add_masks(masks(covering(), i * STEP))
        space.update(timeline.add_objects(objects(i * STEP, i)))
    before = space.belief
    message = correction(covering(), covering(*WALL), STEP, 1)
    assert space.update(timeline.add_correction(message)) is None
    assert space.belief is before
    message = correction(covering(), covering(*WALL), 2 * STEP, 2)
    assert space.update(timeline.add_correction(message)) is not None
    assert (space.belief != before).any()


def test_a_new_stream_or_image_size_restarts(planner) -> None:
    space = planner.FreeSpace(CELL)
    timeline = MaskTimeline()
    for i in range(10):
        timeline.add_masks(masks(covering(*WALL), i * STEP))
        space.update(timeline.add_objects(objects(i * STEP, i)))
    timeline.add_masks(masks(covering(), 10 * STEP))
    frame = timeline.add_objects(objects(10 * STEP, 0))  # the index fell: a reset
    change = space.update(frame)
    assert frame.stream == 1 and not space.belief.any()
    assert (change.freed, change.taken, change.before) == (0, 0, None)
    space.update(frames(np.zeros((33, 40), np.uint16))[0])
    assert space.belief.shape == (3, 3)
