# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""YOLO label files: normalised boxes and outlines come out where they were."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from annotation_cases import SIZE, read, write_image
from hypothesis import given, settings
from hypothesis import strategies as st

from detsam2_ros.banks.pictures import open_pictures
from detsam2_ros.banks.yolo_labels import YoloLabels, polygon_mask
from detsam2_ros.media.video import InputError

WIDTH, HEIGHT = SIZE


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('yolo')
    write_image(folder / 'images' / 'train' / 'a.png')
    (folder / 'labels' / 'train').mkdir(parents=True)
    (folder / 'data.yaml').write_text('names: {0: cup, 3: bowl}\n')
    return folder


def read_marks(data, text, place='labels', **options):
    (data / 'labels' / 'train' / 'a.txt').write_text(text)
    images = data / 'images'
    labels = YoloLabels(data / place, open_pictures(images), **options)
    marks, noted = read(labels, images)
    return marks['train/a.png'], noted


corner = st.floats(0, 1)
BOX = '.5 .5 .5 .5'
TAKEN = '1 line cut: its last 1 is taken for a track id; write 1.0 where it is a coordinate'


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.integers(0, 25), st.integers(6, 60), st.integers(6, 40),
            st.floats(0.25, 1, width=32),
        ),
        min_size=1, max_size=4,
    ),
    st.permutations([2, 1, 23, 4]), st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_what_ultralytics_writes_comes_back(data, found, ids, outlined, tracked, confident):
    """Results.save_txt writes labels of predict, and of track, with and without confidences."""
    results = pytest.importorskip('ultralytics.engine.results')
    torch = pytest.importorskip('torch')
    boxes = [(x, y, min(x + w, WIDTH), min(y + h, HEIGHT)) for x, y, w, h, _ in found]
    rows = [
        (*box, *((ids[i],) if tracked else ()), found[i][4], 3) for i, box in enumerate(boxes)
    ]
    masks = np.zeros((len(rows), HEIGHT, WIDTH), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    file = data / 'labels' / 'train' / 'a.txt'
    file.unlink(missing_ok=True)
    results.Results(
        np.zeros((HEIGHT, WIDTH, 3), np.uint8), 'a.png', {3: 'bowl'}, torch.tensor(rows),
        masks=torch.tensor(masks.astype(np.float32)) if outlined else None,
    ).save_txt(file, save_conf=confident)  # fmt: skip
    marks, noted = read_marks(data, file.read_text(), group='instance')
    assert len(marks) == len(rows) and all('last 1 is taken' in sentence for sentence in noted)
    for i, mark in enumerate(marks):
        if outlined:
            # The outline goes through the centres of the outermost pixels; it is written with
            # their corners as coordinates.
            assert (mark.mask & masks[i]).sum() / (mark.mask | masks[i]).sum() > 0.6
        else:
            np.testing.assert_allclose(mark.box, boxes[i], atol=1e-3)
        if tracked:
            assert mark.key == f'bowl-{ids[i]}'
        elif not confident or found[i][4] < 0.999:
            assert mark.key == f'bowl-train/a-{i + 1}'


@pytest.mark.parametrize(
    ('lines', 'is_box', 'keys', 'noted'),
    [
        ([f'{BOX} 0.91 2'], True, ['2'], []),
        ([f'{BOX} 0.91 1'], True, ['1'], [TAKEN]),
        ([f'{BOX} 0.91 1', f'{BOX} 0.91 2'], True, ['1', '2'], []),
        ([f'{BOX} 7', f'{BOX} 1'], True, ['7', '1'], []),  # save_txt without save_conf
        ([f'{BOX} 0.5', f'{BOX} 1'], True, [None, None], []),  # a confidence of 1
        ([f'{BOX} 0.5', f'{BOX} 0.91 1'], True, [None, '1'], [TAKEN]),  # not tracked on all frames
        (['.5 .5 1 1'], True, [None], []),
        (['.1 .1 .9 .1 .5 1', '.1 .1 .9 .1 .5 .9'], False, [None, None], []),  # down to the edge
        (['.1 .1 .9 .1 .5 1.0'], False, [None], []),
        (['.1 .1 .9 .1 .5 .9 1 3', '.1 .1 .9 .1 .5 .9 3'], False, ['3', '3'], []),
    ],
)
def test_what_ends_a_line(data, lines, is_box, keys, noted):
    """An id is whole, from 1, without a point; a 1 may be three things, and other lines tell."""
    marks, found = read_marks(data, '\n'.join(f'0 {v}' for v in lines), group='instance')
    assert [sentence.partition(' (first')[0] for sentence in found] == noted
    assert [mark.box is not None for mark in marks] == [is_box] * len(lines)
    if lines[0].startswith(BOX):
        assert all(mark.box == (15, 10, 45, 30) for mark in marks)
    expected = [key or f'train/a-{i}' for i, key in enumerate(keys, 1)]
    assert [mark.key for mark in marks] == [f'cup-{key}' for key in expected]


@pytest.mark.parametrize(
    ('names', 'frames'),
    [
        (['clip_1', 'clip_3'], [0, 2]),  # ultralytics counts from 1
        (['clip_0', 'clip_3'], [0, 3]),
        (['frame_000001', 'frame_000003'], [1, 3]),
    ],
)
def test_labels_of_a_video_belong_to_frames(tmp_path, names, frames):
    video = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 5, SIZE)
    for _ in range(5):
        writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    writer.release()
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / 'classes.txt').write_text('cup')
    for name in names:
        (tmp_path / 'labels' / f'{name}.txt').write_text(f'0 {BOX}')
    marks, noted = read(YoloLabels(tmp_path / 'labels', open_pictures(video)), video)
    assert [int(name) for name in marks] == frames and not noted


