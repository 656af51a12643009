# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A memory bank counts as conditioned memories from before the first frame, to sam2 as to us."""

import pytest
from test_parity import beside, check

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.sam2.model import Sam2Model
from oracle import random_sam2
from oracle.pair import Pair, Script, ScriptedDetector

pytestmark = pytest.mark.oracle


def recorded_bank(model: Sam2Model) -> MemoryBank:
    """Record two objects on another film: class 1 on two frames, class 2 on one."""
    script = {0: {1: (8, 8, 52, 50)}, 3: {1: (10, 9, 55, 50), 2: (60, 18, 112, 82)}}
    config = EngineConfig(3, 3, 6, mode='window', association='class')
    stream = Engine(model, ScriptedDetector(script, 3), config).open_stream('recording')
    for index, image in enumerate(random_sam2.images(6, seed=40)):
        stream.push(image, index)
    bank = stream.export_bank(8)
    assert sorted(entry.class_id for entry in bank.entries) == [1, 1, 2]
    return bank


def run_with_bank(
    script: Script, kind: str, seed: int, window: int, frames: int,
    pair_type: type[Pair] = Pair, mode: str = 'window',
) -> tuple[Pair, set[str]]:
    """Run a film beside the oracle, both with the recorded bank; returns the bank's keys too."""
    config = EngineConfig(
        window, 2 if script else 0, 2 * window, mode=mode, association='class',
        max_conditioned_memories=1000, max_lost_frames=10_000,
        bank_object_score=0.0, bank_object_frames=1,  # to sam2 an object is there or not
    )
    pair = beside(config, script, kind, seed, pair_type)
    bank = recorded_bank(pair.engine.model)
    pair.load_bank(bank)
    for image in random_sam2.images(frames, seed=seed):
        pair.push(image)
    pair.flush()
    return pair, {entry.object_key for entry in bank.entries}


# No prompt at all, and prompts for a bank object and for another.
SCRIPTS = [
    ('sam21', 4, {}),
    ('sam21', 4, {4: {1: (30, 48, 74, 92), 3: (84, 4, 124, 40)}}),
    ('sam20', 8, {2: {3: (84, 4, 124, 40)}, 6: {2: (30, 48, 74, 92)}}),
]


# Frame 0 alone first: K=1.
@pytest.mark.parametrize(('setup', 'window'), list(zip(SCRIPTS, (1, 4, 3), strict=True)))
def test_same_as_predictor(setup: tuple[str, int, Script], window: int) -> None:
    kind, seed, script = setup
    pair, keys = run_with_bank(script, kind, seed, window, 4 if window == 1 else 9)
    check(pair.seen)
    assert keys <= {s.name for s in pair.seen if s.visible}
    assert {s.frame for s in pair.seen if s.name in keys} == set(pair.published)
