# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""New objects that are older ones: which may be, and what becomes of their prompts."""

import pytest
import torch

from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.tracking.frame_masks import FrameMasks
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.reidentification import same_before_birth

SIDE = 16
RESIZER = MaskResizer(SIDE, SIDE, SIDE, torch.device('cpu'))


def conditioning(index: int, logits: torch.Tensor, tracked_until: int) -> ConditioningFrame:
    memory = Memory(torch.zeros(1, 4, 4), torch.zeros(4), torch.tensor(5.0))
    return ConditioningFrame(memory, logits, torch.zeros(1), 0, max(index, tracked_until))


def logits(left: int) -> torch.Tensor:
    mask = torch.full((SIDE, SIDE), -5.0)
    mask[4:10, left : left + 6] = 5.0
    return mask


def tracked(born: int, left: int, tracked_until: int = 0, **given: object) -> TrackedObject:
    own = TrackedObject(born=born, last_seen=born, class_id=0, class_name='ball', **given)
    own.prompts = {born: conditioning(born, logits(left), tracked_until)}
    return own


def read(obj: TrackedObject) -> frozenset[int]:
    """Return the prompts that a pass has read."""
    return frozenset(obj.prompts) - obj.unread


def late(obj: TrackedObject) -> dict[int, int]:
    """Return the prompts that came when later frames had been tracked, with the newest."""
    return {at: p.tracked_until for at, p in obj.prompts.items() if p.tracked_until > at}


def united(younger: TrackedObject, start: int) -> bool:
    """Whether an object is the one of frame 0, to which it was followed back."""
    older = tracked(0, left=2, id=1)
    followed = MaskPrediction(logits(2), torch.zeros(4), torch.tensor(5.0))
    masks = {
        0: FrameMasks.gather(0, {older: None, younger: followed}, RESIZER),
        6: FrameMasks.gather(6, {older: None, younger: None}, RESIZER),
    }
    return same_before_birth(masks, {}, 0.5, start) == [(older, younger)]


@pytest.mark.parametrize(('given', 'start', 'expected'), [
    ({'id': 2}, 4, True),  # first detected in this window
    ({'id': 2}, 8, False),  # in an earlier one, in which it was found to be new
    ({'id': None}, 8, True),  # late, for a frame before this window
    ({'id': None, 'by_hand': True}, 4, False),  # somebody said so
], ids=['new', 'known', 'late', 'by_hand'])  # fmt: skip
def test_which_objects_may_be_older_ones(given, start, expected):
    assert united(tracked(6, left=9, **given), start) == expected


def test_prompts_that_came_late_stay_late_in_another_object():
    older, younger = tracked(0, left=2, id=1), tracked(6, left=2, tracked_until=9, id=None)
    older.follow(younger, {6})
    assert (late(older), sorted(older.prompts)) == ({6: 9}, [0, 6])
    older.read(8)
    assert (read(older), late(older)) == (frozenset({0}), {6: 9})
    older.read(9)
    assert (read(older), late(older)) == (frozenset({0, 6}), {})
