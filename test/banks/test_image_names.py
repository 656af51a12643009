# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""File names in a list find the pictures that they mean, and none where two could be meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.banks.image_names import match_names

CAMS = ['cam1/0.png', 'cam2/0.png']


@pytest.mark.parametrize(
    ('folder', 'pictures', 'listed', 'found'),
    [
        ('set', ['a.png'], ['a.png'], {'a.png': 0}),
        ('set', ['0.png'], ['0.png', '0.jpg'], {'0.png': 0}),
        ('set', ['0.jpg', '0.png'], ['0.png'], {'0.png': 0}),
        ('set', ['0.png'], ['0.bmp', '0.jpg'], {}),
        ('set', ['0.png'], ['0.jpg'], {'0.png': 0}),
        ('set', CAMS, CAMS, {'cam1/0.png': 0, 'cam2/0.png': 1}),
        ('set', CAMS, CAMS[1:], {'cam2/0.png': 0}),
        ('set', CAMS, ['0.png'], {}),
        ('set', ['0.png'], CAMS, {}),
        ('set/cam1', ['0.png'], CAMS, {'0.png': 0}),
        ('set/cam1', ['0.png', '1.png'], [*CAMS, 'cam2/1.png'], {'0.png': 0}),
        ('set/cam2', ['0.png'], ['C:\\data\\cam1\\0.png', 'C:\\data\\cam2\\0.png'], {'0.png': 1}),
        ('set/cam1/rgb', ['0.png'], ['cam2/rgb/0.png', 'cam1/rgb/0.png'], {'0.png': 1}),
        ('set/cam1', ['0.png'], ['/mnt/set/cam1/0.png', '/mnt/old/cam1/0.png'], {'0.png': 0}),
        ('set', CAMS, ['/x/set/cam2/0.png', '/x/set/cam1/0.png'], {CAMS[0]: 1, CAMS[1]: 0}),
        ('images', ['a.png'], ['train2017/a.png'], {'a.png': 0}),
        ('set', ['sub/a.png'], ['a.png'], {'sub/a.png': 0}),
        ('set', ['u\u0308.png'], ['./\u00fc.png'], {'u\u0308.png': 0}),
        ('.', ['a.png'], ['a.png', 'b/a.png'], {'a.png': 0}),
        ('set', [], [], {}),
    ],
)
def test_names_find_their_pictures(folder, pictures, listed, found):
    assert match_names(Path(folder), pictures, listed) == found


names = st.lists(st.sampled_from('ab'), min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from(['.png', '.jpg']).map(lambda end: '/'.join(parts) + end)
)


@settings(max_examples=300)
@given(st.lists(names, unique=True), st.lists(names, unique=True))
def test_no_picture_has_two_names_and_exact_ones_win(pictures, listed):
    found = match_names(Path('/z/a/b'), pictures, listed)
    assert len(set(found.values())) == len(found)
    for picture in set(pictures) & set(listed):
        assert listed[found[picture]] == picture
    for picture, place in found.items():
        assert Path(picture).stem == Path(listed[place]).stem
