# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measures of the ghost and return benchmarks, on results made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.quality import ghost_rules, returns
from benchmarks.quality.false_boxes import KINDS, TRUE, Errors, Found, found_in
from benchmarks.quality.ghost_measures import cover, measure, origins, waits_for_confirmation
from benchmarks.quality.ghost_rules import HotStart, Probation, Revision, Rule, View, views
from benchmarks.quality.return_scenes import Plot, Trip, clip_of
from benchmarks.quality.scenery import film_of
from detsam2_ros.engine import Detections, FrameResult, Object, ObjectState
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import SceneFrame, SceneOptions

SIDE = 40
BOXES = {1: (0, 0, 10, 10), 2: (20, 20, 30, 30)}  # of two balls


def mask(x0: int, y0: int, x1: int, y1: int) -> Mask:
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[y0:y1, x0:x1] = True
    return Mask.of(pixels)


def scene(index: int, *balls: int) -> SceneFrame:
    """Make a frame that shows some of the balls."""
    labels = np.zeros((SIDE, SIDE), np.uint16)
    for ball in balls:
        labels[mask(*BOXES[ball]).pixels()] = ball
    seen = np.isin([1, 2], balls)
    boxes = np.array(list(BOXES.values()), np.float32) * seen[:, None]
    return SceneFrame(
        index, np.zeros((SIDE, SIDE, 3), np.uint8), labels, np.array([1, 2], np.int32),
        np.array([3, 4], np.int32), boxes, seen, seen.astype(np.float32),
    )  # fmt: skip


def thing(
    id_: int, shown: Mask, class_id: int = 3, conditioned: bool = False, confirmed: bool = True
) -> Object:
    state = ObjectState.CONFIRMED if confirmed else ObjectState.TENTATIVE
    return Object(id_, class_id, '', 0.9, conditioned, shown, state)


def revision(time: int, index: int, *things: Object, number: int = 0) -> Revision:
    return Revision(
        time,
        FrameResult('s', index, index, number, False, things, np.zeros((SIDE, SIDE)), ()),
    )


def found(**kinds: tuple[int, int, int, int]) -> Found:
    """Make the detections of a frame, of class 3."""
    boxes = np.array(list(kinds.values()), float).reshape(-1, 4)
    return Found(Detections(boxes, np.full(len(boxes), 3), np.full(len(boxes), 0.9)), tuple(kinds))


@pytest.mark.parametrize(
    ('masks', 'ball_of', 'ghosts'),
    [
        ({7: (0, 0, 10, 10), 8: (20, 20, 30, 30)}, {7: 1, 8: 2}, set()),
        # Half a ball shows it; so does a mask that the ball fills by half.
        ({7: (0, 0, 10, 4), 8: (20, 20, 30, 40)}, {7: 1, 8: 2}, set()),
        ({8: (20, 20, 35, 40)}, {}, {8}),  # the ball fills a third of it
        ({7: (10, 0, 20, 10)}, {}, {7}),
        ({7: (0, 0, 10, 10), 8: (2, 2, 9, 9)}, {7: 1}, {8}),  # a double
        ({8: (0, 6, 10, 20)}, {}, {8}),  # IoU 0.2, and less than half of it on the ball
        ({7: (0, 0, 0, 0)}, {}, set()),  # not visible
    ],
)
def test_a_mask_of_no_ball_or_of_one_that_another_mask_shows_is_a_ghost(
    masks: dict[int, Any], ball_of: dict[int, int], ghosts: set[int]
) -> None:
    result = cover(scene(0, 1, 2), {id_: mask(*box) for id_, box in masks.items()})
    assert (result.things, result.ghosts) == (ball_of, ghosts)


