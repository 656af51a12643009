# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bank built from marked images is one that finds the objects in other images."""

from __future__ import annotations

import numpy as np
import pytest

from detsam2_ros.banks.views import Mark, View, build_bank
from detsam2_ros.engine import BankError, Engine, EngineConfig, load_sam2
from detsam2_ros.scene.scene import render


@pytest.fixture(scope='module')
def model():
    return load_sam2('demo')


@pytest.fixture(scope='module')
def frames():
    return render(seed=3, length=3)


def views(frames, kind):
    for frame in frames:
        marks = []
        for ball in np.unique(frame.labels)[1:]:
            mask = frame.labels == ball
            rows, columns = np.nonzero(mask)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            given = {'mask': mask} if kind == 'mask' else {'box': box}
            marks.append(Mark(f'ball-{ball}', 0, 'ball', **given))
        yield View(frame.image, tuple(marks), stamp=frame.index)


@pytest.mark.parametrize('kind', ['mask', 'box'])
def test_it_finds_what_was_marked(model, frames, kind):
    bank = build_bank(model, views(frames[:1], kind), 'a test')
    assert bank.source == 'a test' and bank.model == model.identity
    config = EngineConfig(
        window_size=2, max_propagation=2, mode='window', windows='plain')
    engine = Engine(model, None, config)
    stream = engine.open_stream('test')
    stream.load_bank(bank)
    for frame in frames[1:3]:
        results = stream.push(frame.image, frame.index)
    for result, frame in zip(results, frames[1:3], strict=True):
        both = (result.labels > 0) & (frame.labels > 0)
        either = (result.labels > 0) | (frame.labels > 0)
        assert both.sum() / either.sum() > 0.7


def test_a_mark_without_pixels_is_refused(model, frames):
    empty = Mark('ball', 0, 'ball', mask=np.zeros(frames[0].labels.shape, bool))
    with pytest.raises(BankError, match='ball: nothing is found'):
        build_bank(model, [View(frames[0].image, (empty,))], 'a test')


@pytest.mark.parametrize('given', [{}, {'mask': np.ones((4, 4), bool), 'box': (0, 0, 1, 1)}])
def test_a_mark_is_a_mask_or_a_box(given):
    with pytest.raises(ValueError, match='a mask or a box'):
        Mark('ball', 0, 'ball', **given)
