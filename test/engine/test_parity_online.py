# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online gives the masks of sam2's own predictor, running forward and then in reverse."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_parity import SCENARIOS, TYPICAL, Scenario, check
from test_parity_bank import recorded_bank
from test_parity_demo import run as run_demo

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.engine import Engine
from oracle import random_sam2
from oracle.online import OnlinePair
from oracle.pair import ScriptedDetector, random_models

pytestmark = pytest.mark.oracle

# Random models are chaotic to some degree, see test_parity: these are calm going forward too.
RUNS = [
    ('usual', 'sam21', 8),
    ('usual', 'sam20', 8),
    ('usual', 'odd', 7),
    ('shortest_reach', 'sam21', 4),
    ('uneven', 'odd', 1),
    ('few_detections', 'sam20', 1),
    ('many_detections', 'sam21', 1),
    ('one_by_one', 'sam21', 4),
    ('flushed', 'sam21', 1),
    ('late_start', 'sam20', 8),
    ('capped', 'sam21', 4),
    ('capped', 'odd', 1),
    ('capped_at_one', 'sam20', 1),
    ('long', 'sam21', 4),
    ('stopped_early', 'sam21', 8),
]

# Forward tracking never restarts: it carries roundings further than a pass does. A broken
# rule changes ten times TYPICAL, see test_parity_weights.
FORWARD_TYPICAL = 3 * TYPICAL


def run(scenario: Scenario, kind: str, seed: int) -> OnlinePair:
    """Run a scenario through the engine and the oracles."""
    model, predictor = random_models(kind, seed)
    script = scenario.script()
    config = replace(scenario.config(), mode='online')
    detector = ScriptedDetector(script, scenario.D)
    pair = OnlinePair(Engine(model, detector, config), predictor, script)
    for frame, image in enumerate(random_sam2.images(scenario.frames, seed=seed)):
        pair.push(image)
        if frame + 1 in scenario.flush:
            pair.flush()
    pair.flush()
    return pair


@pytest.mark.parametrize(('name', 'kind', 'seed'), RUNS)
def test_same_as_predictor(name: str, kind: str, seed: int) -> None:
    scenario = SCENARIOS[name]
    pair = run(scenario, kind, seed)
    check(pair.forward, FORWARD_TYPICAL)
    check(pair.seen)
    stats = pair.engine.stats()
    assert stats.encodings == stats.published_frames == scenario.frames
    tracked = [s for s in pair.forward if not s.prompted]
    assert tracked
    assert bool(pair.left_out) == (name == 'stopped_early')
    if scenario.M > scenario.K:
        assert any(not s.prompted for s in pair.seen)
    # One inference a frame: what is prompted was tracked before, to be told from others.
    assert stats.associated_frames == 0
    assert len(tracked) <= stats.forward_frames <= len(pair.forward)


@pytest.mark.parametrize(('kind', 'seed', 'script'), [
    ('sam21', 4, {}),
    ('sam21', 4, {4: {1: (30, 48, 74, 92), 3: (84, 4, 124, 40)}}),
    ('sam20', 8, {2: {3: (84, 4, 124, 40)}, 6: {2: (30, 48, 74, 92)}}),
])
def test_a_bank_is_read_as_by_the_predictor(kind: str, seed: int, script: dict) -> None:
    model, predictor = random_models(kind, seed)
    config = EngineConfig(
        4,
        2 if script else 0,
        8,
        mode='online',
        association='class',
        max_conditioned_memories=1000,
        max_lost_frames=10_000,
        bank_object_score=0.0,  # to sam2 an object is there or not
        bank_object_frames=1,
    )
    pair = OnlinePair(Engine(model, ScriptedDetector(script, 2), config), predictor, script)
    bank = recorded_bank(model)
    pair.load_bank(bank)
    for image in random_sam2.images(9, seed=seed):
        pair.push(image)
    pair.flush()
    check(pair.forward, FORWARD_TYPICAL)
    if script:  # without prompts there is nothing for a pass to tell
        check(pair.seen)
    keys = {entry.object_key for entry in bank.entries}
    assert keys <= {s.name for s in pair.forward if s.visible}


def test_objects_told_apart_by_the_forward_track_have_the_masks_of_the_predictor() -> None:
    # The shipped model on a demo scene where it loses no ball: of one that was
    # lost and is found again, the engine forgets the trail, the predictor does not.
    pair = run_demo('instance', 'float32', OnlinePair, mode='online', seed=4)
    check(pair.forward, FORWARD_TYPICAL)
    check(pair.seen)
    stats = pair.engine.stats()
    assert stats.objects == len({s.name for s in pair.seen}) == 3
    assert stats.associated_frames == 0
