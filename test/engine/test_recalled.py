# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a look for dormant objects concludes, by where and how surely each was found."""

from types import SimpleNamespace

import numpy as np
import pytest

from detsam2_ros.engine import Detections, EngineConfig
from detsam2_ros.engine.tracking import dormant
from detsam2_ros.engine.tracking.dormant import Look, asleep, recalled
from detsam2_ros.engine.tracking.objects import BankView, TrackedObject

HERE, THERE, NOWHERE = (0, 0, 10, 10), (20, 0, 30, 10), (0, 0, 0, 0)
BESIDE = (1, 0, 11, 10)  # a second box around what is here
SURE = 9.0  # logit of presence
TOOLS = SimpleNamespace(config=EngineConfig())


@pytest.fixture
def look(monkeypatch):
    def look(found, boxes=(HERE,), detected=None, living=(), unseen=0, ask=1):
        """Look at boxes for objects that were found so; returns them, and the outcome.

        found: place and logit of each, the last `unseen` of which are living ones.
        """
        places, logits = zip(*found, strict=True)
        monkeypatch.setattr(dormant, '_searched', lambda *given: (
            np.array(places, np.float32), np.array(logits)))  # fmt: skip
        away = [TrackedObject(i, 0, 'ball') for i in range(1, len(found) + 1)]
        asked = away[: len(away) - unseen]
        every = np.array(boxes if detected is None else detected, np.float32)
        count = len(every)
        frame = SimpleNamespace(
            detections=Detections(every, np.zeros(count, int), np.full(count, 0.9)))
        living = [TrackedObject(9, 0, 'ball', looks_like=(away[i].serial, n)) for i, n in living]
        outcome = recalled(
            TOOLS, frame, np.array(boxes, np.float32), np.zeros(len(boxes), int), asked,
            living, away[len(asked) :],
        )  # fmt: skip
        return away, outcome

    return look


def test_one_that_is_surely_there_is_meant(look):
    (one,), outcome = look([(HERE, SURE)])
    assert outcome == {0: Look(one, contested=False)}


@pytest.mark.parametrize('found', [(NOWHERE, SURE), (THERE, SURE), (HERE, -1.0)])
def test_one_that_is_not_there_says_nothing(look, found):
    assert look([found])[1] == {}


def test_one_that_is_there_and_not_sure_leaves_a_doubt(look):
    assert look([(HERE, 0.5)])[1] == {0: Look(None)}


@pytest.mark.parametrize('rival, clear', [(2.9, True), (3.1, False), (8.0, False)])
def test_it_must_be_clearly_better_than_another_that_is_there(look, rival, clear):
    (one, _), outcome = look([(HERE, SURE), (HERE, rival)])
    assert outcome == {0: Look(one, contested=True) if clear else Look(None)}


def test_one_that_is_found_beside_all_detections_may_be_meant(look):
    assert look([(HERE, SURE), (NOWHERE, 8.0)])[1] == {0: Look(None)}


@pytest.mark.parametrize('unseen', [0, 1])
def test_one_that_is_found_at_another_detection_is_not_meant_here(look, unseen):
    (one, _), outcome = look(
        [(HERE, SURE), (THERE, 8.0)], detected=(HERE, THERE), unseen=unseen)
    assert outcome == {0: Look(one, contested=True)}


@pytest.mark.parametrize('looks, contested', [(1, True), (2, False)])
def test_it_is_not_in_doubt_where_the_other_often_looked_like_who_is_there(
    look, looks, contested
):
    (one, _), outcome = look(
        [(HERE, SURE), (THERE, 8.0)], detected=(HERE, THERE), living=[(1, looks)])
    assert outcome == {0: Look(one, contested)}


def test_one_that_two_boxes_show_is_in_doubt(look):
    assert look([(HERE, SURE)], boxes=(HERE, BESIDE))[1] == {0: Look(None), 1: Look(None)}


def test_one_that_a_bank_knows_does_not_sleep():
    """It is looked for on every frame."""
    config = EngineConfig(max_dormant_objects=4)
    prompts = {3: SimpleNamespace(memory=None)}
    plain, banked, tentative = (
        TrackedObject(i, 0, 'ball', prompts=prompts, confirmed=i != 3, bank=bank)  # type: ignore
        for i, bank in ((1, BankView()), (2, BankView(('a',), (None,))), (3, BankView()))
    )
    assert [obj.id for obj in asleep((), [plain, banked, tentative], config)] == [1]
