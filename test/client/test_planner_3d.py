# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The example planner in metres: a correction must do what the right position would have done."""

import random

import pytest
from client_cases import STEP
from example_scripts import example
from test_space_timeline import point, space, thing

pytest.importorskip('rclpy', reason='the example imports it')
pytest.importorskip('geometry_msgs.msg', reason='the example imports it')


@pytest.fixture(scope='module')
def planner():
    return example('planner_3d')


def at(id_: int, metres: float, **changes):
    """Make an object of 20 cm in front of the camera, its near side at a distance."""
    return thing(
        id_, centroid=point(0.0, 0.0, metres), box_min=point(-0.1, -0.1, metres),
        box_max=point(0.1, 0.1, metres + 0.2), **changes)


def obstacles(planner, messages, **options):
    made = planner.Obstacles(**options)
    for message in messages:
        made.timeline.add(message)
    return made


def test_the_nearest_and_how_fast_it_comes(planner) -> None:
    made = obstacles(planner, [space(i, at(1, 3.0), at(2, 2.5 - 0.05 * i)) for i in range(8)])
    nearest = made.nearest()
    assert (nearest.id, nearest.name, nearest.stamp) == (2, 'cup', 7 * STEP)
    assert nearest.distance == pytest.approx(2.5 - 0.35)
    assert nearest.closing == pytest.approx(0.5)
    assert nearest.frame_id == 'camera'
    assert planner.Obstacles().nearest() is None


def test_beside_the_camera_the_nearest_corner_counts(planner) -> None:
    beside = thing(1, box_min=point(0.3, -1, 0.4), box_max=point(0.9, 1, 2.0))
    assert obstacles(planner, [space(0, beside)]).nearest().distance == pytest.approx(0.5)


def test_a_withdrawn_ghost_was_never_there(planner) -> None:
    messages = [space(i, at(1, 3.0), at(2, 1.0, state=1)) for i in range(5)]
    made = obstacles(planner, messages)
    assert made.nearest().id == 2
    made.timeline.add(space(3, at(1, 3.0), revision=1, withdrawn_ids=[2]))
    assert made.nearest().id == 1


def test_corrected_or_right_at_once_makes_no_difference(planner) -> None:
    right = [space(i, at(1, 3.0 - 0.1 * i), at(2, 4.0), revision=1) for i in range(10)]
    wrong = [space(i, at(1, 1.0), at(2, 0.5)) for i in range(10)]
    both = right + wrong
    random.Random(1).shuffle(both)
    assert obstacles(planner, both).known() == obstacles(planner, right).known()


def test_what_is_not_seen_any_more_is_forgotten(planner) -> None:
    seen = [space(i, at(1, 1.0)) for i in range(5)]
    gone = [space(i, thing(1, reason=1)) for i in range(5, 20)]
    assert obstacles(planner, seen + gone[:5], forget=1.0).nearest().id == 1
    assert obstacles(planner, seen + gone, forget=1.0).nearest() is None


def test_the_line_names_what_changed(planner) -> None:
    made = planner.Obstacles()
    frame = made.timeline.add(space(3, at(1, 2.0)))
    assert planner.plan(frame, made.nearest()) == (
        'frame 3: nearest is 1 cup at 2.00 m, not closing')
    frame = made.timeline.add(space(3, revision=1, withdrawn_ids=[1]))
    assert planner.plan(frame, made.nearest()) == (
        'frame 3 corrected (revision 1, withdrawn 1): nothing in the way')
