# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages that are not as their definition says: refused by name, and nothing of them taken."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from client_cases import STEP, compressed, correction, labels_of, masks, objects

from detsam2_ros.client import MaskTimeline

FIRST = labels_of(0, 0, 1, 1, 0, 0, 1, 1)
AFTER = labels_of(0, 1, 1, 1, 0, 0, 2, 1)


def state(timeline: MaskTimeline) -> str:
    """Write down all that a timeline holds."""
    kept = {name: value for name, value in vars(timeline).items() if name != '_lock'}
    entries = [(stamp, vars(parts)) for stamp, parts in timeline._all_parts()]
    views = [(stamp, parts.best and parts.best.get()) for stamp, parts in timeline._all_parts()]
    return repr((kept, entries, views))


@pytest.fixture
def timeline() -> MaskTimeline:
    timeline = MaskTimeline()
    for i in range(3):
        timeline.add_masks(masks(FIRST, i * STEP))
        timeline.add_objects(objects(i * STEP, i))
    timeline.add_masks(masks(FIRST, 3 * STEP))  # its objects have not come
    return timeline


def changed(message: SimpleNamespace, path: str, value: object) -> SimpleNamespace:
    message = copy.deepcopy(message)
    *inner, last = path.split('.')
    part = message
    for name in inner:
        part = getattr(part, name)
    setattr(part, last, value)
    return message


MASKS = [
    ('encoding', 'rgb8', "masks: encoding is 'rgb8', not 'mono16'"),
    ('encoding', '', "masks: encoding is '', not 'mono16'"),
    ('height', 0, 'masks: an image of 4x0 has no pixels'),
    ('width', 0, 'masks: an image of 0x2 has no pixels'),
    ('step', 7, 'masks: step of 7 bytes for rows of 4 16-bit pixels'),
    ('data', b'\0' * 15, 'masks: 15 bytes of data for 2 rows of 8 bytes each'),
    ('data', b'\0' * 17, 'masks: 17 bytes of data for 2 rows of 8 bytes each'),
    ('data', b'', 'masks: 0 bytes of data for 2 rows of 8 bytes each'),
    ('height', 3, 'masks: 16 bytes of data for 3 rows of 8 bytes each'),
]


@pytest.mark.parametrize(('path', 'value', 'sentence'), MASKS)
def test_masks(timeline: MaskTimeline, path: str, value: object, sentence: str) -> None:
    before = state(timeline)
    with pytest.raises(ValueError) as error:
        timeline.add_masks(changed(masks(AFTER, STEP), path, value))
    assert str(error.value) == sentence
    assert state(timeline) == before


OBJECTS = [
    ('boxes', [1.0] * 5, 'objects of frame 3: boxes has 5 elements for 2 ids, not 8'),
    ('scores', [], 'objects of frame 3: scores has 0 elements for 2 ids, not 2'),
    ('class_names', ['a'], 'objects of frame 3: class_names has 1 elements for 2 ids, not 2'),
    ('states', [2], 'objects of frame 3: states has 1 elements for 2 ids, not 2'),
    ('states', [2, 0], 'objects of frame 3: states holds 0, which is neither TENTATIVE (1) nor '
     'CONFIRMED (2)'),
    ('states', b'\x03\x02', 'objects of frame 3: states holds 3, which is neither TENTATIVE (1) '
     'nor CONFIRMED (2)'),
    ('revision', 2, 'objects of frame 3: revision is 2, not 0; objects of later revisions come '
     'within corrections'),
]  # fmt: skip


@pytest.mark.parametrize(('path', 'value', 'sentence'), OBJECTS)
def test_objects(timeline: MaskTimeline, path: str, value: object, sentence: str) -> None:
    before = state(timeline)
    with pytest.raises(ValueError) as error:
        timeline.add_objects(changed(objects(3 * STEP, 3, (1, 2)), path, value))
    assert str(error.value) == sentence
    assert state(timeline) == before


