# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The timeline in space: corrections in any order, withdrawals, restarts, bad messages."""

import random
from types import SimpleNamespace as Message
from typing import Any

import pytest
from client_cases import STEP, header

from detsam2_ros.client import ObjectState, Reason, SpaceTimeline


def point(x: float, y: float = 0.0, z: float = 1.0) -> Message:
    return Message(x=x, y=y, z=z)


def thing(
    id_: int = 1, x: float = 0.0, state: int = 2, reason: int = 0, **changes: Any
) -> Message:
    there = reason == 0
    fields = {
        'id': id_, 'class_id': 7, 'class_name': 'cup', 'score': 0.5, 'state': state,
        'valid': there, 'reason': reason, 'centroid': point(x if there else 0.0),
        'box_min': point(x), 'box_max': point(x), 'spread': point(0.1), 'points': 50,
        'depth_share': 0.8, **changes,
    }  # fmt: skip
    return Message(**fields)


def space(index: int, *things: Message, revision: int = 0, **changes: Any) -> Message:
    """Make an Object3DArray with the stamp index * STEP."""
    fields = {
        'header': header(index * STEP), 'stream': 5, 'frame_index': index, 'revision': revision,
        'mask_revision': revision, 'final': False, 'depth_stamp': header(index * STEP).stamp,
        'objects': list(things), 'withdrawn_ids': [], **changes,
    }  # fmt: skip
    return Message(**fields)


def test_the_highest_revision_counts_in_any_order() -> None:
    messages = [space(i, thing(x=i + revision / 10), revision=revision)
                for i in range(10) for revision in range(4)]
    for seed in range(5):
        random.Random(seed).shuffle(messages)
        timeline = SpaceTimeline()
        for message in messages:
            timeline.add(message)
        frames = timeline.frames()
        assert [f.index for f in frames] == list(range(10))
        assert {f.revision for f in frames} == {3}
        assert [f.objects[0].position.centroid[0] for f in frames] == pytest.approx(
            [i + 0.3 for i in range(10)])


def test_what_add_returns() -> None:
    timeline = SpaceTimeline()
    frame = timeline.add(space(3, thing(), final=True))
    assert frame is not None and frame.final and frame.stamp == frame.depth_stamp == 3 * STEP
    assert timeline.add(space(3, thing())) is None
    assert timeline.add(space(3, revision=2)) is not None
    assert timeline.add(space(3, thing(), revision=1)) is None
    assert timeline.latest().objects == ()


def test_fates_hold_for_frames_before() -> None:
    timeline = SpaceTimeline()
    for i in range(4):
        timeline.add(space(i, thing(1, state=1), thing(2, state=1)))
    timeline.add(space(4, thing(1)))
    timeline.add(space(2, thing(1), revision=1, withdrawn_ids=[2]))
    for frame in timeline.frames()[:4]:
        assert [(t.id, t.state) for t in frame.objects] == [(1, ObjectState.CONFIRMED)]
        assert frame.withdrawn_ids == (2,)


def test_bounded_and_final_behind_the_reach() -> None:
    timeline = SpaceTimeline(length=10, max_propagation=4, window_size=2)
    for i in range(30):
        timeline.add(space(i, thing()))
    assert [f.index for f in timeline.frames()] == list(range(20, 30))
    assert [f.final for f in timeline.frames()] == [True] * 3 + [False] * 7
    assert timeline.add(space(5, thing(), revision=9)) is None and len(timeline) == 10


def test_a_restart_drops_what_was_and_ignores_its_stragglers() -> None:
    timeline = SpaceTimeline()
    for i in range(5):
        timeline.add(space(i, thing()))
    timeline.add(space(0, thing(9), stream=6))
    assert timeline.add(space(4, thing(), revision=1)) is None
    (frame,) = timeline.frames()
    assert (frame.stream, frame.objects[0].id) == (6, 9)


def test_a_restart_of_the_node_after_its_clock_was_set_back() -> None:
    """Its streams have smaller numbers then; what is on its way still is not taken for that."""
    timeline = SpaceTimeline()
    for i in range(5):
        timeline.add(space(i, thing()))
    for i in range(30):  # stragglers between frames of the stream, and corrections of it
        assert timeline.add(space(i % 5, thing(), stream=4)) is None
        assert timeline.add(space(i % 5, thing(), stream=4, revision=1)) is None
        timeline.add(space(5 + i, thing()))
    found = [timeline.add(space(i, thing(), stream=3)) for i in range(12)]
    assert [frame is not None for frame in found] == [False] * 9 + [True] * 3
    assert {frame.stream for frame in timeline.frames()} == {3} and len(timeline) == 3


def test_asking() -> None:
    timeline = SpaceTimeline()
    assert timeline.latest() is None and timeline.at(0) is None
    for i in range(5):
        state = 1 if i < 2 else 2
        timeline.add(space(i, thing(1, x=i, state=state), thing(2, reason=4)))
    assert timeline.at(2 * STEP).index == 2
    assert timeline.at(2 * STEP + 7) is None
    assert timeline.at(2 * STEP + 7, tolerance=7).index == 2
    assert timeline.at_or_before(2 * STEP - 1).index == 1
    assert timeline.at_or_before(-1) is None
    with pytest.raises(ValueError, match='tolerance'):
        timeline.at(0, tolerance=-1)
    assert [(s, t.position.centroid[0]) for s, t in timeline.track(1)] == [
        (i * STEP, i) for i in range(5)]
    assert len(timeline.track(1, confirmed=True)) == 5  # confirmed now, so before too
    assert timeline.track(2) == []
    assert timeline.latest().objects[1].position.reason is Reason.TOO_LITTLE_DEPTH


@pytest.mark.parametrize(
    ('message', 'text'),
    [
        (space(1, thing(state=0)), 'object 1 has a 0 is not a valid ObjectState'),
        (space(1, thing(reason=77)), '77 is not a valid Reason'),
        (space(1, thing(valid=False)), 'valid False, but reason VALID'),
        (space(1, thing(centroid=point(float('nan')))), 'no number'),
        (space(1, thing(), thing()), 'an id is there twice'),
        (space(1, thing(), withdrawn_ids=[1]), 'withdrawn_ids has 1'),
    ],
)
def test_bad_messages_change_nothing(message: Message, text: str) -> None:
    timeline = SpaceTimeline()
    with pytest.raises(ValueError, match=text):
        timeline.add(message)
    assert len(timeline) == 0


def test_length_is_at_least_one() -> None:
    with pytest.raises(ValueError, match='length'):
        SpaceTimeline(length=0)
