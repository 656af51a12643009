# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image files that are cut short; what a folder holds besides."""

import cv2
import numpy as np
import pytest

from detsam2_ros.media.images import ImageFileError, is_cut_short, read_image

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
OPTIONS = {
    'baseline': [],
    'progressive': [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    'restarts': [cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
}


def jpeg(kind: str = 'baseline') -> bytes:
    return bytes(cv2.imencode('.jpg', PICTURE, OPTIONS[kind])[1])


@pytest.mark.parametrize('kind', OPTIONS)
def test_a_jpeg_is_whole_from_its_end_on(kind: str, tmp_path) -> None:
    data = jpeg(kind)
    assert [n for n in range(2, len(data)) if not is_cut_short(data[:n])] == []
    # Phones write a video behind the picture, and thumbnails before it.
    thumbnail = b'\xff\xd8\xff\xe1' + (len(data) + 2).to_bytes(2, 'big') + data
    for whole in (data, data + b'\xff\xda\x00', thumbnail + data[2:]):
        assert not is_cut_short(whole)
    assert is_cut_short(thumbnail + data[2:-2])
    (tmp_path / 'a.jpg').write_bytes(data)
    assert read_image(tmp_path / 'a.jpg').shape == PICTURE.shape


@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif', '.webp', '.bmp'])
def test_no_image_that_is_cut_short_is_read(suffix: str, tmp_path) -> None:
    data = bytes(cv2.imencode(suffix, PICTURE)[1])
    path = tmp_path / f'a{suffix}'
    for part in (0, len(data) // 2, len(data) - len(data) // 10):
        path.write_bytes(data[:part])
        with pytest.raises(ImageFileError, match='unreadable|cut short'):
            read_image(path)
    with pytest.raises(ImageFileError, match='unreadable'):
        read_image(tmp_path / 'none.png')
