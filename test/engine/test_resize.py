# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Logits to masks and labels: both ways to compute them agree, and nothing to draw is fine."""

import numpy as np
import pytest
import torch

from detsam2_ros.engine.sam2.resize import MaskResizer

CPU = torch.device('cpu')


def as_on_gpu(height: int, width: int, mask_size: int) -> MaskResizer:
    """Return a resizer that takes the way of a GPU, on tensors of the CPU."""
    resizer = MaskResizer(height, width, mask_size, CPU)
    resizer._on_cpu = False
    return resizer


@pytest.mark.parametrize('size', [(48, 64), (17, 200), (9, 9), (270, 480), (33, 61)])
def test_crops_agree_with_whole_images(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    logits = np.full((5, 16, 16), -6.0, np.float32)
    for i in range(4):  # the last mask stays empty
        y, x = rng.integers(0, 12, 2)
        logits[i, y : y + 5, x : x + 4] = rng.normal(4, 3, logits[i, y : y + 5, x : x + 4].shape)
    tensor, ids = torch.from_numpy(logits), [7, 3, 65535, 1, 2]
    crops, whole = MaskResizer(*size, 16, CPU), as_on_gpu(*size, 16)
    assert any(crops.masks(tensor))
    assert crops.masks(tensor) == whole.masks(tensor)
    for one, other in zip(crops.masks(tensor), whole.masks(tensor), strict=True):
        assert np.array_equal(one.pixels(), other.pixels())
    assert np.array_equal(crops.labels(tensor, ids), whole.labels(tensor, ids))


@pytest.mark.parametrize('make', [as_on_gpu, lambda h, w, s: MaskResizer(h, w, s, CPU)])
def test_no_object_gives_no_mask_and_no_label(make) -> None:
    resizer = make(30, 40, 16)
    nothing = torch.zeros(0, 16, 16)
    assert resizer.masks(nothing) == []
    labels = resizer.labels(nothing, [])
    assert labels.shape == (30, 40) and labels.dtype == np.uint16 and not labels.any()


@pytest.mark.parametrize('make', [as_on_gpu, lambda h, w, s: MaskResizer(h, w, s, CPU)])
def test_the_higher_logit_has_the_pixel(make) -> None:
    logits = torch.full((2, 16, 16), -5.0)
    logits[0, 4:10, 4:10] = 2.0
    logits[1, 6:12, 6:12] = 3.0
    labels = make(16, 16, 16).labels(logits, [1, 2])
    assert labels[5, 5] == 1 and labels[8, 8] == 2 and labels[0, 0] == 0
