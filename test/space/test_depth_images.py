# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth images as drivers send them, and as they should not."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_cases import inverse_depth, png_message, raw_message

from detsam2_ros.messages.pixels import ImageRefused
from detsam2_ros.space.depth import DepthImage, read_depth

MM = np.array([[0, 500, 1250], [65535, 1, 3000]], np.uint16)
METRES = np.array([[np.nan, 0.5, 1.25], [65.535, 0.001, 3.0]], np.float32)
FLOATS = np.array([[np.nan, 0.5, 1.25], [np.inf, -1.0, 0.0]], np.float32)
OF_FLOATS = np.array([[np.nan, 0.5, 1.25], [np.nan] * 3], np.float32)
WHOLE = (0, 0, 3, 2)


@pytest.mark.parametrize('padding', [0, 2, 5])
@pytest.mark.parametrize('bigendian', [False, True])
@pytest.mark.parametrize(
    ('values', 'encoding', 'wanted'),
    [(MM, '16UC1', METRES), (MM, 'mono16', METRES), (FLOATS, '32FC1', OF_FLOATS)],
)
def test_raw(values, encoding, wanted, padding, bigendian) -> None:
    image = read_depth(raw_message(values, encoding, padding, bigendian))
    assert (image.stamp, image.frame_id) == (7, 'camera')
    np.testing.assert_allclose(image.crop(WHOLE, (2, 3)), wanted)
    np.testing.assert_allclose(image.crop((1, 0, 3, 1), (2, 3)), wanted[:1, 1:])


@pytest.mark.parametrize(
    ('form', 'header'),
    [
        ('16UC1; png compressed ', b''),
        ('16UC1; compressedDepth png', bytes(12)),
        ('16UC1; compressedDepth', bytes(12)),  # before the plugin named its codec
    ],
)
def test_png(form: str, header: bytes) -> None:
    image = read_depth(png_message(MM, form, header))
    np.testing.assert_allclose(image.crop(WHOLE, (2, 3)), METRES)


@pytest.mark.parametrize(
    ('depth', 'masks', 'fits'),
    [((240, 424), (720, 1280), True), ((480, 848), (720, 1280), True),
     ((720, 1280), (240, 424), True), ((480, 640), (720, 1280), False),
     ((800, 1280), (720, 1280), False), ((1024, 1280), (960, 1280), False)],
)  # fmt: skip
def test_aspects_of_video_modes(depth, masks, fits: bool) -> None:
    image = DepthImage(0, '', np.ones(depth, np.uint16))
    assert (image.misfit(masks, None) is None) is fits


def test_absurd_depth_is_none() -> None:
    values = np.array([[3e38, 1e5, 9e4]], np.float32)
    np.testing.assert_array_equal(DepthImage(0, '', values).crop((0, 0, 3, 1), (1, 3)), [
        [np.nan, np.nan, np.float32(9e4)]])


def test_inverse_depth() -> None:
    metres = np.array([[0.5, 1.0, 2.0], [np.nan, 4.0, 9.0]], np.float32)
    image = read_depth(inverse_depth(metres, scale=10000.0))
    np.testing.assert_allclose(image.crop(WHOLE, (2, 3)), metres, rtol=2e-3)


@pytest.mark.parametrize(
    ('message', 'reason', 'text'),
    [
        (raw_message(MM, 'rgb8'), 'unsupported_encoding', "'rgb8' is no depth"),
        (raw_message(MM, ''), 'unsupported_encoding', "'' is no depth"),
        (raw_message(MM, '16UC1', step=5), 'malformed_image', 'step'),
        (raw_message(MM, '16UC1', data=np.zeros(3, np.uint8)), 'malformed_image', 'data'),
        (raw_message(MM, '16UC1', height=0), 'malformed_image', '3 x 0'),
        (raw_message(MM, '32FC1'), 'malformed_image', 'step'),
        (raw_message(MM, '16UC1', width=2**31), 'malformed_image', 'pixels is refused'),
        (png_message(MM, '16UC1; jpeg compressed '), 'unsupported_encoding', 'jpeg'),
        (png_message(MM, '16UC1; compressedDepth rvl', bytes(12)), 'unsupported_encoding', 'rvl'),
        (png_message(MM, '32FC1; png compressed '), 'unsupported_encoding', '32FC1 by'),
        (png_message(MM, ''), 'unsupported_encoding', "format ''"),
        (png_message(MM, '16UC1; png compressed ', bytes(12)), 'malformed_image', 'no whole PNG'),
        (png_message(MM.astype(np.uint8), '16UC1; png compressed '), 'malformed_image', '16 bits'),
        (
            png_message(MM, '32FC1; compressedDepth png', struct.pack('<iff', 0, np.nan, 1)),
            'malformed_image', 'header 0, nan',
        ),
        (
            png_message(MM, '32FC1; compressedDepth png', struct.pack('<iff', 9, 1, 1)),
            'malformed_image', 'header 9',
        ),
    ],
)  # fmt: skip
def test_what_is_refused(message: Any, reason: str, text: str) -> None:
    with pytest.raises(ImageRefused) as refusal:
        read_depth(message)
    assert refusal.value.reason == reason
    assert text in str(refusal.value) and '\n' not in str(refusal.value)


@given(
    data=st.binary(max_size=120),
    form=st.sampled_from(['16UC1; png compressed ', '32FC1; compressedDepth png']),
)
def test_any_bytes_are_read_or_refused(data: bytes, form: str) -> None:
    message = png_message(MM, form)
    for given_bytes in (data, message.data[:40] + data, message.data[: len(data)]):
        message.data = given_bytes
        with pytest.raises(ImageRefused):
            read_depth(message)


def test_another_size_is_sampled_at_the_nearest_pixel() -> None:
    values = np.arange(1, 13, dtype=np.uint16).reshape(3, 4) * 1000
    half = DepthImage(0, '', values)
    doubled = np.kron(values / 1000, np.ones((2, 2)))
    np.testing.assert_allclose(half.crop((0, 0, 8, 6), (6, 8)), doubled)
    np.testing.assert_allclose(half.crop((3, 2, 6, 3), (6, 8)), [[6, 7, 7]])
    large = DepthImage(0, '', np.kron(values, np.ones((3, 3), np.uint16)))
    np.testing.assert_allclose(large.crop((0, 0, 4, 3), (3, 4)), values / 1000)


@pytest.mark.parametrize(
    ('size', 'frame_id', 'text'),
    [
        ((480, 640), 'camera', None),
        ((240, 320), 'camera', None),
        ((241, 321), 'camera', None),  # rounding
        ((480, 640), None, None),
        ((360, 640), 'camera', '640x360 has another aspect than masks of 640x480'),
        ((480, 640), 'left', "frame 'left', the masks have 'camera'"),
    ],
)
def test_another_camera_is_told_by_its_frame_or_aspect(size, frame_id, text) -> None:
    image = DepthImage(0, frame_id or 'other', np.ones(size, np.uint16))
    misfit = image.misfit((480, 640), 'camera' if frame_id else None)
    assert misfit is None if text is None else text in misfit
