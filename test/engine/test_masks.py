# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Packed masks say what the masks themselves say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detsam2_ros.results.masks import PackedMasks, box_iou, mask_box

masks_strategy = st.tuples(st.integers(0, 4), st.integers(1, 12), st.integers(1, 19)).flatmap(
    lambda shape: arrays(bool, shape, elements=st.booleans(), fill=st.just(False))
)


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[c == '#' for c in row] for row in rows])


@given(masks_strategy)
def test_packing_loses_nothing(masks: np.ndarray):
    packed = PackedMasks.pack(masks)
    assert packed.unpack().dtype == bool
    np.testing.assert_array_equal(packed.unpack(), masks)
    assert len(packed) == len(masks)
    assert [packed.area(i) for i in range(len(masks))] == [m.sum() for m in masks]


@given(masks_strategy)
def test_boxes_fit_the_masks(masks: np.ndarray):
    packed = PackedMasks.pack(masks)
    assert packed.boxes.dtype == np.int32
    for mask, box, i in zip(masks, packed.boxes, range(len(masks)), strict=True):
        y, x = np.nonzero(mask)
        expected = (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else None
        assert mask_box(mask) == expected
        assert tuple(box) == (expected or (0, 0, 0, 0))
        x0, y0, x1, y1 = box
        np.testing.assert_array_equal(packed.crop(i), mask[y0:y1, x0:x1])


@given(masks_strategy, st.randoms(use_true_random=False))
def test_iou_is_that_of_the_unpacked_masks(masks: np.ndarray, random):
    other_masks = masks[:, :: random.choice((1, -1)), :: random.choice((1, -1))]
    packed, other = PackedMasks.pack(masks), PackedMasks.pack(other_masks)
    for i, a in enumerate(masks):
        for j, b in enumerate(other_masks):
            either = (a | b).sum()
            expected = (a & b).sum() / either if either else 1.0
            assert packed.iou(i, other, j) == pytest.approx(expected)
            assert packed.iou(i, other, j) == other.iou(j, packed, i)


def test_the_same_shape_elsewhere_is_not_the_same_mask():
    mask = np.zeros((2, 8, 8), bool)
    mask[0, :2, :2] = mask[1, 4:6, 4:6] = True
    packed = PackedMasks.pack(mask)
    assert packed.bits[0] == packed.bits[1]
    assert packed.iou(0, packed, 1) == 0.0


def test_the_same_bits_in_another_box_are_not_the_same_mask():
    row = PackedMasks.pack(mask_of('####', '....')[None])
    block = PackedMasks.pack(mask_of('##..', '##..')[None])
    assert row.bits == block.bits
    assert row.iou(0, block, 0) == pytest.approx(2 / 6)


def test_rows_and_joined():
    masks = np.zeros((3, 4, 6), bool)
    masks[0, 1, 2] = masks[2, 3, 5] = True
    packed = PackedMasks.pack(masks)
    np.testing.assert_array_equal(packed.rows([2, 0]).unpack(), masks[[2, 0]])
    assert packed.rows([]).unpack().shape == (0, 4, 6)
    both = packed.rows([1]).joined(packed.rows([0, 2]))
    np.testing.assert_array_equal(both.unpack(), masks[[1, 0, 2]])
    assert both.boxes.shape == (3, 4)
    none = packed.rows([]).joined(packed.rows([]))
    assert none.unpack().shape == (0, 4, 6) and none.boxes.shape == (0, 4)


def test_crops_are_put_where_they_belong():
    crop = mask_of('....', '.##.')
    packed = PackedMasks.from_crops(9, 12, [(3, 5, crop), None, (0, 0, np.zeros((2, 2), bool))])
    expected = np.zeros((3, 9, 12), bool)
    expected[0, 3:5, 5:9] = crop
    np.testing.assert_array_equal(packed.unpack(), expected)
    assert packed.boxes.tolist() == [[6, 4, 8, 5], [0] * 4, [0] * 4]


def test_a_small_mask_in_a_large_image_takes_few_bytes():
    mask = np.zeros((1, 1080, 1920), bool)
    mask[0, 500:540, 900:940] = True
    assert sum(map(len, PackedMasks.pack(mask).bits)) == 200


def test_a_stack_without_masks_keeps_the_image_size():
    packed = PackedMasks.pack(np.zeros((0, 5, 7), bool))
    assert (packed.height, packed.width, len(packed)) == (5, 7, 0)
    assert packed.unpack().shape == (0, 5, 7)


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
