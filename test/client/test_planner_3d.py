# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The example planner in metres: a correction must do what the right position would have done."""

import random
from types import SimpleNamespace

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
    nearest = made.scene().nearest
    assert (nearest.id, nearest.name, nearest.stamp) == (2, 'cup', 7 * STEP)
    assert nearest.distance == pytest.approx(2.5 - 0.35)
    assert nearest.closing == pytest.approx(0.5)
    assert nearest.frame_id == 'camera'
    assert planner.Obstacles().scene().nearest is None


def test_nothing_is_surely_nearest_while_something_has_no_position(planner) -> None:
    blind = [space(i, at(1, 3.0), thing(2, reason=2)) for i in range(3)]
    scene = obstacles(planner, blind).scene()
    assert (scene.nearest.id, scene.surely_nearest, list(scene.unplaced)) == (1, None, [2])
    hidden = [space(i, at(1, 3.0), thing(2, reason=1)) for i in range(3)]
    scene = obstacles(planner, hidden).scene()
    assert scene.surely_nearest == scene.nearest


def test_beside_the_camera_the_nearest_corner_counts(planner) -> None:
    beside = thing(1, box_min=point(0.3, -1, 0.4), box_max=point(0.9, 1, 2.0))
    assert obstacles(planner, [space(0, beside)]).scene().nearest.distance == pytest.approx(0.5)


def test_a_withdrawn_ghost_was_never_there(planner) -> None:
    messages = [space(i, at(1, 3.0), at(2, 1.0, state=1)) for i in range(5)]
    made = obstacles(planner, messages)
    assert made.scene().nearest.id == 2
    made.timeline.add(space(3, at(1, 3.0), revision=1, withdrawn_ids=[2]))
    assert made.scene().nearest.id == 1


def test_corrected_or_right_at_once_makes_no_difference(planner) -> None:
    right = [space(i, at(1, 3.0 - 0.1 * i), at(2, 4.0), revision=1) for i in range(10)]
    wrong = [space(i, at(1, 1.0), at(2, 0.5)) for i in range(10)]
    both = right + wrong
    random.Random(1).shuffle(both)
    assert obstacles(planner, both).scene() == obstacles(planner, right).scene()


def test_what_is_not_seen_any_more_is_forgotten(planner) -> None:
    seen = [space(i, at(1, 1.0)) for i in range(5)]
    gone = [space(i, thing(1, reason=1)) for i in range(5, 20)]
    assert obstacles(planner, seen + gone[:5], forget=1.0).scene().nearest.id == 1
    assert obstacles(planner, seen + gone, forget=1.0).scene().nearest is None


@pytest.mark.parametrize('reason', [2, 3, 4, 5])  # all but NOT_VISIBLE
def test_where_depth_goes_blind_the_way_is_not_free(planner, reason) -> None:
    made = obstacles(planner, [space(i, at(1, 1.0), at(3, 4.0)) for i in range(5)], forget=0.5)

    def line(index: int, *things) -> str:
        return planner.plan(made.timeline.add(space(index, *things)), made.scene())

    blind = thing(1, reason=reason), at(3, 4.0)
    assert line(5, *blind) == (
        'frame 5: nearest is 1 cup at 1.00 m, not closing, as of 0.1 s ago, visible without a '
        'position since')
    for i in range(6, 10):
        assert 'nearest is 1 cup' in line(i, *blind)
    assert line(10, *blind) == (
        'frame 10: nearest is 3 cup at 4.00 m, not closing, at an unknown distance 1 cup')
    assert line(11, thing(1, reason=reason), thing(3, reason=1)) == (
        'frame 11: nearest is 3 cup at 4.00 m, not closing, as of 0.1 s ago, not seen since, '
        'at an unknown distance 1 cup')
    for i in range(12, 30):
        last = line(i, thing(1, reason=reason), thing(3, reason=1))
    assert last == 'frame 29: at an unknown distance 1 cup'
    assert line(30, at(1, 2.0)) == 'frame 30: nearest is 1 cup at 2.00 m, not closing'


def test_what_never_had_a_position_is_there_nevertheless(planner) -> None:
    made = planner.Obstacles()
    frame = made.timeline.add(space(0, thing(1, reason=3, state=1)))
    assert planner.plan(frame, made.scene()) == 'frame 0: at an unknown distance 1 cup'
    frame = made.timeline.add(space(0, revision=1, withdrawn_ids=[1]))
    assert planner.plan(frame, made.scene()).endswith('nothing in the way')


def test_the_node_says_when_depth_goes_blind_and_when_it_is_back(planner) -> None:
    lines, points = [], []
    node = SimpleNamespace(
        obstacles=planner.Obstacles(forget=0.2), before=planner.Scene({}, {}),
        points=SimpleNamespace(publish=points.append),
        plans=SimpleNamespace(publish=lambda message: lines.append(message.data)),
        get_logger=lambda: SimpleNamespace(info=lambda line: None))
    for i in range(12):
        message = space(i, thing(1, reason=2) if 3 <= i < 9 else at(1, 1.0))
        planner.Planner3D.on_frame(node, node.obstacles.timeline.add(message))
    assert [line.partition(':')[0] for line in lines] == [f'frame {i}' for i in (0, 3, 5, 9)]
    assert len(points) == 12 - 4  # none where the distance is unknown
    assert points[4].header.stamp.nanosec == 2 * STEP


def test_the_line_names_what_changed(planner) -> None:
    made = planner.Obstacles()
    frame = made.timeline.add(space(3, at(1, 2.0)))
    assert planner.plan(frame, made.scene()) == (
        'frame 3: nearest is 1 cup at 2.00 m, not closing')
    frame = made.timeline.add(space(3, revision=1, withdrawn_ids=[1]))
    assert planner.plan(frame, made.scene()) == (
        'frame 3 corrected (revision 1, withdrawn 1): nothing in the way')
