# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online gives the masks of sam2's own predictor, running forward and then in reverse."""

import pytest
from test_parity import SCENARIOS, SCRIPTS, TYPICAL, check, run, run_with_bank
from test_parity_demo import run as run_demo

from oracle.online import OnlinePair

pytestmark = pytest.mark.oracle

# Random models are chaotic to some degree, see test_parity: these are calm going forward too.
RUNS = [
    ('usual', 'sam21', 8), ('usual', 'sam20', 8), ('usual', 'odd', 7),
    ('shortest_reach', 'sam21', 4), ('uneven', 'odd', 1), ('few_detections', 'sam20', 1),
    ('many_detections', 'sam21', 1), ('one_by_one', 'sam21', 4), ('flushed', 'sam21', 1),
    ('late_start', 'sam20', 8), ('capped', 'sam21', 4), ('capped', 'odd', 1),
    ('capped_at_one', 'sam20', 1), ('long', 'sam21', 4), ('stopped_early', 'sam21', 8),
]

# Forward tracking never restarts: it carries roundings further than a pass does. A broken
# rule changes ten times TYPICAL, see test_parity_weights.
FORWARD_TYPICAL = 3 * TYPICAL


@pytest.mark.parametrize(('name', 'kind', 'seed'), RUNS)
def test_same_as_predictor(name: str, kind: str, seed: int) -> None:
    scenario = SCENARIOS[name]
    pair = run(scenario, kind, seed, OnlinePair, 'online')
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


@pytest.mark.parametrize(('kind', 'seed', 'script'), SCRIPTS)
def test_a_bank_is_read_as_by_the_predictor(kind: str, seed: int, script: dict) -> None:
    pair, keys = run_with_bank(script, kind, seed, 4, 9, OnlinePair, 'online')
    check(pair.forward, FORWARD_TYPICAL)
    if script:  # without prompts there is nothing for a pass to tell
        check(pair.seen)
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
