# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The shipped model, trained, on the procedural scene: the masks of sam2's own predictor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from oracle.driver import build_predictor
from oracle.pair import Pair, ScriptedDetector
from test_parity import check

from detsam2_ros.demo.scene import render
from detsam2_ros.engine import Engine, EngineConfig, load_sam2

pytestmark = pytest.mark.oracle

CHECKPOINT = Path(__file__).parent.parent / 'models' / 'detsam2_demo.pt'


@pytest.mark.skipif(not CHECKPOINT.exists(), reason='models/detsam2_demo.pt is not there yet')
@pytest.mark.parametrize('association', ['class', 'instance'])
def test_same_as_predictor(association: str) -> None:
    model = load_sam2('demo')
    settings = OmegaConf.to_container(OmegaConf.load(CHECKPOINT.with_suffix('.yaml')))
    weights = torch.load(CHECKPOINT, weights_only=True)
    weights = {name: value.float() for name, value in weights.get('model', weights).items()}
    predictor = build_predictor(settings, weights)

    film = render(3, 12)
    # One ball of each class, three at most; one is missed on the second detection frame.
    classes = list(dict.fromkeys(film[0].class_ids.tolist()))[:3]
    script = {
        frame.index: {
            c: frame.boxes[row].tolist()
            for c in classes
            for row in [frame.class_ids.tolist().index(c)]
            if frame.visible_fraction[row] > 0.3 and (c, frame.index) != (classes[0], 4)
        }
        for frame in film[::4]
    }
    config = EngineConfig(4, 4, 8, association=association, max_conditioned_memories=1000)
    pair = Pair(Engine(model, ScriptedDetector(script, 4), config), predictor, script)
    for frame in film:
        pair.push(frame.image)
    check(pair.seen)
    # The masks are those of balls, not of noise.
    truth = {frame.index: frame for frame in film}
    overlaps = []
    for index, result in pair.published.items():
        for entry, mask in zip(result.objects, result.masks, strict=True):
            row = truth[index].class_ids.tolist().index(entry.class_id)
            ball = truth[index].labels == truth[index].ids[row]
            if ball.any():
                overlaps.append((mask & ball).sum() / (mask | ball).sum())
    assert np.mean(overlaps) > 0.5
