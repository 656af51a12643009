# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Packed masks say what the masks themselves say; logits become masks and labels."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.results.frames import FrameResult, Object
from detsam2_ros.results.masks import Mask, box_iou, mask_box

masks_strategy = st.tuples(st.integers(0, 4), st.integers(1, 12), st.integers(1, 19)).flatmap(
    lambda shape: arrays(bool, shape, elements=st.booleans(), fill=st.just(False)))


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[c == '#' for c in row] for row in rows])


@given(masks_strategy)
def test_packing_loses_nothing(stack: np.ndarray):
    for pixels in stack:
        mask = Mask.of(pixels)
        assert mask.pixels().dtype == bool
        np.testing.assert_array_equal(mask.pixels(), pixels)
        assert mask.area == pixels.sum()
        assert bool(mask) == pixels.any()


@given(masks_strategy)
def test_rows_that_are_packed_already_are_the_same_mask(stack: np.ndarray):
    for pixels in stack:
        packed = np.packbits(pixels, axis=1)
        assert Mask.of_packed_rows(pixels.shape[1], packed) == Mask.of(pixels)


@given(masks_strategy)
def test_boxes_fit_the_masks(stack: np.ndarray):
    for pixels in stack:
        mask = Mask.of(pixels)
        y, x = np.nonzero(pixels)
        expected = (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else None
        assert mask_box(pixels) == expected
        assert mask.box == expected and all(type(edge) is int for edge in mask.box or ())
        x0, y0, x1, y1 = mask.box or (0, 0, 0, 0)
        np.testing.assert_array_equal(mask.crop(), pixels[y0:y1, x0:x1])


@given(masks_strategy, st.randoms(use_true_random=False))
def test_iou_is_that_of_the_unpacked_masks(stack: np.ndarray, random):
    others = stack[:, :: random.choice((1, -1)), :: random.choice((1, -1))]
    for a in stack:
        for b in others:
            either = (a | b).sum()
            expected = (a & b).sum() / either if either else 1.0
            one, other = Mask.of(a), Mask.of(b)
            assert one.iou(other) == pytest.approx(expected)
            assert one.iou(other) == other.iou(one)
            assert (one == other) == (a == b).all()


def test_the_same_shape_elsewhere_is_not_the_same_mask():
    first, second = np.zeros((2, 8, 8), bool)
    first[:2, :2] = second[4:6, 4:6] = True
    first, second = Mask.of(first), Mask.of(second)
    assert first.bits == second.bits and first != second
    assert first.iou(second) == 0.0


def test_the_same_bits_in_another_box_are_not_the_same_mask():
    row = Mask.of(mask_of('####', '....'))
    block = Mask.of(mask_of('##..', '##..'))
    assert row.bits == block.bits and row != block
    assert row.iou(block) == pytest.approx(2 / 6)


def test_masks_of_one_frame_are_stacked():
    pixels = np.zeros((3, 4, 6), bool)
    pixels[0, 1, 2] = pixels[2, 3, 5] = True
    labels = np.zeros((4, 6), np.uint16)

    def result(*rows: int) -> FrameResult:
        objects = tuple(
            Object(row + 1, 0, 'ball', 0.9, False, Mask.of(pixels[row])) for row in rows)
        return FrameResult('front', 0, 0, 0, False, objects, labels, ())

    np.testing.assert_array_equal(result(2, 0).masks, pixels[[2, 0]])
    np.testing.assert_array_equal(result(1, 0, 2).masks, pixels[[1, 0, 2]])
    assert result(1, 0, 2).objects[0].box is None and not result(1).objects[0].visible
    assert result(2).objects[0].box == (5.0, 3.0, 6.0, 4.0)
    assert result().masks.shape == (0, 4, 6) and result().masks.dtype == bool


def test_crops_are_put_where_they_belong():
    crop = mask_of('....', '.##.')
    masks = [
        Mask.of_crop((9, 12), 3, 5, crop),
        Mask((9, 12)),
        Mask.of_crop((9, 12), 0, 0, np.zeros((2, 2), bool)),
    ]
    expected = np.zeros((3, 9, 12), bool)
    expected[0, 3:5, 5:9] = crop
    np.testing.assert_array_equal(np.stack([mask.pixels() for mask in masks]), expected)
    assert [mask.box for mask in masks] == [(6, 4, 8, 5), None, None]


def test_a_small_mask_in_a_large_image_takes_few_bytes():
    pixels = np.zeros((1080, 1920), bool)
    pixels[500:540, 900:940] = True
    assert len(Mask.of(pixels).bits) == 200


def test_a_mask_without_pixels_keeps_the_image_size():
    mask = Mask.of(np.zeros((5, 7), bool))
    assert (mask.size, mask.box, mask.bits, mask.area) == ((5, 7), None, b'', 0)
    assert mask.pixels().shape == (5, 7) and mask.crop().shape == (0, 0)
    assert not mask and mask == Mask((5, 7)) != Mask((7, 5))


def test_masks_are_values():
    pixels = mask_of('.#', '##')
    mask = Mask.of(pixels)
    assert mask == Mask.of(pixels.copy()) and hash(mask) == hash(Mask.of(pixels.copy()))
    pixels[:] = False
    assert mask.area == 3
    mask.pixels()[:] = False
    assert mask.area == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        mask.box = None


boxes_strategy = st.lists(
    st.tuples(*[st.integers(0, 9)] * 4).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])),
    max_size=4,
)


@given(boxes_strategy, boxes_strategy)
def test_box_iou_is_that_of_the_pixels(a: list, b: list):
    def pixels(box: tuple[int, ...]) -> np.ndarray:
        mask = np.zeros((20, 20), bool)
        mask[box[1] : box[3], box[0] : box[2]] = True
        return mask

    result = box_iou(np.array(a), np.array(b))
    assert result.shape == (len(a), len(b)) and result.dtype == np.float64
    for i, one in enumerate(a):
        for j, two in enumerate(b):
            both, either = pixels(one) & pixels(two), pixels(one) | pixels(two)
            assert result[i, j] == pytest.approx(both.sum() / max(either.sum(), 1))


@pytest.mark.filterwarnings('error')
def test_boxes_without_area_overlap_nothing():
    odd = np.array([[5, 5, 5, 5], [9, 9, 2, 2], [0, 0, 0, 0]], float)
    assert not box_iou(odd, np.array([[0, 0, 10, 10]])).any()
    assert not box_iou(odd, odd).any()


# ---- logits: both ways to compute them agree, and nothing to draw is fine
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
