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
from detsam2_ros.banks.pictures import open_pictures
from detsam2_ros.media.coco_masks import to_mask
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError

pytest.importorskip('pycocotools', reason='polygons and run lengths need pycocotools')
BOX = [10.0, 5.0, 20.0, 10.0]
SQUARE = [10, 5, 30, 5, 30, 15, 10, 15]
masks = arrays.arrays(
    bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()
)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    return write_image(tmp_path_factory.mktemp('coco') / 'images' / 'a.png').parent


def read_marks(table, images, encoding='utf-8', **options):
    path = write_coco(images.parent, table, encoding)
    marks, noted = read(CocoFile(path, open_pictures(images), **options), images)
    return marks.get('a.png', []), noted


def mask_of(segmentation, size=SIZE):
    """Return the mask, and what was noted, without the example."""
    notes = Notes()
    mask = to_mask(segmentation, size, 'x', notes)
    return mask, [sentence.removesuffix(' (first: x)') for sentence in notes.sentences()]


@settings(max_examples=150)
@given(masks, st.sampled_from([0, 1]))
def test_run_lengths_give_back_the_mask(mask, kind):
    found, noted = mask_of(segmentation_of(mask, kind), mask.shape[::-1])
    np.testing.assert_array_equal(found, mask)
    assert not noted


def test_long_runs_survive_compression():
    mask = np.zeros((700, 900), bool)
    mask[3:, 5:600] = True
    np.testing.assert_array_equal(mask_of(segmentation_of(mask, 0), (900, 700))[0], mask)


def test_a_list_of_run_lengths_is_their_union():
    runs = [[0] * 200 + [10, 20, 2370], [0] * 200 + [20, 30, 2350]]  # merge of pycocotools crashes
    mask, noted = mask_of([{'size': [40, 60], 'counts': counts} for counts in runs])
    assert not noted and np.flatnonzero(mask.T).tolist() == list(range(10, 50))


coordinate = st.integers(-20, 80) | st.floats(-20, 80)
polygon = st.lists(coordinate, min_size=6, max_size=14)  # of an odd one the last number is no use
drawing = arrays.arrays(bool, SIZE[::-1], elements=st.booleans())
segmentation = st.lists(polygon, min_size=1, max_size=3) | st.builds(
    segmentation_of, drawing, st.sampled_from([0, 1])
)
forms = st.sampled_from([int, float, str, lambda key: f' {key}', lambda key: f'{key}.0'])
encodings = st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32'])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(segmentation, min_size=1, max_size=4), st.tuples(forms, forms, forms, forms),
    encodings, st.booleans(),
)  # fmt: skip
def test_what_pycocotools_reads_is_read_as_it_reads_it(images, given_all, kinds, encoding, crowd):
    """Against COCO.annToMask; ids are written as another type on each side."""
    from pycocotools.coco import COCO

    truth = COCO()
    truth.imgs = {1: {'height': SIZE[1], 'width': SIZE[0]}}
    rows = [{'category_id': 3, 'segmentation': s, 'iscrowd': int(crowd)} for s in given_all]
    expected = [truth.annToMask({'image_id': 1, **row}).astype(bool) for row in rows]
    table = coco(rows)
    for row in table['annotations']:
        row['image_id'], row['category_id'] = kinds[0](1), kinds[1](3)
        if isinstance(row['segmentation'], list) and len(row['segmentation']) == 1:
            row['segmentation'] = row['segmentation'][0]  # a polygon that is not in a list
    table['images'][0]['id'], table['categories'][0]['id'] = kinds[2](1), kinds[3](3)
    marks, noted = read_marks(table, images, encoding, crowds=True)
    drawn = [mask for mask in expected if mask.any()]
    assert len(marks) == len(drawn) and len(noted) == (len(drawn) < len(expected))
    for mark, mask in zip(marks, drawn, strict=True):
        np.testing.assert_array_equal(mark.mask, mask)
        assert (mark.class_id, mark.class_name) == (3, 'cup')


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), min_size=3, max_size=8))
def test_polygons_are_where_they_are_drawn(points):
    """Against OpenCV, which draws outlines too: apart by at most a pixel along the outline."""
    corners = cv2.convexHull(np.array(points, np.int32))[:, 0]
    if len(corners) < 3:
        return
    mask, _ = mask_of([corners.ravel().tolist()])
    drawn = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.fillPoly(drawn, [corners], 1)
    kernel = np.ones((3, 3), np.uint8)
    assert not (mask & (cv2.dilate(drawn, kernel) == 0)).any()
    assert not ((cv2.erode(drawn, kernel) > 0) & ~mask)[1:-1, 1:-1].any()


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
        | st.just(list(SIZE[::-1])) | st.sampled_from([1e9, 2**70, 'counts', 'PYVO', 'o', '7']),
        lambda inner: st.lists(inner, max_size=8)
        | st.dictionaries(st.sampled_from(['size', 'counts', 'x']), inner, max_size=3),
        max_leaves=12,
    )
)  # fmt: skip
def test_anything_is_a_mask_or_refused(segmentation):
    mask, noted = mask_of(segmentation)
    assert noted or segmentation == [] or mask is not None
    assert mask is None or (mask.shape == SIZE[::-1] and mask.dtype == bool)