def test_ghosts_that_were_taken_back_are_told_from_those_left() -> None:
    ball, cloth, twin = thing(1, mask(*BOXES[1])), thing(5, mask(30, 0, 38, 8)), mask(*BOXES[2])
    seen = [
        [View(0, (ball, cloth)), View(9, (ball,))],  # withdrawn
        [View(1, (ball, cloth))],  # left
        [View(2, (ball,)), View(9, (ball, thing(2, twin)))],  # ball 2 is found later
        [View(3, (thing(2, mask(*BOXES[1])),))],  # ball 1 has another id
    ]
    film = [scene(0, 1), scene(1, 1), scene(2, 1, 2), scene(3, 1, 2)]
    ghosts, balls, ids = measure(film, seen)
    assert ghosts.shown == {(5, 0), (5, 1)}
    assert (ghosts.withdrawn, ghosts.left) == ({(5, 0)}, {(5, 1)})
    assert (balls.pairs, balls.first_found, balls.found, balls.lag) == (6, 4, 5, 7)
    assert (balls.switches, balls.balls, ids) == (1, 2, {1, 2, 5})
    assert balls.ious == pytest.approx(5.0)


def test_hidden_objects_are_seen_once_they_are_shown_and_no_frame_before_its_delay() -> None:
    ball, other = thing(1, mask(*BOXES[1])), thing(2, mask(*BOXES[2]))
    own = [revision(10, 10, ball, other), revision(19, 10, ball, number=1)]

    def seen(rule: Rule) -> list[tuple[int, list[int]]]:
        return [(view.time, [t.id for t in view.things]) for view in views(own, rule)]

    assert seen(Rule()) == [(10, [1, 2]), (19, [1])]
    assert seen(Rule(delay=15)) == [(25, [1])]
    assert seen(Rule(shown_from={1: 20})) == [(10, [2]), (19, []), (20, [1])]
    assert seen(Rule(gone_from={2: 12})) == [(10, [1, 2]), (12, [1]), (19, [1])]


class Removing:
    """A stream that only lets objects be removed."""

    def __init__(self) -> None:
        self.objects = [SimpleNamespace(id=id_) for id_ in range(9)]
        self.removed: list[int] = []

    def remove_object(self, id_: int) -> None:
        self.removed.append(id_)


def test_hot_start_removes_young_objects_that_are_unmatched_or_double() -> None:
    rule, stream = HotStart(), Removing()
    a, b, far = mask(*BOXES[1]), mask(1, 1, 11, 11), mask(30, 0, 38, 8)
    first = revision(0, 0, thing(1, a, conditioned=True), thing(3, far, conditioned=True)).result
    rule.watch(stream, first, found(ball=BOXES[1], cloth=(30, 0, 38, 8)))  # type: ignore[arg-type]
    second = revision(10, 10, thing(1, a), thing(2, b, conditioned=True), thing(3, far)).result
    rule.watch(stream, second, found(ball=BOXES[1]))  # type: ignore[arg-type]
    assert stream.removed == [3]
    third = revision(20, 20, thing(1, a, conditioned=True), thing(2, b)).result
    rule.watch(stream, third, found(ball=BOXES[1]))  # type: ignore[arg-type]
    assert stream.removed == [3, 2]
    last = revision(30, 30, thing(1, a)).result
    rule.watch(stream, last, found())  # type: ignore[arg-type]
    assert stream.removed == [3, 2], 'an object older than the delay stays'


@pytest.mark.parametrize(('delay', 'interval', 'count'), [(15, 1, 8), (15, 10, 1), (25, 10, 2)])
def test_thresholds_are_scaled_to_detection_frames(delay: int, interval: int, count: int) -> None:
    threshold = round(ghost_rules.UNMATCHED * delay / ghost_rules.DELAY)
    assert ghost_rules.scaled(threshold, delay, interval) == count


def test_probation_shows_who_is_matched_again_and_removes_the_others() -> None:
    rule, stream = Probation(), Removing()
    a, b = mask(*BOXES[1]), mask(*BOXES[2])
    frames = [(1,), (1, 2, 3), (1, 2), (1, 2)]
    for number, ids in enumerate(frames):
        things = [
            thing(id_, a if id_ == 1 else b, conditioned=id_ != 3 or number == 1) for id_ in ids
        ]
        rule.watch(stream, revision(0, 10 * number, *things).result, found())  # type: ignore[arg-type]
    assert stream.removed == [3]
    assert [rule.is_shown(1, 0), rule.is_shown(2, 19), rule.is_shown(2, 20)] == [True, False, True]
    assert not rule.is_shown(3, 19)


