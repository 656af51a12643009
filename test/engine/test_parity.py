# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine gives the masks of sam2's own video predictor, given the same prompts or bank."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.sam2.model import Sam2Model
from oracle import random_sam2
from oracle.pair import Pair, Script, ScriptedDetector, Seen, random_models

pytestmark = pytest.mark.oracle

# Logits are compared relative to their spread over the image. Both sides store memories in
# bfloat16: where one float32 rounding falls on the other side of a bfloat16 step, that entry
# differs by 1/256, which a pass carries on. So most logits agree to float32, a few to 1/100.
TYPICAL = 1e-4
WORST = 2e-2

_BOXES = {
    1: (8, 8, 52, 50), 2: (60, 18, 112, 82), 3: (30, 48, 74, 92), 4: (84, 4, 124, 40),
    5: (4, 60, 40, 94),
}


@dataclass(frozen=True)
class Scenario:
    """A run: K, D, M, frames, from when each class is detected and where it is missed.

    flush: frames after which the window is closed early (the last one always is).
    """

    K: int
    D: int
    M: int
    frames: int
    since: dict[int, int]
    missed: tuple[tuple[int, int], ...] = ()
    flush: tuple[int, ...] = ()
    options: dict[str, object] = field(default_factory=dict)

    def script(self) -> Script:
        """Return the boxes that the detector finds, drifting."""
        if not self.D:
            return {}
        found = {}
        for frame in range(0, self.frames, self.D):
            found[frame] = {
                c: tuple(edge + frame % 7 - 3 for edge in _BOXES[c])
                for c, first in self.since.items()
                if frame >= first and (c, frame) not in self.missed
            }
        return found

    def config(self) -> EngineConfig:
        """Return the engine's parameters; nothing is forgotten unless options say so."""
        settings = {
            'mode': 'window', 'association': 'class', 'max_conditioned_memories': 1000,
            'max_lost_frames': 10_000, 'merge_iou': 1.0, 'confirm_detections': 0, **self.options,
        }
        return EngineConfig(
            window_size=self.K, detect_interval=self.D, max_propagation=self.M, **settings)


SCENARIOS = {
    'usual': Scenario(4, 4, 8, 16, {1: 0, 2: 4, 3: 0}, missed=((1, 4), (3, 8))),
    'shortest_reach': Scenario(4, 4, 4, 12, {1: 0, 2: 0}, missed=((2, 4),)),
    'uneven': Scenario(4, 3, 6, 15, {1: 0, 2: 3, 3: 9}, missed=((1, 6), (1, 9), (2, 12))),
    'few_detections': Scenario(3, 7, 8, 15, {1: 0, 2: 7}),
    'many_detections': Scenario(
        6, 2, 12, 14, {1: 0, 2: 2, 3: 4, 4: 6, 5: 8}, missed=((1, 2), (2, 6), (3, 8), (3, 10))
    ),
    'one_by_one': Scenario(1, 2, 3, 7, {1: 0, 2: 2}, missed=((1, 2),)),
    'flushed': Scenario(5, 5, 10, 17, {1: 0, 2: 5}, missed=((1, 5),), flush=(1, 7)),
    'encoded_in_batches': Scenario(
        5, 2, 10, 12, {1: 0, 2: 4}, missed=((1, 4),), flush=(3,), options={'encode_batch': 4}
    ),
    'late_start': Scenario(3, 3, 7, 12, {1: 6, 2: 6, 3: 9}),
    'capped': Scenario(
        4, 2, 9, 17, {1: 0, 2: 2}, missed=((1, 6),), options={'max_conditioned_memories': 2}
    ),
    'capped_at_one': Scenario(3, 3, 7, 12, {1: 0, 2: 3}, options={'max_conditioned_memories': 1}),
    # Longer than the 15 pointers and 6 memories that a frame can read.
    'long': Scenario(10, 10, 20, 40, {1: 0, 2: 10}, missed=((1, 10),)),
    'stopped_early': Scenario(
        4, 4, 12, 16, {1: 0, 2: 4}, missed=((1, 4), (2, 8)),
        options={'early_stop_iou': 0.5, 'early_stop_frames': 1},
    ),  # fmt: skip
    'instances': Scenario(
        4, 4, 8, 12, {1: 0, 2: 4, 3: 0}, options={'association': 'instance', 'match_iou': 0.2}
    ),
}
SCENARIOS |= {  # with the windows of the report
    f'{name}, plain': replace(SCENARIOS[name], options={'windows': 'plain'})
    for name in ('usual', 'uneven', 'flushed', 'long')
}