@settings(max_examples=300)
@given(
    st.text(st.characters(min_codepoint=1, max_codepoint=200), max_size=12)
    | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=40)
)
def test_any_compressed_text_is_a_mask_or_refused(text):
    """The C code would read on behind a text whose last character says that more follows."""
    mask, noted = mask_of({'size': [40, 60], 'counts': text})
    assert len(noted) == 1 if mask is None else mask.shape == (40, 60)


@pytest.mark.parametrize(
    ('segmentation', 'noted'),
    [
        ({'size': [40, 60], 'counts': [2400, 1]}, 'mask left out: run lengths that do not fill'),
        ({'size': [40, 60], 'counts': [2401, -1]}, 'mask left out: run lengths that do not fill'),
        ({'size': [40, 60], 'counts': [0.5, 2399.5]}, 'mask left out: run lengths that are no wh'),
        ({'size': [60, 40], 'counts': [2400]}, 'mask left out: run lengths of another image size'),
        ({'size': [40, 60], 'counts': 'o'}, 'mask left out: compressed run lengths that are cut'),
        ({'size': [40, 60], 'counts': ''}, 'mask left out: compressed run lengths that are cut'),
        ({'size': [40, 60], 'counts': '1'}, 'mask left out: run lengths that do not fill'),
        ({'size': [40, 60], 'counts': 'oooooooooooo1'}, 'mask left out: compressed run lengths'),
        ({'size': [40, 60], 'counts': '\u00e9'}, 'mask left out: compressed run lengths that'),
        ({'size': [40, 60]}, 'mask left out: run lengths that are no whole numbers'),
        ([[1, 2, 3, 4]], 'polygon left out: less than three points'),
        ([[]], 'polygon left out: less than three points'),
        ([1, 2, 3, 4], 'polygon left out: less than three points'),
        ([[1, 2, 3, 4, float('nan'), 5]], 'polygon left out: no list of x, y'),
        ([[1, 2, 3, 4, 1e9, 5]], 'polygon left out: far outside the image'),
        ([[1e9, 1e9, 1e9, 1e9, 1e9, 1e9]], 'polygon left out: far outside the image'),
        ([[0, 0, 1e4, 1e4] * 100], 'polygon left out: far outside the image'),
        ('polygon', 'polygon left out: no list of x, y'),
    ],
)
def test_what_a_segmentation_lacks_is_said(segmentation, noted):
    mask, found = mask_of(segmentation)
    assert mask is None and len(found) == 1 and found[0].startswith(f'1 {noted}')


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
    table['annotations'].append(None)
    marks, noted = read_marks(table, images)
    assert [m.box for m in marks] == [(50.0, 5.0, 60.0, 10.0)]
    assert noted == [
        '1 annotation left out: it is no JSON object (first: annotations[11], None)',
        '2 annotations left out: a crowd (iscrowd 1): --crowds reads it as an object '
        '(first: annotation 0 of a.png)',
        '1 annotation left out: its category is not in the file (first: annotation 2 of a.png)',
        '1 box left out: outside the image (first: annotation 3 of a.png)',
        '1 box cut: it sticks out of the image (first: annotation 4 of a.png)',
        '1 box left out: smaller than a pixel (first: annotation 5 of a.png)',
        '3 annotations left out: no segmentation or bbox [x, y, w, h] to use '
        '(first: annotation 6 of a.png)',
        '1 polygon left out: less than three points (first: annotation 8 of a.png)',
        '1 mask left out: empty (first: annotation 9 of a.png)',
        '1 COCO image left out: no image of its name, or more than one (first: gone.png)',
        '1 annotation left out: its image is not in the file (first: annotation 10)',
    ]
    assert len(read_marks(table, images, crowds=True)[0]) == 3