# The patch is 2x2 at x=1, y=0 of an image of 4x2.
CORRECTIONS = [
    ('roi.x_offset', 3, 'roi of 2x2 pixels at x=3, y=0 leaves the image of 4x2'),
    ('roi.y_offset', 1, 'roi of 2x2 pixels at x=1, y=1 leaves the image of 4x2'),
    ('roi.x_offset', 2**32 - 1, 'leaves the image of 4x2'),
    ('roi.width', 1, 'patch is 2x2, but roi 1x2'),
    ('roi.height', 0, 'patch is 2x2, but roi 2x0'),
    ('patch.encoding', '16UC1', "patch: encoding is '16UC1', not 'mono16'"),
    ('patch.data', b'\0' * 9, 'patch: 9 bytes of data for 2 rows of 4 bytes each'),
    ('revision', 0, 'revision is 0; corrections count from 1'),
    ('frame_index', 7, 'frame_index is 7, but 1 in its objects'),
    ('objects.revision', 2, 'revision is 1, but 2 in its objects'),
    ('objects.final', True, 'final is False, but True in its objects'),
    ('objects.header.stamp.sec', 9, 'its objects have another stamp'),
    ('objects.ids', [], 'objects of frame 1: class_ids has 1 elements for 0 ids, not 0'),
    ('objects.states', [0], 'objects of frame 1: states holds 0, which is neither TENTATIVE (1)'),
    ('objects.states', [], 'objects of frame 1: states has 0 elements for 1 ids, not 1'),
    ('withdrawn_ids', [4], 'withdrawn_ids has 4, which is not in changed_ids'),
    ('withdrawn_ids', [1], 'withdrawn_ids has 1, which is among its objects'),
]


@pytest.mark.parametrize(('path', 'value', 'sentence'), CORRECTIONS)
def test_corrections(timeline: MaskTimeline, path: str, value: object, sentence: str) -> None:
    before = state(timeline)
    sound = correction(FIRST, AFTER, STEP, 1)
    with pytest.raises(ValueError, match='^correction of frame [17]: ') as error:
        timeline.add_correction(changed(sound, path, value))
    assert sentence in str(error.value)
    assert state(timeline) == before
    assert timeline.add_correction(sound).revision == 1


PNG = compressed(masks(FIRST, 3 * STEP)).data
BAD_PNG = [
    ('format', 'mono16; jpeg compressed mono8', 'only PNG keeps the ids'),
    ('format', '', "format is ''"),
    ('format', '16UC1; compressedDepth png', "format is '16UC1; compressedDepth png'"),
    ('data', b'', '0 bytes of data are no whole PNG'),
    ('data', PNG[:-1], 'are no whole PNG'),
    ('data', PNG[1:], 'are no whole PNG'),
    ('data', PNG[:45] + bytes(8) + PNG[53:], 'is damaged'),
    # A size that would take gigabytes; 8 bits; colours.
    ('data', PNG[:16] + b'\x7f\xff\xff\xff' + PNG[20:], 'a PNG of 2147483647x2 with 16 bits'),
    ('data', PNG[:24] + b'\x08' + PNG[25:], 'with 8 bits, kind 0'),
    ('data', PNG[:25] + b'\x02' + PNG[26:], 'with 16 bits, kind 2'),
]


@pytest.mark.parametrize(('path', 'value', 'sentence'), BAD_PNG)
def test_compressed(timeline: MaskTimeline, path: str, value: object, sentence: str) -> None:
    before = state(timeline)
    correct = correction(FIRST, AFTER, STEP, 1)
    for add, message, inner, names in (
        (timeline.add_masks, masks(FIRST, 4 * STEP), '', 'masks'),
        (timeline.add_correction, correct, 'patch.', 'correction of frame 1: patch'),
    ):
        with pytest.raises(ValueError) as error:
            add(changed(compressed(message), inner + path, value))
        # A patch must have the size of its roi, whatever else is wrong with it.
        text = str(error.value)
        assert text.startswith(names) and (sentence in text or inner and 'but roi 2x2' in text)
    assert state(timeline) == before


def test_an_empty_roi_with_a_patch(timeline: MaskTimeline) -> None:
    before = state(timeline)
    message = correction(FIRST, AFTER, STEP, 1)
    message.roi.width = message.roi.height = 0
    with pytest.raises(ValueError, match='roi is empty, but the patch has 8 bytes'):
        timeline.add_correction(message)
    assert state(timeline) == before


def test_a_correction_of_another_image_size(timeline: MaskTimeline) -> None:
    large = np.zeros((20, 20), np.uint16)
    message = correction(large, large + 3, STEP, 1)
    before = state(timeline)
    with pytest.raises(ValueError, match='roi of 20x20 pixels at x=0, y=0 leaves the image of 4x'):
        timeline.add_correction(message)
    # Also when the masks of its own frame have not come: images of a stream have one size.
    with pytest.raises(ValueError, match='leaves the image of 4x2'):
        timeline.add_correction(correction(large, large + 3, 4 * STEP, 4))
    assert state(timeline) == before


def test_a_correction_before_any_masks_that_do_not_fit_it() -> None:
    timeline = MaskTimeline()
    large = np.zeros((20, 20), np.uint16)
    timeline.add_correction(correction(large, large + 3, 0, 0))
    assert timeline.add_masks(masks(FIRST, 0)) is None
    frame = timeline.add_objects(objects(0, 0))
    assert frame.revision == 0
    np.testing.assert_array_equal(frame.labels, FIRST)
