# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Folders that a Mac, a NAS or Windows left things in: every reader takes what is meant."""

from __future__ import annotations

import unicodedata

import pytest
from annotation_cases import coco, labelled, read, write_coco, write_image, write_labels

from detsam2_ros.banks.coco import CocoFile
from detsam2_ros.banks.label_masks import LabelMasks
from detsam2_ros.banks.pictures import open_pictures
from detsam2_ros.banks.yolo_labels import YoloLabels
from detsam2_ros.cli.memory_bank.truth import open_input
from detsam2_ros.media.video import InputError, open_source

DECOMPOSED = unicodedata.normalize('NFD', 'k\u00fcche')
COMPOSED = unicodedata.normalize('NFC', DECOMPOSED)


def litter(folder, suffix):
    """Write what is beside files of a suffix on other systems; none of it can be read."""
    for name in ('._0', '.hidden', '.Trashes/x', '@eaDir/0', '.ipynb_checkpoints/0-checkpoint'):
        path = folder / f'{name}{suffix}'
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'\0\5\26\7')
    for name in ('.DS_Store', 'Thumbs.db', 'desktop.ini'):
        (folder / name).write_bytes(b'\0')
    (folder / f'folder{suffix}').mkdir()


@pytest.fixture
def images(tmp_path):
    for name in ('2', '10', DECOMPOSED):
        write_image(tmp_path / 'images' / f'{name}.png')
    litter(tmp_path / 'images', '.png')
    return tmp_path / 'images'


def test_frames(images):
    source = open_source(images)
    assert source.count == 3 and len(list(source.frames())) == 3


def test_pictures_in_order(images):
    found = [picture.name for picture in open_pictures(images)]
    assert found == ['2.png', '10.png', f'{DECOMPOSED}.png']


def test_a_folder_of_nothing_else_is_named(tmp_path):
    litter(tmp_path, '.png')
    for opened in (open_source, open_pictures, LabelMasks):
        with pytest.raises(InputError, match=str(tmp_path)):
            opened(tmp_path)


def test_labels(images):
    labels = images.parent / 'labels'
    labels.mkdir()
    (labels / 'classes.txt').write_text('cup\r\nbowl\r\n', encoding='utf-16')
    (labels / '2.txt').write_text('0 .5 .5 .5 .5\r\n', encoding='utf-8-sig')
    (labels / f'{COMPOSED}.TXT').write_text('1 .5 .5 .5 .5\r\n', encoding='utf-16')
    litter(labels, '.txt')
    marks, noted = read(YoloLabels(labels, open_pictures(images)), images)
    found = {name: mark.class_name for name, (mark,) in marks.items()}
    assert found == {'2.png': 'cup', f'{DECOMPOSED}.png': 'bowl'} and not noted


@pytest.mark.parametrize('named', [True, False])
def test_masks(images, named):
    masks = images.parent / 'masks'
    folder = masks if named else masks / DECOMPOSED
    write_labels(folder / f'{COMPOSED}.png', labelled((1, 10, 10, 30, 20)))
    litter(masks, '.png')
    if named:
        (masks / 'names.yaml').write_bytes(f'1: {DECOMPOSED}'.encode('utf-16'))
    marks, noted = read(LabelMasks(masks), images)
    assert [(k, m.class_name) for k, (m,) in marks.items()] == [(f'{DECOMPOSED}.png', COMPOSED)]
    assert not noted


def test_coco(images):
    table = coco([{'category_id': 3, 'bbox': [10, 5, 20, 10]}])
    table['images'][0]['file_name'] = f'images\\{COMPOSED}.png'
    annotations = CocoFile(write_coco(images.parent, table), open_pictures(images))
    marks, noted = read(annotations, images)
    assert list(marks) == [f'{DECOMPOSED}.png'] and not noted


def test_truth(images):
    truth = images.parent / 'truth'
    for name in '123':
        write_labels(truth / f'{name}.png', labelled((int(name), 0, 0, 5, 5)))
    (truth / 'classes.json').write_text('{"1": "cup"}', encoding='utf-8-sig')
    litter(truth, '.png')
    frames = list(open_input(str(images), truth).frames())
    assert [frame.truth.labels.max() for frame in frames] == [1, 2, 3]
    assert frames[0].truth.names == {1: 'cup'}
