# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Label masks: what a pixel value stands for, and what cannot be used is named."""

from __future__ import annotations

import json

import numpy as np
import pytest
from annotation_cases import SIZE, labelled, read, write_image, write_labels
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from detsam2_ros.banks.label_masks import LabelMasks, read_labels
from detsam2_ros.banks.label_names import read_names
from detsam2_ros.media.video import InputError


@pytest.fixture
def images(tmp_path):
    for name in ('a.png', 'b.jpg'):
        write_image(tmp_path / 'images' / name)
    return tmp_path / 'images'


@pytest.fixture
def masks(tmp_path):
    write_labels(tmp_path / 'masks' / 'a.png', labelled((1, 0, 0, 9, 9), (2, 20, 5, 30, 15)))
    write_labels(tmp_path / 'masks' / 'b.png', labelled((2, 1, 1, 5, 5)))
    return tmp_path / 'masks'


def keys(marks):
    return {name: [(m.key, m.class_id, m.class_name) for m in own] for name, own in marks.items()}


def test_names_say_class_key_and_id(images, masks, tmp_path):
    names = masks / 'names.yaml'
    names.write_text('{1: cup, 2: {class: bowl, key: my bowl, id: 9}}')
    marks, noted = read(LabelMasks(masks), images)
    assert keys(marks) == {
        'a.png': [('cup', 1, 'cup'), ('bowl', 9, 'bowl')],
        'b.jpg': [('bowl', 9, 'bowl')],
    }
    assert not noted
    assert marks['a.png'][1].mask.sum() == 100 and marks['a.png'][1].mask[5, 20]
    marks, _ = read(LabelMasks(masks, group='instance'), images)
    assert keys(marks)['a.png'] == [('cup-1', 1, 'cup'), ('my bowl', 9, 'bowl')]


def test_a_class_of_several_values_has_one_id(images, masks):
    (masks / 'names.json').write_text(json.dumps({'2': 'cup', '1': 'cup'}))
    marks, _ = read(LabelMasks(masks, group='instance'), images)
    assert keys(marks)['a.png'] == [('cup-1', 1, 'cup'), ('cup-2', 1, 'cup')]


@pytest.mark.parametrize(('first', 'value'), [('cup', 1), ('background\ncup', 1), ('\ncup', 2)])
def test_lines_of_text_are_pixel_values(tmp_path, first, value):
    path = tmp_path / 'names.txt'
    path.write_text(first + '\n\n')
    assert {k: v.class_name for k, v in read_names(path).items()} == {value: 'cup'}


def test_what_segment_video_wrote_beside_its_masks(images, masks):
    frames = [
        {'frame': 0, 'objects': [{'id': 1, 'class_id': 4, 'class_name': 'cup'}]},
        {'frame': 1, 'objects': [{'id': 2, 'class_id': 4, 'class_name': 'cup'}]},
    ]
    (masks.parent / 'objects.jsonl').write_text('\n'.join(map(json.dumps, frames)))
    marks, _ = read(LabelMasks(masks, group='instance'), images)
    assert keys(marks)['a.png'] == [('cup-1', 4, 'cup'), ('cup-2', 4, 'cup')]


def test_folders_by_class(images, tmp_path):
    for name in ('bowl', 'cup'):
        labels = labelled((1, 0, 0, 3, 3), (7, 9, 9, 12, 12))
        write_labels(tmp_path / 'by' / name / 'a.png', labels)
    marks, noted = read(LabelMasks(tmp_path / 'by'), images)
    assert keys(marks)['a.png'] == [('bowl', 0, 'bowl')] * 2 + [('cup', 1, 'cup')] * 2
    assert not noted


def test_one_class_name_and_ignored_values(images, masks):
    marks, _ = read(LabelMasks(masks, class_name='thing', ignore=[2]), images)
    assert keys(marks) == {'a.png': [('thing', 0, 'thing')], 'b.jpg': []}