@settings(max_examples=100)
@given(corner, corner, corner, corner, st.sampled_from([0, 3]), st.booleans())
def test_boxes_come_back(data, ax, ay, bx, by, class_id, confident):
    x0, x1, y0, y1 = min(ax, bx), max(ax, bx), min(ay, by), max(ay, by)
    line = f'{class_id} {(x0 + x1) / 2:.6f} {(y0 + y1) / 2:.6f} {x1 - x0:.6f} {y1 - y0:.6f}'
    marks, noted = read_marks(data, line + (' 0.87' if confident else ''))
    expected = np.array([x0 * WIDTH, y0 * HEIGHT, x1 * WIDTH, y1 * HEIGHT])
    small = min(expected[2] - expected[0], expected[3] - expected[1])
    if small < 0.999:
        assert not marks and 'smaller than a pixel' in noted[0]
    elif small > 1.001:
        np.testing.assert_allclose(marks[0].box, expected, atol=0.001)
        assert marks[0].class_id == class_id and not noted


def test_an_outline_is_a_mask(data):
    marks, noted = read_marks(data, '3 0.5 0.25 1 0.25 1 0.75 0.5 0.75\n\n0 0 0 .5 0 .5 .5 0.9')
    assert not noted
    assert [m.class_name for m in marks] == ['bowl', 'cup']
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[10:30, 30:60] = True
    apart = marks[0].mask ^ expected
    assert apart.sum() <= 2 * (20 + 30)  # the outline itself
    assert not apart[11:29, 31:].any()
    assert marks[1].mask.sum() == pytest.approx(WIDTH * HEIGHT / 8, rel=0.15)


@settings(max_examples=60)
@given(st.integers(0, 59), st.integers(0, 39), st.integers(1, 60), st.integers(1, 40))
def test_whole_pixels_are_filled_as_they_are(x, y, w, h):
    x1, y1 = min(x + w, WIDTH), min(y + h, HEIGHT)
    corners = np.array([[x + 0.5, y + 0.5], [x1 - 0.5, y + 0.5], [x1 - 0.5, y1 - 0.5],
                        [x + 0.5, y1 - 0.5]])  # fmt: skip
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[y:y1, x:x1] = True
    np.testing.assert_array_equal(polygon_mask(corners, SIZE), expected)


