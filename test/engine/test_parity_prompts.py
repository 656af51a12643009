# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prompts by hand give the masks that sam2's own predictor gives for them."""

import numpy as np
import pytest
import torch

from detsam2_ros.engine.sam2 import steps
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.prompts import Prompt, decode_prompt
from detsam2_ros.engine.sam2.steps import decode_points, encode_image
from oracle import random_sam2
from oracle.driver import Oracle
from oracle.pair import random_models

pytestmark = pytest.mark.oracle

SEEDS = {'sam21': 8, 'sam20': 8, 'odd': 7}  # random models that see something in the box
BOX = (31.5, 20.0, 70.0, 61.25)
POINTS = np.array([[50.0, 40.0], [12.0, 80.5], [60.0, 33.0]])
LABELS = np.array([1, 0, 1])
MASK = np.zeros((96, 128), bool)
MASK[30:70, 40:90] = True


class Side:
    """One frame for both: ours and the predictor's."""

    def __init__(self, kind: str):
        self.model, predictor = random_models(kind, SEEDS[kind])
        (image,) = random_sam2.images(1, seed=SEEDS[kind])
        self.size = image.shape[0], image.shape[1]
        self.oracle = Oracle(predictor, *self.size)
        pixels = self.model.preprocess(image)
        self.oracle.append(pixels)
        with self.model.inference():
            self.features = encode_image(self.model, pixels[None])[0]

    def expected(self, call: str, **prompt: object) -> torch.Tensor:
        state = self.oracle.state
        with self.model.inference():
            getattr(self.oracle.predictor, call)(state, 0, 1, **prompt)
        outputs = state['temp_output_dict_per_obj'][0]['cond_frame_outputs'][0]
        return outputs['pred_masks'][0, 0]

    def ours(self, prompt: Prompt) -> torch.Tensor:
        with self.model.inference():
            return decode_prompt(self.model, self.features, prompt, self.size, None).logits[0]


@pytest.fixture(params=['sam21', 'sam20', 'odd'])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    assert float(a.std()) > 0
    assert float((a - b).abs().max()) <= 1e-4 * float(b.std())


@pytest.mark.parametrize('points', [1, 2, 3])
@pytest.mark.parametrize('box', [False, True])
def test_points_with_and_without_a_box(side, points, box):
    given = {'points': POINTS[:points], 'labels': LABELS[:points]}
    prompt = Prompt(box=BOX if box else None, **given)
    close(
        side.ours(prompt),
        side.expected('add_new_points_or_box', **given, **({'box': BOX} if box else {})),
    )


def test_a_box(side):
    close(side.ours(Prompt(box=BOX)), side.expected('add_new_points_or_box', box=BOX))


def test_a_mask(side):
    expected = side.expected('add_new_mask', mask=torch.from_numpy(MASK))
    close(side.ours(Prompt(mask=MASK)), expected)


def test_points_that_correct_a_mask(side):
    before = side.expected('add_new_points_or_box', box=BOX)
    assert (before > 0).any()
    expected = side.expected(
        'add_new_points_or_box', points=POINTS[1:2], labels=LABELS[1:2])
    found = correction(side.model, side.features, side.size, before.clamp(-32, 32))
    close(found.logits[0], expected)
    assert not torch.equal(side.ours(Prompt(points=POINTS[1:2], labels=[1])), expected)


def correction(
    model: Sam2Model, features: steps.ImageFeatures, size: tuple[int, int], before: torch.Tensor
) -> steps.MaskPrediction:
    scale = model.image_size / np.array([size[1], size[0]])
    points = torch.from_numpy((POINTS[1:2] * scale).astype(np.float32))[None]
    labels = torch.from_numpy(LABELS[1:2].astype(np.int32))[None]
    with model.inference():
        return decode_points(model, features, points, labels, before[None, None])