def test_frames_of_a_video_are_found_by_number(tmp_path):
    from detsam2_ros.media.video import VideoWriter

    with VideoWriter(tmp_path / 'in.mp4', SIZE, 10.0) as writer:
        for _ in range(4):
            writer.write(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    write_labels(tmp_path / 'masks' / 'frame_2.png', labelled((1, 0, 0, 9, 9)))
    masks = LabelMasks(tmp_path / 'masks', class_name='cup', is_video=True)
    marks, _ = read(masks, tmp_path / 'in.mp4')
    assert list(marks) == ['000002'] and len(marks['000002']) == 1


def test_what_cannot_be_used_is_counted(images, masks):
    write_labels(masks / 'a.png', np.zeros((SIZE[1], SIZE[0]), np.uint8))
    (masks / 'b.png').write_bytes(b'no picture')
    write_labels(masks / 'c.png', labelled())
    _, noted = read(LabelMasks(masks, class_name='cup'), images)
    assert noted == [
        '1 mask left out: empty (first: a.png)',
        '1 mask left out: unreadable (first: b.png)',
        '1 mask left out: no image of its name (first: c.png)',
    ]
    write_labels(masks / 'a.png', np.ones((3, 3), np.uint8))
    write_labels(masks / 'b.png', labelled((8, 0, 0, 1, 1)))
    (masks / 'names.yaml').write_text('1: cup')
    _, noted = read(LabelMasks(masks), images)
    assert noted[:2] == [
        '1 mask left out: of another size than its image (first: a.png)',
        '1 object left out: pixel value 8 has no name (first: b.png)',
    ]


def test_a_picture_in_colour_is_refused_by_name(images, masks):
    write_labels(masks / 'a.png', np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    with pytest.raises(InputError, match=r'a\.png: it is a picture in colour \(RGB\)'):
        read(LabelMasks(masks, class_name='cup'), images)


def test_without_names_the_solution_is_reported(masks):
    with pytest.raises(InputError, match='names.yaml .* --class-name'):
        LabelMasks(masks)


@pytest.mark.parametrize(
    ('text', 'part'),
    [
        ('{1: ', 'not valid'), ('[]', 'names no pixel value'), ('7', 'no table'),
        ('{a: cup}', "'a' is no id"), ('{-1: cup}', 'no id'), ('{1: 5}', 'is no name'),
        ('{1: ""}', 'is no name'), ('{1: {klass: cup}}', 'write {class'),
        ('{1: {class: c, id: 1}, 2: {class: c, id: 2}}', 'the ids 1, 2'),
        ('{1: "a\\nb"}', 'is no name'), (f'{{1: {"x" * 300}}}', '300 characters'),
        ('{0: background}', 'names no pixel value'),
    ],
)  # fmt: skip
def test_bad_names_files(tmp_path, text, part):
    path = tmp_path / 'names.yaml'
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_names(path)
    assert part in str(caught.value) and str(path) in str(caught.value)


@settings(max_examples=40)
@given(
    arrays.arrays(np.uint16, (5, 7), elements=st.integers(0, 65535)),
    st.sampled_from(['L', 'P', 'I;16', '1']),
)
def test_every_kind_of_png_gives_its_numbers(tmp_path_factory, labels, mode):
    folder = tmp_path_factory.getbasetemp() / 'kinds'
    if mode == '1':
        labels = labels % 2
    elif mode != 'I;16':
        labels = labels % 256
    path = folder / f'{mode[0]}.png'
    folder.mkdir(exist_ok=True)
    if mode == '1':
        Image.fromarray(labels.astype(bool)).save(path)
    else:
        write_labels(path, labels if mode == 'I;16' else labels.astype(np.uint8), mode)
    with Image.open(path) as image:
        assert image.mode == mode
    found = read_labels(path)
    assert found is not None
    np.testing.assert_array_equal(found, labels)


@settings(max_examples=60)
@given(st.binary(max_size=80), st.integers(0, 200))
def test_damaged_pngs_are_unreadable_and_no_more(tmp_path_factory, junk, at):
    path = tmp_path_factory.getbasetemp() / 'damaged.png'
    write_labels(path, labelled((1, 0, 0, 9, 9)))
    data = path.read_bytes()
    path.write_bytes(data[:at] + junk + data[at + len(junk) :])
    try:
        found = read_labels(path)
    except InputError:
        return
    assert found is None or found.ndim == 2
