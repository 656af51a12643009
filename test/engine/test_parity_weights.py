# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The random models of the comparison: sensitive enough to notice a broken rule."""

import functools
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from test_parity import RUNS, TYPICAL, WORST
from test_parity_pass import encoded, prompted, run_pass

from detsam2_ros.engine.sam2.attended_memories import Context, select_context
from detsam2_ros.engine.sam2.steps import ImageFeatures
from detsam2_ros.engine.tracking import reverse_pass
from detsam2_ros.engine.tracking.reverse_pass import PassOutput
from oracle import configs
from oracle.pair import random_models
from oracle.random_sam2 import random_weights

pytestmark = pytest.mark.oracle

MODELS = sorted({(kind, seed) for _, kind, seed in RUNS})


@functools.cache
def _features(kind: str, seed: int) -> dict[int, ImageFeatures]:
    return encoded(random_models(kind, seed)[0], 9)


def _pass(kind: str, seed: int, binarised: bool = True) -> list[PassOutput]:
    """Run a pass over three objects; binarised=False breaks the rule for prompted masks."""
    model, _ = random_models(kind, seed)
    features = _features(kind, seed)
    with mock.patch.object(model.module, 'binarize_mask_from_pts_for_mem_enc', binarised):
        objects = [
            prompted(model, features, frames, row)
            for row, frames in enumerate([(1, 5), (5,), (3,)])
        ]
    return run_pass(model, features, objects, 8, 0)


@functools.cache
def _expected(kind: str, seed: int) -> list[PassOutput]:
    return _pass(kind, seed)


@pytest.fixture(scope='module', autouse=True)
def _expected_before_anything_is_broken() -> None:
    for model in MODELS:
        _expected(*model)


def _logits(outputs: list[PassOutput]) -> list[torch.Tensor]:
    return [t.logits for output in outputs for t in output.tracked.values()]


def _changed(one: list[PassOutput], other: list[PassOutput]) -> float:
    """Return the share of visible masks that are clearly others."""
    changed = []
    for a, b in zip(_logits(one), _logits(other), strict=True):
        either = ((a > 0) | (b > 0)).sum()
        if either:
            changed.append(float(((a > 0) & (b > 0)).sum() / either) < 0.97)
    return float(np.mean(changed))


def _noticed(broken: Callable[[str, int], list[PassOutput]]) -> bool:
    """Tell whether the comparison of one of the models would fail, by far."""
    for model in MODELS:
        found = [
            float((a - b).abs().max() / a.std().clamp_min(1e-3))
            for a, b in zip(_logits(_expected(*model)), _logits(broken(*model)), strict=True)
            if (a > -1000).any()
        ]
        if np.median(found) > 10 * TYPICAL or max(found) > 5 * WORST:
            return True
    return False


def _mutated(change: Callable[[Context], Context]) -> Callable[..., Context]:
    return lambda *args, **options: change(select_context(*args, **options))


def _reversed(rows: int) -> Callable[[Context], Context]:
    return lambda c: replace(c, spatial=tuple((m, rows - 1 - row) for m, row in c.spatial))


def _without(context: Context, rank: int) -> Context:
    """Leave out the memory that is the nearest (0), next (1), ... of those that are tracked."""
    rows = sorted({row for _, row in context.spatial})[:-1]
    if len(rows) <= abs(rank):
        return context
    return replace(context, spatial=tuple((m, r) for m, r in context.spatial if r != rows[rank]))


def _one_conditioned(context: Context) -> Context:
    """Leave out the older of two conditioned memories."""
    (_, first), (_, second) = (*context.spatial, (None, -1))[:2]
    return replace(context, spatial=context.spatial[1:]) if first == second else context


def _later(context: Context) -> Context:
    """Give every tracked memory the temporal code of the next nearer one."""
    last = max(row for _, row in context.spatial)
    return replace(
        context,
        spatial=tuple((m, r if r == last else max(r - 1, 0)) for m, r in context.spatial),
    )


MUTATIONS: dict[str, Callable[[Context], Context]] = {
    'codes shifted': _later,
    'farthest memory missing': lambda c: _without(c, -1),
    'nearest memory missing': lambda c: _without(c, 0),
    'one conditioned memory missing': _one_conditioned,
    'no pointers': lambda c: replace(c, pointers=()),
    'farthest pointer missing': lambda c: replace(c, pointers=c.pointers[:-1]),
    'pointer distances scaled': lambda c: replace(
        c, pointers=tuple((m, d * 15 / 16) for m, d in c.pointers)
    ),
}


@pytest.mark.parametrize(('kind', 'seed'), MODELS)
def test_masks_follow_the_temporal_codes(kind: str, seed: int) -> None:
    rows = random_models(kind, seed)[0].module.num_maskmem
    with mock.patch.object(reverse_pass, 'select_context', _mutated(_reversed(rows))):
        other = _pass(kind, seed)
    assert _changed(_expected(kind, seed), other) > 0.5


@pytest.mark.parametrize('name', MUTATIONS)
def test_a_broken_rule_of_what_is_read_is_noticed(name: str) -> None:
    with mock.patch.object(reverse_pass, 'select_context', _mutated(MUTATIONS[name])):
        assert _noticed(_pass)


def test_a_prompted_mask_that_is_not_binarised_is_noticed() -> None:
    assert _noticed(functools.partial(_pass, binarised=False))


def test_objects_are_seen_and_not_seen_with_masks_of_some_size() -> None:
    there, areas = [], []
    for kind, seed in MODELS:
        for logits in _logits(_expected(kind, seed)):
            there.append(bool((logits > -1000).any()))
            if there[-1]:
                areas.append(float((logits > 0).float().mean()))
    assert 0.5 < np.mean(there) < 1
    assert np.quantile(areas, 0.02) > 0.02
    assert np.quantile(areas, 0.98) < 0.98


def test_weights_depend_on_the_seed_alone() -> None:
    settings = configs.config('sam21')
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    one = random_weights(settings, 3)
    assert torch.equal(torch.rand(3), before)
    other = random_weights(settings, 3)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert not torch.equal(one['no_obj_ptr'], random_weights(settings, 4)['no_obj_ptr'])
