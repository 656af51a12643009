# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Bad images and detections give one clear error; the stream goes on and no frame is lost."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, iou, mask, scene
from stream_cases import GOOD, RED, SIZE, USUAL, nothing_was_lost

from detsam2_ros.results.errors import ImageError

pytestmark = pytest.mark.usefixtures('both_modes')

# ---- images
BAD_IMAGES = [
    (None, 'must be a numpy array uint8 [H, W, 3] RGB, got NoneType'),
    ([[[0, 0, 0]]], 'got list'),
    ('image.png', 'got str'),
    (GOOD.astype(np.float32), 'must be uint8 [H, W, 3] RGB, got float32 [48, 64, 3]'),
    (GOOD.astype(np.int16), 'got int16'),
    (GOOD.astype(bool), 'got bool'),
    (GOOD[:, :, 0], 'got uint8 [48, 64]'),
    (GOOD[:, :, :2], 'got uint8 [48, 64, 2]'),
    (np.zeros((48, 64, 4), np.uint8), 'got uint8 [48, 64, 4]'),
    (GOOD.transpose(2, 0, 1), 'got uint8 [3, 48, 64]'),
    (GOOD[None], 'got uint8 [1, 48, 64, 3]'),
    (GOOD[:0], 'the image is empty (64x0)'),
    (GOOD[:, :0], 'the image is empty (0x48)'),
    (GOOD[:40], "the image is 64x40 but the stream's frames are 64x48"),
    (GOOD[:, :60], 'the image is 60x48'),
]


@pytest.mark.parametrize(('image', 'message'), BAD_IMAGES)
@pytest.mark.parametrize('before', [1, 3, 4])
def test_a_bad_image_is_refused_and_the_stream_is_as_before(image, message, before):
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*[GOOD] * before)
    with pytest.raises(ImageError) as caught:
        run.stream.push(image, 0)
    assert str(caught.value).startswith("stream 'front': ") and message in str(caught.value)
    run.push(*[GOOD] * (8 - before))
    nothing_was_lost(run, 8)
    assert all(run.ids(i) == [1] for i in range(8))


@pytest.mark.parametrize('image', [GOOD[:0], GOOD[0], GOOD.astype(float)])
def test_a_bad_first_image_does_not_fix_the_size(image):
    run = Run(None, **USUAL)
    with pytest.raises(ImageError):
        run.stream.push(image, 0)
    run.push(*[np.zeros((32, 32, 3), np.uint8)] * 4)
    nothing_was_lost(run, 4)


@pytest.mark.parametrize('stamp', [1.5, None, '1', True, float('nan')])
def test_a_stamp_that_is_no_whole_number_is_refused(stamp):
    run = Run(None, **USUAL)
    with pytest.raises(ImageError, match='a stamp must be int nanoseconds, got'):
        run.stream.push(GOOD, stamp)
    run.push(*[GOOD] * 4)
    nothing_was_lost(run, 4)


def test_stamps_are_kept_as_they_are():
    run = Run(None, **USUAL)
    stamps = [np.int64(7), -5, 2**62, 0]
    results = [r for stamp in stamps for r in run.stream.push(GOOD, stamp)]
    assert [r.stamp for r in results] == [7, -5, 2**62, 0]
    assert all(type(r.stamp) is int for r in results)


def test_images_of_any_memory_layout_are_taken():
    rgb = scene(('red', 14, 24), size=SIZE)
    wide = np.zeros((48, 128, 3), np.uint8)
    wide[:, ::2] = rgb
    frozen = rgb.copy()
    frozen.flags.writeable = False
    layouts = [np.asfortranarray(rgb), wide[:, ::2], rgb[::-1][::-1], frozen]
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*layouts)
    assert [run.ids(i) for i in range(4)] == [[1]] * 4
    assert all((r.labels == run.results[0].labels).all() for r in run.results)


def test_a_camera_may_reuse_its_buffer(both_modes):
    """What was pushed is what is segmented, whatever becomes of the array afterwards."""
    batch = 4 if both_modes == 'window' else 1
    run = Run(ColourDetector(['red']), **USUAL, encode_batch=batch)
    buffer = np.empty_like(GOOD)
    for i in range(4):
        buffer[:] = scene(('red', 14 + 8 * i, 24), size=SIZE)
        run.push(buffer)
    for i in range(4):
        expected = colour_mask(scene(('red', 14 + 8 * i, 24), size=SIZE), 'red')
        assert iou(mask(run.latest()[i], 1), expected) > 0.5


@pytest.mark.parametrize('size', [(1, 1), (1, 500), (500, 1), (7, 3)])
def test_tiny_images_are_segmented_all_the_same(size):
    run = Run(ScriptedDetector(lambda frame: [(0, (0.0, 0.0, *size[::-1]))], 4), **USUAL)
    run.push(*[np.full((*size, 3), 200, np.uint8)] * 8)
    nothing_was_lost(run, 8)
    assert all(r.masks.shape[1:] == size for r in run.results)


# ---- detections
def all_found(boxes: list) -> Run:
    run = Run(ScriptedDetector({0: [(0, RED)], 4: boxes, 8: [(0, RED)]}, 4), **USUAL)
    run.push(*[GOOD] * 12)
    nothing_was_lost(run, 12)
    return run


@pytest.mark.parametrize('box', [
    (np.nan, 0, 9, 9), (np.nan,) * 4, (0, 0, np.inf, 9), (-np.inf, -np.inf, np.inf, np.inf),
    (500, 500, 600, 600), (-90, -90, -10, -10), (20, 20, 20, 20), (30, 30, 10, 10),
    (5, 5, 5.5, 40),
])
def test_boxes_that_cannot_be_a_prompt_are_dropped_and_counted(box):
    run = all_found([(0, box), (0, RED)])
    assert all(run.ids(i) == [1] for i in range(12))
    stats = run.engine.stats()
    assert (stats.detections, stats.rejected_detections, stats.objects) == (4, 1, 1)
    assert stats.conditioned_frames == 3


def test_a_score_that_is_no_number_is_dropped_and_counted():
    run = all_found([(0, RED, float('nan'))])
    assert run.engine.stats().rejected_detections == 1
    assert run.stream.conditioned_frames(1) == (0, 8)


def test_boxes_are_clipped_to_the_image():
    run = Run(ScriptedDetector({0: [(0, (-1e4, -1e4, 1e4, 1e4))]}, 4), **USUAL)
    run.push(*[scene(('red', 32, 24, 20), size=SIZE)] * 4)
    assert run.ids(0) == [1]


@pytest.mark.parametrize('count', [0, 60])
def test_any_number_of_detections(count):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 30, (count, 2))
    boxes = [(int(i), (x, y, x + 15, y + 15)) for i, (x, y) in enumerate(corners)]
    run = Run(ScriptedDetector(lambda frame: boxes, 4), **USUAL, max_objects=10)
    run.push(*[scene(('white', 32, 24, 40), size=SIZE)] * 12)
    nothing_was_lost(run, 12)
    stats = run.engine.stats()
    assert stats.detections == 3 * count
    assert stats.objects == min(count, 10)
    assert all(len(run.ids(i, visible=False)) == min(count, 10) for i in range(4, 12))
