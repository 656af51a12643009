# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A memory bank counts as conditioned memories from before the first frame, to sam2 as to us."""

from __future__ import annotations

import pytest
from test_parity import check

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.sam2.model import Sam2Model
from oracle import random_sam2
from oracle.pair import Pair, ScriptedDetector, random_models

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


# Frame 0 alone first (K=1), no prompt at all, and prompts for a bank object and for another.
@pytest.mark.parametrize(('kind', 'seed', 'window', 'script'), [
    ('sam21', 4, 1, {}),
    ('sam21', 4, 4, {4: {1: (30, 48, 74, 92), 3: (84, 4, 124, 40)}}),
    ('sam20', 8, 3, {2: {3: (84, 4, 124, 40)}, 6: {2: (30, 48, 74, 92)}}),
])
def test_same_as_predictor(kind: str, seed: int, window: int, script: dict) -> None:
    model, predictor = random_models(kind, seed)
    config = EngineConfig(
        window,
        2 if script else 0,
        2 * window,
        mode='window',
        association='class',
        max_conditioned_memories=1000,
        max_lost_frames=10_000,
        bank_object_score=0.0,  # to sam2 an object is there or not
        bank_object_frames=1,
    )
    pair = Pair(Engine(model, ScriptedDetector(script, 2), config), predictor, script)
    bank = recorded_bank(model)
    pair.load_bank(bank)
    for image in random_sam2.images(4 if window == 1 else 9, seed=seed):
        pair.push(image)
    pair.flush()
    check(pair.seen)
    keys = {entry.object_key for entry in bank.entries}
    assert keys <= {s.name for s in pair.seen if s.visible}
    assert {s.frame for s in pair.seen if s.name in keys} == set(pair.published)