def test_an_object_is_of_what_its_first_detection_was_of() -> None:
    a, far = mask(*BOXES[1]), mask(30, 0, 38, 8)
    revisions = {
        0: [revision(0, 0, thing(1, a, conditioned=True, confirmed=False))],
        10: [revision(10, 10, thing(1, far, conditioned=True),
                      thing(2, far, conditioned=True, confirmed=False))],
    }  # fmt: skip
    boxes = {0: found(ball=BOXES[1]), 10: found(ball=BOXES[1], cloth=(30, 0, 38, 8))}
    origin = origins(revisions, boxes)
    assert origin == {1: TRUE, 2: 'cloth'}
    assert waits_for_confirmation(revisions, origin) == [10]


def test_false_boxes_come_at_their_rate_and_lie_where_no_ball_is() -> None:
    film, scenery = film_of(1_006_000, 40, SceneOptions(balls=3, distractors=1.0))
    few, many = (found_in(film, scenery, 2, Errors(rate, 0.3), 5) for rate in (0.1, 0.5))
    for index in few:
        true = [k == TRUE for k in few[index].kinds]
        assert (few[index].detections.boxes[true] == many[index].detections.boxes[
            [k == TRUE for k in many[index].kinds]]).all()  # fmt: skip
    kinds = [kind for each in many.values() for kind in each.kinds]
    assert {kind: kinds.count(kind) for kind in KINDS if kind != 'lasting'} == dict.fromkeys(
        ('cloth', 'structure', 'double'), pytest.approx(2.5, abs=0.5)
    )
    for index, each in many.items():
        for box, kind in zip(each.detections.boxes.astype(int), each.kinds, strict=True):
            on_ball = film[index].labels[box[1] : box[3], box[0] : box[2]] > 0
            assert (on_ball.mean() > 0.2) == (kind in (TRUE, 'double')) or kind == 'lasting'


def test_balls_roll_away_and_come_back() -> None:
    film, _, trips = clip_of(1_007_000, Plot(alike=True))
    for trip in trips:
        assert trip.leaves is not None
        shares = np.array([frame.visible_fraction[trip.ball] for frame in film])
        assert (shares[: trip.leaves] > 0).all()
        assert (shares[trip.leaves + 35 : trip.returns] == 0).all()
        assert (shares[trip.returns + 12 :] > 0).all()
    assert film[0].class_ids[0] == film[0].class_ids[1] != film[0].class_ids[2]


@pytest.mark.parametrize(
    ('after', 'expected'), [(1, 'old'), (2, 'wrong'), (3, 'new'), (None, 'lost')]
)
def test_what_became_of_an_id(after: int | None, expected: str) -> None:
    film = [scene(index, *((2,) if 10 <= index < 20 else (1, 2))) for index in range(30)]
    covers = []
    for frame in film:
        shown = {2: mask(*BOXES[2])} if frame.index < 20 else {}
        own = 1 if frame.index < 10 else after
        if own is not None and not 10 <= frame.index < 20:
            shown[own] = mask(*BOXES[1])
        covers.append(cover(frame, shown))
    assert returns.outcome(film, covers, Trip(0, 10, 20)) == expected


def test_the_curve_counts_a_clip_and_leaves_out_what_began_as_a_ball(tmp_path):
    from benchmarks.quality.ghost_plot import ghosts, plot

    line = {f'left {kind}': 3 for kind in KINDS} | {'left none': 0, 'found': 9, 'pairs': 10}
    rows = [
        line | {'case': case, 'setting': setting}
        for case in ('10 %', '50 %, missed') for setting in ('today', 'ours') for _ in range(2)
    ]
    false_kinds = [kind for kind in KINDS if kind != TRUE]
    assert ghosts(rows[:2]) == 3 * len(false_kinds)
    plot(rows, [('10 %', 0.1)], '50 %, missed', tmp_path / 'images' / 'ghosts.png')
    assert (tmp_path / 'images' / 'ghosts.png').stat().st_size > 5000