def test_keypoints_are_no_outline(data, tmp_path):
    names = tmp_path / 'pose.yaml'
    names.write_text('kpt_shape: [2, 3]\nnames: [cup]\n')
    for tail, key in (('', 'train/a-1'), (' .9', 'train/a-1'), (' .9 4', '4')):
        line = f'0 {BOX} .1 .1 2 .9 .9 2{tail}'
        marks, _ = read_marks(data, line, names=names, group='instance')
        assert [(mark.box, mark.key) for mark in marks] == [((15, 10, 45, 30), f'cup-{key}')]
    names.write_text('kpt_shape: 17\nnames: [cup]\n')
    with pytest.raises(InputError, match='kpt_shape is not'):
        read_marks(data, line, names=names)


def test_data_yaml_alone_finds_the_labels_as_ultralytics_does(data):
    marks, _ = read_marks(data, '0 .5 .5 .5 .5', place='data.yaml', group='instance')
    assert [m.key for m in marks] == ['cup-train/a-1']


def test_what_cannot_be_used_is_counted(data):
    lines = [
        'cup .5 .5 .5 .5', '0 .5 .5 .5', '0 .5 .5 .5 nan', '1 .5 .5 .5 .5', '0.5 .5 .5 .5 .5',
        '0 30 20 5 5', '0 1.5 .5 .1 .1', '0 1.005 .5 .01 .1', '0 .95 .5 .4 .4',
        '0 1.01 1.01 1.01 1.01 1.01 1.01', '0 30 20 35 20 35 29', '0 .5 .5 .5 .5 7 3',
    ]  # fmt: skip
    marks, noted = read_marks(data, '\n'.join(lines))
    assert len(marks) == 1 and marks[0].box == pytest.approx((45, 12, 60, 28))
    assert noted == [
        '3 lines left out: it is not a class and four or more numbers '
        '(first: train/a.txt, line 1)',
        '1 line left out: class 1 has no name (first: train/a.txt, line 4)',
        '1 line left out: class 0.5 has no name (first: train/a.txt, line 5)',
        '4 lines left out: its numbers are no shares of the image, 0 to 1 '
        '(first: train/a.txt, line 6)',
        '1 box left out: smaller than a pixel (first: train/a.txt, line 8)',
        '1 box cut: it sticks out of the image (first: train/a.txt, line 9)',
        '1 mask left out: empty (first: train/a.txt, line 10)',
    ]


@settings(max_examples=150)
@given(st.text(max_size=60) | st.lists(st.floats(width=32), max_size=9).map(
    lambda v: ' '.join(map(str, v))))  # fmt: skip
def test_any_text_is_read_or_counted(data, text):
    try:
        read_marks(data, text.encode('utf-8', 'ignore').decode())
    except InputError as error:
        raise AssertionError(text) from error


def test_files_that_are_missing_or_no_text_are_named(data, tmp_path):
    images = open_pictures(data / 'images')
    with pytest.raises(InputError, match='no such folder'):
        YoloLabels(tmp_path / 'no', images)
    (tmp_path / 'a').mkdir()
    with pytest.raises(InputError, match='what the classes are called'):
        YoloLabels(tmp_path / 'a', images)
    (tmp_path / 'a' / 'classes.txt').write_text('cup\n')
    with pytest.raises(InputError, match='no label file'):
        YoloLabels(tmp_path / 'a', images)
    (tmp_path / 'data.yaml').write_text('names: [cup, cup]')
    with pytest.raises(InputError, match="both called 'cup'"):
        YoloLabels(data / 'labels', images, names=tmp_path / 'data.yaml')
    (data / 'labels' / 'train' / 'a.txt').write_bytes(b'\xff')
    _, noted = read(YoloLabels(data / 'labels', images), data / 'images')
    why = 'it cannot be read as text in UTF-8'
    assert f'1 label file left out: {why} (first: train/a.txt)' in noted
