# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""bfloat16: weights that are cast once give what autocast gives, and banks stay the same."""

import copy

import pytest
import torch

from detsam2_ros.engine.sam2 import model as sam2_model
from detsam2_ros.engine.sam2 import steps
from detsam2_ros.engine.sam2.attended_memories import Context
from detsam2_ros.engine.sam2.memory_attention import KeyCache
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import decode_points, encode_image, encode_memory, track
from oracle import random_sam2
from oracle.pair import random_models

CPU = torch.device('cpu')


def _copy(model: Sam2Model, dtype: torch.dtype) -> Sam2Model:
    return Sam2Model(copy.deepcopy(model.module), model.name, CPU, dtype)


def _all_stages(model: Sam2Model) -> list[torch.Tensor]:
    image = random_sam2.images(1, seed=5)[0]
    box, labels = torch.tensor([[[8.0, 8.0], [52.0, 50.0]]]), torch.tensor([[2, 3]]).int()
    with model.inference():
        features = encode_image(model, model.preprocess(image)[None])[0]
        prompted = decode_points(model, features, box, labels)
        given = torch.zeros(1, 1, model.image_size, model.image_size)
        given[..., 20:60, 20:60] = 1
        masked = steps.decode_masks(model, features, given)
        memories = []
        for decoded in (prompted, masked):
            memories += encode_memory(model, features, decoded, prompted=True)
        context = Context(tuple((m, 3) for m in memories), tuple((m, 0.2) for m in memories))
        tracked = track(model, features, [context], KeyCache())

    def parts(decoded: steps.MaskPrediction) -> list[torch.Tensor]:
        return [decoded.logits, decoded.pointer, decoded.score]

    return [features.top, *parts(prompted), *parts(masked), memories[0].spatial, *parts(tracked)]


@pytest.mark.parametrize('kind', ['sam21', 'sam20', 'odd'])
def test_weights_that_are_cast_once_change_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    model, _ = random_models(kind, 1)
    once = _copy(model, torch.bfloat16)
    assert once.module.memory_attention.layers[0].linear1.weight.dtype == torch.bfloat16
    assert once.module.memory_attention.layers[0].norm1.weight.dtype == torch.float32
    monkeypatch.setattr(sam2_model, '_cast_weights', lambda *_: None)
    always = _copy(model, torch.bfloat16)
    assert always.module.memory_attention.layers[0].linear1.weight.dtype == torch.float32
    for one, other in zip(_all_stages(once), _all_stages(always), strict=True):
        assert torch.equal(one, other)


def test_a_bank_is_good_for_both_precisions() -> None:
    model, _ = random_models('sam21', 1)
    assert _copy(model, torch.bfloat16).identity == _copy(model, torch.float32).identity


def test_the_position_embedding_is_that_of_the_trunk_and_is_made_once() -> None:
    model, _ = random_models('sam21', 1)
    own = _copy(model, torch.float32)
    trunk = own.module.image_encoder.trunk
    calls = []
    resize = torch.nn.functional.interpolate

    def counting(tensor: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        if options.get('mode') == 'bicubic':
            calls.append(tensor.shape)
        return resize(tensor, *args, **options)

    image = own.preprocess(random_sam2.images(1)[0])[None]
    with own.inference(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, 'interpolate', counting)
        kept = [encode_image(own, image)[0].top for _ in range(3)]
        assert len(calls) == 1
        del trunk._get_pos_embed  # the class's own again
        fresh = encode_image(own, image)[0].top
        assert len(calls) == 2
    assert all(torch.equal(top, fresh) for top in kept)