@pytest.mark.parametrize('kept', [[], [SQUARE]])
def test_a_part_of_two_points_costs_the_part_alone(images, kept):
    table = coco([{'category_id': 3, 'bbox': BOX, 'segmentation': [*kept, [10, 10, 11, 10]]}])
    (mark,), noted = read_marks(table, images)
    at = '(first: annotation 0 of a.png)'
    assert noted[0] == f'1 polygon left out: less than three points {at}'
    if kept:
        assert mark.mask[5:15, 10:30].all() and mark.mask.sum() == 200 and len(noted) == 1
    else:
        assert mark.box == (10, 5, 30, 15)
        assert noted[1:] == [
            f'1 annotation read by its bbox: no part of its segmentation is left {at}'
        ]


def test_two_images_of_one_name_are_left_out(images):
    table = coco([{'category_id': 3, 'bbox': BOX}])
    table['images'].append({'id': 2, 'file_name': './a.png'})
    marks, noted = read_marks(table, images)
    assert not marks and noted[0].startswith('2 COCO images left out: no image of its name, or m')


def test_classes_whose_ids_are_no_numbers_are_numbered(images):
    table = coco([{'category_id': 'b', 'bbox': BOX}])
    table['categories'] = [{'id': 'a', 'name': 'cup'}, {'id': 'b', 'name': 'bowl'}]
    assert [(m.class_id, m.class_name) for m in read_marks(table, images)[0]] == [(1, 'bowl')]


def test_an_image_of_another_size_is_left_out(images):
    table = coco([{'category_id': 3, 'bbox': BOX}])
    table['images'][0]['width'] = 61
    marks, noted = read_marks(table, images)
    assert not marks and 'its size is not the one in the COCO file' in noted[0]


@pytest.mark.parametrize(
    ('change', 'part'),
    [
        ({'images': None}, "no list 'images'"),
        ({'annotations': {}}, "no list 'annotations'"),
        ({'categories': [None]}, 'categories[0], None, needs an id, and a name that is text'),
        ({'categories': [{'id': 3, 'name': 7}]}, "categories[0], {'id': 3, 'name': 7}, needs"),
        ({'categories': [{'name': 'x'}]}, "categories[0], {'name': 'x'}, needs an id"),
        ({'categories': [{'id': 1, 'name': 'a'}, {'id': '1', 'name': 'b'}]}, "'a' and 'b' both"),
        ({'categories': [{'id': 1, 'name': ' '}]}, "categories[0], {'id': 1, 'name': ' '}, needs"),
        ({'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'a'}]}, "both called 'a'"),
        ({'images': [{'id': 1}]}, "images[0], {'id': 1}, needs an id, and a file_name"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(images, change, part):
    path = write_coco(images.parent, {**coco([]), **change})
    with pytest.raises(InputError) as caught:
        CocoFile(path, open_pictures(images))
    assert part in str(caught.value) and str(path) in str(caught.value)


def test_no_json_is_refused(images, tmp_path):
    path = tmp_path / 'x.json'
    for content in (b'{', b'\xff', b'[' * 100_000, b'[]'):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r'x\.json'):
            CocoFile(path, open_pictures(images))


def test_frames_of_a_video_are_found_by_number(tmp_path):
    video = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 5, SIZE)
    for _ in range(3):
        writer.write(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    writer.release()
    table = coco([{'category_id': 3, 'bbox': [10, 5, 20, 10]}])
    table['images'][0]['file_name'] = 'clip/frame_000002.jpg'
    path = write_coco(tmp_path, table)
    marks, _ = read(CocoFile(path, open_pictures(video)), video)
    assert list(marks) == ['000002']
    for name, expected in (('other/frame_2.png', ['000002']), ('clip/2.png', [])):
        table['images'].append({'id': len(table['images']) + 1, 'file_name': name})
        annotations = CocoFile(write_coco(tmp_path, table), open_pictures(video))
        marks, noted = read(annotations, video)
        assert list(marks) == expected and 'or more than one' in noted[-1]
