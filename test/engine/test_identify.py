# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""New objects that are older ones: which may be, and what becomes of their prompts."""

from __future__ import annotations

import pytest
import torch

from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.tracking.identity import FrameMasks, same_before_birth
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.reverse import Tracked

SIDE = 16
COMPOSER = MaskResizer(SIDE, SIDE, SIDE, torch.device('cpu'))


def conditioning(logits: torch.Tensor) -> ConditioningFrame:
    memory = Memory(torch.zeros(1, 4, 4), torch.zeros(4), torch.tensor(5.0))
    return ConditioningFrame(memory, logits, torch.zeros(1), 0)


def logits(left: int) -> torch.Tensor:
    mask = torch.full((SIDE, SIDE), -5.0)
    mask[4:10, left : left + 6] = 5.0
    return mask


def entry(born: int, left: int, **given: object) -> TrackedObject:
    own = TrackedObject(born=born, last_seen=born, class_id=0, class_name='ball', **given)
    own.conditioned = {born: conditioning(logits(left))}
    return own


def united(younger: TrackedObject, start: int) -> bool:
    """Whether an object is the one of frame 0, to which it was followed back."""
    older = entry(0, left=2, id=1)
    masks = {
        0: FrameMasks.gather(0, {older: None, younger: Tracked(logits(2), torch.tensor(5.0))},
                             COMPOSER),
        6: FrameMasks.gather(6, {older: None, younger: None}, COMPOSER),
    }
    return same_before_birth(masks, {}, 0.5, start) == [(older, younger)]


@pytest.mark.parametrize(('given', 'start', 'expected'), [
    ({'id': 2}, 4, True),  # first detected in this window
    ({'id': 2}, 8, False),  # in an earlier one, in which it was found to be new
    ({'id': None}, 8, True),  # late, for a frame before this window
    ({'id': None, 'by_hand': True}, 4, False),  # somebody said so
], ids=['new', 'known', 'late', 'by_hand'])  # fmt: skip
def test_which_objects_may_be_older_ones(given, start, expected):
    assert united(entry(6, left=9, **given), start) == expected


def test_prompts_that_came_late_stay_late_in_another_object():
    older, younger = entry(0, left=2, id=1), entry(6, left=2, id=None)
    younger.late = {6: 9}
    older.follow(younger, {6})
    assert (older.late, sorted(older.conditioned)) == ({6: 9}, [0, 6])
    older.read(8)
    assert (older.passed, older.late) == (frozenset({0}), {6: 9})
    older.read(9)
    assert (older.passed, older.late) == (frozenset({0, 6}), {})