# The models are chaotic to some degree; of these the predictor itself, given images with a
# noise of 1e-6, changes its logits by less than 1/100. One model carries each rule somewhere.
RUNS = [
    ('usual', 'sam21', 8), ('usual', 'sam20', 8), ('usual', 'odd', 7),
    ('shortest_reach', 'sam21', 4), ('uneven', 'sam21', 8), ('uneven', 'odd', 1),
    ('few_detections', 'sam20', 1), ('many_detections', 'sam21', 1),
    ('one_by_one', 'sam21', 4), ('one_by_one', 'odd', 1), ('flushed', 'sam21', 1),
    ('flushed', 'odd', 7), ('encoded_in_batches', 'sam21', 8), ('late_start', 'sam20', 8),
    ('capped', 'sam21', 4), ('capped', 'odd', 1), ('capped_at_one', 'sam20', 1),
    ('long', 'sam21', 1), ('long', 'sam20', 1), ('stopped_early', 'sam21', 8),
    ('stopped_early', 'sam20', 8), ('instances', 'sam21', 4), ('usual, plain', 'sam21', 8),
    ('uneven, plain', 'odd', 1), ('flushed, plain', 'sam21', 1), ('long, plain', 'sam21', 1),
]


def beside(
    config: EngineConfig, script: Script, kind: str, seed: int, pair_type: type[Pair] = Pair
) -> Pair:
    """Put an engine with scripted detections beside the oracle, on a random model."""
    model, predictor = random_models(kind, seed)
    detector = ScriptedDetector(script, config.detect_interval)
    return pair_type(Engine(model, detector, config), predictor, script)


def run(
    scenario: Scenario, kind: str, seed: int, pair_type: type[Pair] = Pair, mode: str = 'window'
) -> Pair:
    """Run a scenario through the engine and the oracle."""
    config = replace(scenario.config(), mode=mode)
    pair = beside(config, scenario.script(), kind, seed, pair_type)
    for frame, image in enumerate(random_sam2.images(scenario.frames, seed=seed)):
        pair.push(image)
        if frame + 1 in scenario.flush:
            pair.flush()
    pair.flush()
    return pair


def differences(seen: list[Seen]) -> np.ndarray:
    """Return the largest difference of the logits of each, relative to their spread."""
    return np.array([
        float((s.engine - s.oracle).abs().max() / s.oracle.std().clamp_min(1e-3))
        for s in seen if s.visible
    ])


def check(seen: list[Seen], typical: float = TYPICAL) -> None:
    apart = [
        (s.newest, s.frame, s.name) for s in seen if s.visible != bool((s.engine > -1000).any())
    ]
    assert not apart, f'present for one side only: {apart}'
    assert np.mean([s.iou for s in seen]) >= 0.999
    found = differences(seen)
    assert len(found)
    assert np.median(found) <= typical
    assert found.max() <= WORST


@pytest.mark.parametrize(('name', 'kind', 'seed'), RUNS)
def test_same_as_predictor(name: str, kind: str, seed: int) -> None:
    scenario = SCENARIOS[name]
    pair = run(scenario, kind, seed)
    check(pair.seen)
    assert sorted(pair.published) == list(range(scenario.frames))
    # Every frame of every pass, for every object that was known by then.
    assert any(not s.prompted for s in pair.seen) or scenario.K == scenario.M
    assert pair.engine.stats().encodings == scenario.frames
    assert bool(pair.left_out) == (name == 'stopped_early')


# ---- memory banks: conditioned memories from before the first frame, to sam2 as to us
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
        max_conditioned_memories=1000, max_lost_frames=10_000, confirm_detections=0,
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
def test_with_a_bank_as_the_predictor(setup: tuple[str, int, Script], window: int) -> None:
    kind, seed, script = setup
    pair, keys = run_with_bank(script, kind, seed, window, 4 if window == 1 else 9)
    check(pair.seen)
    assert keys <= {s.name for s in pair.seen if s.visible}
    assert {s.frame for s in pair.seen if s.name in keys} == set(pair.published)
