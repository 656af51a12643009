# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is drawn of an entry: weights as attention has them, coverage as the mask was."""

from __future__ import annotations

import fakes
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from detsam2_ros.banks.attention_map import looks
from detsam2_ros.banks.views import Mark, View, build_bank
from detsam2_ros.engine import load_sam2
from detsam2_ros.engine.sam2.attended_memories import Context
from detsam2_ros.engine.sam2.steps import encode_image, track
from detsam2_ros.scene.scene import render


@pytest.fixture(scope='module')
def seen():
    """Return the model, an entry for each ball of frame 0, their masks, frame 1, and its looks."""
    model = load_sam2('demo')
    first, second = render(seed=3, length=2)
    marks = tuple(
        Mark(f'ball-{i}', 0, 'ball', mask=first.labels == i)
        for i in first.ids[first.visible].tolist()
    )
    bank = build_bank(model, [View(first.image, marks)], 'test')
    return model, bank.entries, marks, second, list(looks(model, bank.entries, second.image))


def on_grid(mask: np.ndarray, side: int) -> np.ndarray:
    return F.adaptive_avg_pool2d(torch.from_numpy(mask[None, None].astype(np.float32)), side)[0, 0]


def alike(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def test_coverage_is_where_the_object_was(seen):
    model, _, marks, _, found = seen
    for mark, look in zip(marks, found, strict=True):
        assert look.coverage.min() >= 0 and look.coverage.max() <= 1
        assert alike(look.coverage, on_grid(mark.mask, model.feature_size)) > 0.9


def test_heat_is_hottest_at_the_object(seen):
    model, entries, _, frame, found = seen
    near = 0
    for entry, look in zip(entries, found, strict=True):
        assert look.heat.min() >= 0 and look.heat.max() <= 1
        ball = int(entry.object_key.removeprefix('ball-'))
        y, x = np.unravel_index(look.heat.argmax(), look.heat.shape)
        own = on_grid(frame.labels == ball, model.feature_size).numpy()
        near += bool(own[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].any())
    assert near >= 0.8 * len(found)


def test_masks_are_those_that_each_entry_gives(seen):
    _, entries, _, frame, found = seen
    ious = []
    for entry, look in zip(entries, found, strict=True):
        truth = frame.labels == int(entry.object_key.removeprefix('ball-'))
        ious.append((look.mask & truth).sum() / max((look.mask | truth).sum(), 1))
        assert look.mask.any() == (look.score > 0.5)
    assert np.mean(ious) > 0.7


def test_the_watched_weights_are_those_that_are_used(seen):
    """What the weights say is read is what the layer's values say, and masks do not change."""
    model, entries, _, frame, _ = seen
    weights = []
    with model.inference():
        features = encode_image(model, model.preprocess(frame.image)[None])[0]
        row = model.module.num_maskmem - 1
        contexts = [Context(((entry.memory, row),), ()) for entry in entries[:2]]
        plain = track(model, features, contexts)
        watched = track(model, features, contexts, watch=weights.append)
        tokens = torch.stack([e.memory.spatial.float().flatten(1).T for e in entries[:2]])
        layer = model.module.memory_attention.layers[0].cross_attn_image
        read = layer.out_proj(layer.v_proj(weights[0] @ tokens))
        values = []
        original = type(model.attention)._attend
        attend = lambda self, *args: values.append(original(self, *args)) or values[-1]  # noqa: E731
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(model.attention), '_attend', attend)
            track(model, features, contexts)
    assert torch.equal(plain.logits, watched.logits)
    assert len(weights) == len(model.module.memory_attention.layers)
    for each in weights:
        torch.testing.assert_close(each.sum(-1), torch.ones_like(each[..., 0]))
    torch.testing.assert_close(read, values[0], rtol=1e-3, atol=1e-4)


def test_a_model_whose_attention_cannot_be_watched_gives_masks_only():
    model = fakes.colour_sam2()
    image = fakes.scene(('red', 30, 30, 12), size=(64, 64))
    mark = Mark('red', 0, 'red', box=fakes.disc_box(30, 30, 12))
    bank = build_bank(model, [View(image, (mark,))], 'test')
    look = next(looks(model, bank.entries, image))
    assert look.heat is None and look.mask.any()
