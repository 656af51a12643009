# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""COCO JSON: every kind of segmentation gives its mask, hostile ones a sentence."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from annotation_cases import SIZE, coco, counts_of, read, segmentation_of, write_coco, write_image
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detsam2_ros.banks.coco import CocoFile
from detsam2_ros.banks.coco_masks import SegmentationError, to_mask
from detsam2_ros.media.video import InputError

pytest.importorskip('pycocotools', reason='polygons and run lengths need pycocotools')
BOX = [10.0, 5.0, 20.0, 10.0]
masks = arrays.arrays(
    bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()
)


@pytest.fixture
def images(tmp_path):
    return write_image(tmp_path / 'images' / 'a.png').parent


def read_marks(table, images, **options):
    marks, noted = read(CocoFile(write_coco(images.parent, table), **options), images)
    return marks.get('a.png', []), noted


@settings(max_examples=150)
@given(masks, st.sampled_from([0, 1]))
def test_run_lengths_give_back_the_mask(mask, kind):
    size = mask.shape[::-1]
    np.testing.assert_array_equal(to_mask(segmentation_of(mask, kind), size), mask)


def test_long_runs_survive_compression():
    mask = np.zeros((700, 900), bool)
    mask[3:, 5:600] = True
    np.testing.assert_array_equal(to_mask(segmentation_of(mask, 0), (900, 700)), mask)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=3, max_size=8))
def test_polygons_are_where_they_are_drawn(points):
    """Against OpenCV, which draws outlines too: apart by at most a pixel along the outline."""
    corners = cv2.convexHull(np.array(points, np.int32))[:, 0]
    if len(corners) < 3:
        return
    mask = to_mask([corners.ravel().tolist()], SIZE)
    drawn = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.fillPoly(drawn, [corners], 1)
    kernel = np.ones((3, 3), np.uint8)
    assert not (mask & (cv2.dilate(drawn, kernel) == 0)).any()
    assert not ((cv2.erode(drawn, kernel) > 0) & ~mask)[1:-1, 1:-1].any()


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
        | st.just(list(SIZE[::-1])) | st.sampled_from([1e9, 2**70, 'counts', 'PYVO', 'o']),
        lambda inner: st.lists(inner, max_size=8)
        | st.dictionaries(st.sampled_from(['size', 'counts', 'x']), inner, max_size=3),
        max_leaves=12,
    )
)  # fmt: skip
def test_anything_is_a_mask_or_refused(segmentation):
    try:
        mask = to_mask(segmentation, SIZE)
    except SegmentationError:
        return
    assert mask.shape == SIZE[::-1] and mask.dtype == bool


@settings(max_examples=300)
@given(st.text(st.characters(min_codepoint=1, max_codepoint=200), max_size=12))
def test_any_compressed_text_is_a_mask_or_refused(text):
    """The C code would read on behind a text whose last character says that more follows."""
    try:
        mask = to_mask({'size': [40, 60], 'counts': text}, SIZE)
    except SegmentationError:
        return
    assert mask.shape == (40, 60)


@pytest.mark.parametrize(
    ('segmentation', 'part'),
    [
        ({'size': [40, 60], 'counts': [2400, 1]}, 'do not fill'),
        ({'size': [40, 60], 'counts': [2401, -1]}, 'no whole numbers'),
        ({'size': [40, 60], 'counts': [True, 2399]}, 'no whole numbers'),
        ({'size': [60, 40], 'counts': [2400]}, 'another image size'),
        ({'size': [40, 60], 'counts': 'o'}, 'cut short'),
        ({'size': [40, 60], 'counts': 'oooooooooooo1'}, 'no such text'),
        ({'size': [40, 60], 'counts': '\u00e9'}, 'no such text'),
        ({'size': [40, 60]}, 'no whole numbers'),
        ([[1, 2, 3, 4]], 'less than three points'),
        ([[1, 2, 3, 4, 5]], 'no list of x, y'),
        ([[1, 2, 3, 4, float('nan'), 5]], 'no list of x, y'),
        ([[1, 2, 3, 4, 1e9, 5]], 'far outside'),
        ('polygon', 'no list of polygons'),
    ],
)
def test_what_a_segmentation_lacks_is_said(segmentation, part):
    with pytest.raises(SegmentationError, match=part):
        to_mask(segmentation, SIZE)


def test_boxes_masks_and_classes(images):
    mask = np.zeros(SIZE[::-1], bool)
    mask[3:9, 4:8] = True
    rle = {'size': [40, 60], 'counts': counts_of(mask)}
    table = coco(
        [
            {'category_id': 3, 'bbox': BOX},
            {'category_id': 5, 'bbox': BOX, 'segmentation': rle, 'track_id': 8},
            {'category_id': 3, 'bbox': BOX, 'segmentation': []},
        ]
    )
    marks, noted = read_marks(table, images)
    assert not noted
    assert [(m.key, m.class_id, m.box) for m in marks] == [
        ('cup', 3, (10.0, 5.0, 30.0, 15.0)),
        ('bowl', 5, None),
        ('cup', 3, (10.0, 5.0, 30.0, 15.0)),
    ]
    np.testing.assert_array_equal(marks[1].mask, mask)
    marks, _ = read_marks(table, images, group='instance')
    assert [m.key for m in marks] == ['cup-annotation-0', 'bowl-8', 'cup-annotation-2']


def test_what_cannot_be_used_is_counted(images):
    table = coco(
        [
            {'category_id': 3, 'bbox': BOX, 'iscrowd': 1},
            {'category_id': 3, 'bbox': BOX, 'iscrowd': 1},
            {'category_id': 4, 'bbox': BOX},
            {'category_id': 3, 'bbox': [70.0, 5.0, 5.0, 5.0]},
            {'category_id': 3, 'bbox': [50.0, 5.0, 20.0, 5.0]},
            {'category_id': 3, 'bbox': [5.0, 5.0, 0.0, 5.0]},
            {'category_id': 3, 'bbox': [1, 2, 3]},
            {'category_id': 3},
            {'category_id': 3, 'segmentation': [[1, 2]]},
            {'category_id': 3, 'segmentation': {'size': [40, 60], 'counts': [2400]}},
            {'category_id': 3, 'bbox': BOX, 'image_id': 99},
        ]
    )
    table['images'].append({'id': 2, 'file_name': 'gone.png'})
    marks, noted = read_marks(table, images)
    assert [m.box for m in marks] == [(50.0, 5.0, 60.0, 10.0)]
    assert noted == [
        '2 annotations left out: a crowd, not one object (first: annotation 0 of a.png)',
        '1 annotation left out: its category is not in the file (first: annotation 2 of a.png)',
        '1 box left out: outside the image (first: annotation 3 of a.png)',
        '1 box cut: it sticks out of the image (first: annotation 4 of a.png)',
        '1 box left out: smaller than a pixel (first: annotation 5 of a.png)',
        '2 annotations left out: neither segmentation nor bbox [x, y, w, h] '
        '(first: annotation 6 of a.png)',
        '1 annotation left out: a polygon of less than three points '
        '(first: annotation 8 of a.png)',
        '1 mask left out: empty (first: annotation 9 of a.png)',
        '1 image of the COCO file left out: not there (first: gone.png)',
        '1 annotation left out: its image is not in the file (first: annotation 10)',
    ]


def test_an_image_of_another_size_is_left_out(images):
    table = coco([{'category_id': 3, 'bbox': BOX}])
    table['images'][0]['width'] = 61
    marks, noted = read_marks(table, images)
    assert not marks and 'its size is not the one in the COCO file' in noted[0]


def test_images_are_found_without_the_folders_of_the_file(images):
    table = coco([{'category_id': 3, 'bbox': BOX}])
    table['images'][0]['file_name'] = 'train2017/a.png'
    assert len(read_marks(table, images)[0]) == 1


@pytest.mark.parametrize(
    ('change', 'part'),
    [
        ({'images': None}, "no list 'images'"),
        ({'annotations': [1]}, "no list 'annotations'"),
        ({'categories': [{'id': -1, 'name': 'x'}]}, 'is no id'),
        ({'categories': [{'id': 1, 'name': ' '}]}, 'is no name'),
        ({'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'a'}]}, "both called 'a'"),
        ({'images': [{'id': 1}]}, 'without file_name'),
        ({'images': [{'id': 1, 'file_name': 'a.png'}] * 2}, "two images are called 'a.png'"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(images, change, part):
    path = write_coco(images.parent, {**coco([]), **change})
    with pytest.raises(InputError) as caught:
        CocoFile(path)
    assert part in str(caught.value) and str(path) in str(caught.value)


def test_no_json_is_refused(tmp_path):
    path = tmp_path / 'x.json'
    for content in (b'{', b'\xff', b'[' * 100_000, b'[]'):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r'x\.json'):
            CocoFile(path)
