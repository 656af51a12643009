# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Results as messages: a correction on top of revision 0 gives exactly the later labels."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('rclpy')
pytest.importorskip('detsam2_msgs')

from fakes import ColourDetector, Run, scene
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header

from detsam2_msgs.msg import CompressedMaskCorrection, MaskCorrection, ObjectArray
from detsam2_ros.messages.png import read_png
from detsam2_ros.results.frames import FrameResult, Object, ObjectState
from detsam2_ros.results.masks import Mask
from detsam2_ros.ros.images import label_image, read_labels
from detsam2_ros.ros.result_messages import (
    FirstLabels,
    compressed_correction,
    correction,
    object_array,
    occupied,
)

pytestmark = pytest.mark.ros

Rectangle = tuple[int, int, int, int, int]  # id, x0, y0, x1, y1


def header() -> Header:
    made = Header(frame_id='front_optical')
    made.stamp.sec, made.stamp.nanosec = 12, 345
    return made


def result(height: int, width: int, rectangles: list[Rectangle], revision: int = 0,
           holes: int = 0) -> FrameResult:
    """Make a result whose objects are rectangles, later ones on top, with some holes."""
    random = np.random.default_rng(holes)
    labels = np.zeros((height, width), np.uint16)
    objects, masks = [], []
    for id_, x0, y0, x1, y1 in rectangles:
        mask = np.zeros((height, width), bool)
        mask[y0:y1, x0:x1] = True
        if holes:
            mask &= random.random(mask.shape) > 0.3
        labels[mask] = id_
        masks.append(mask)
    for i, (id_, *_) in enumerate(rectangles):
        mask = Mask.of(masks[i])
        objects.append(Object(id_, id_ % 7, f'class {id_ % 7}', 0.5, i % 2 == 0, mask))
    changed = tuple(sorted({r[0] for r in rectangles}))
    return FrameResult('front', 3, 0, revision, revision > 1, tuple(objects), labels, changed)


@st.composite
def revisions(draw) -> list[FrameResult]:
    """Draw revision 0 and up to three later ones of one frame."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    rectangle = st.tuples(
        st.integers(1, 65535), st.integers(0, width), st.integers(0, height),
        st.integers(0, width), st.integers(0, height))
    count = draw(st.integers(1, 4))
    return [
        result(height, width,
               draw(st.lists(rectangle, max_size=3, unique_by=lambda r: r[0])), i,
               draw(st.integers(0, 3)))
        for i in range(count)
    ]


def applied(first: np.ndarray, message: MaskCorrection) -> np.ndarray:
    """Do what the message's documentation says to."""
    roi = message.roi
    labels = first.copy()
    patch = np.frombuffer(message.patch.data, np.uint16).reshape(roi.height, roi.width)
    labels[roi.y_offset : roi.y_offset + roi.height, roi.x_offset : roi.x_offset + roi.width] = (
        patch)
    return labels


def check_patch(first: FrameResult, later: FrameResult, message: MaskCorrection) -> None:
    assert np.array_equal(applied(first.labels, message), later.labels)
    rows, columns = np.nonzero(first.labels != later.labels)
    roi = message.roi
    box = (roi.x_offset, roi.y_offset, roi.width, roi.height)
    if not len(rows):
        assert box == (0, 0, 0, 0)
        assert len(message.patch.data) == 0
    else:  # the smallest one that holds all changes
        assert box == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert (message.patch.width, message.patch.height) == (roi.width, roi.height)
    assert message.patch.encoding == 'mono16'
    assert len(message.patch.data) == 2 * roi.width * roi.height
    assert not roi.do_rectify


# ---- corrections
@given(revisions())
def test_each_correction_alone_brings_revision_0_up_to_date(found):
    first = FirstLabels.of(found[0])
    for later in found[1:]:
        check_patch(found[0], later, correction(later, header(), first))


@given(revisions())
def test_a_compressed_correction_says_the_same(found):
    first = FirstLabels.of(found[0])
    for later in found[1:]:
        sent = correction(later, header(), first)
        made = compressed_correction(sent)
        got = deserialize_message(serialize_message(made), CompressedMaskCorrection)
        assert got == made and got.header == got.patch.header == sent.header
        assert not got.correction.patch.data
        if sent.patch.data:
            assert got.patch.format == 'mono16; png compressed '  # as image_transport names it
            got.correction.patch = label_image(header(), read_png(got.patch, 'patch'))
            assert got.correction == sent
        else:
            assert not got.patch.data


@given(revisions())
def test_what_is_kept_is_independent_of_the_result(found):
    first = FirstLabels.of(found[0])
    kept = found[0].labels.copy()
    found[0].labels[:] = 9
    for later in found[1:]:
        assert np.array_equal(applied(kept, correction(later, header(), first)), later.labels)


@given(revisions())
def test_all_labels_lie_in_the_occupied_region(found):
    x0, y0, x1, y1 = occupied(found[0])
    inside = np.zeros_like(found[0].labels, bool)
    inside[y0:y1, x0:x1] = True
    assert not found[0].labels[~inside].any()


def test_a_correction_survives_the_wire():
    first = result(20, 30, [(7, 2, 3, 9, 9)])
    later = result(20, 30, [(7, 4, 3, 12, 9), (300, 20, 10, 25, 15)], revision=2)
    sent = correction(later, header(), FirstLabels.of(first))
    got = deserialize_message(serialize_message(sent), MaskCorrection)
    assert got == sent
    check_patch(first, later, got)
    assert got.header == got.objects.header == got.patch.header == header()
    assert (got.frame_index, got.revision, got.final) == (3, 2, True)
    assert (got.objects.frame_index, got.objects.revision, got.objects.final) == (3, 2, True)
    assert list(got.changed_ids) == [7, 300] and list(got.withdrawn_ids) == []
    assert list(got.objects.ids) == [7, 300]
    # Known by hand: 2..4 lost, 9..12 gained, and the new one from 20 to 25.
    roi = got.roi
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (2, 3, 23, 12)


def test_a_withdrawal_names_the_id_and_takes_its_pixels_back():
    first = result(20, 30, [(7, 2, 3, 9, 9), (8, 20, 10, 25, 15)])
    later = replace(
        result(20, 30, [(8, 20, 10, 25, 15)], revision=1), changed_ids=(7,), withdrawn_ids=(7,))
    sent = correction(later, header(), FirstLabels.of(first))
    for message in (sent, compressed_correction(sent).correction):
        got = deserialize_message(serialize_message(message), MaskCorrection)
        assert (list(got.changed_ids), list(got.withdrawn_ids)) == ([7], [7])
        assert (got.withdrawn_ids.typecode, list(got.objects.ids)) == ('H', [8])
        roi = got.roi
        assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (2, 3, 7, 6)
    check_patch(first, later, sent)


@pytest.mark.parametrize('rectangles', [[], [(5, 0, 0, 30, 20)], [(5, 29, 19, 30, 20)]])
def test_labels_that_are_again_those_of_revision_0_have_no_region(rectangles):
    first = result(20, 30, rectangles)
    message = correction(result(20, 30, rectangles, 1), header(), FirstLabels.of(first))
    check_patch(first, result(20, 30, rectangles, 1), message)
    assert message.roi.width == 0
    serialize_message(message)


@pytest.mark.parametrize(('before', 'after'), [
    ([], [(5, 3, 2, 9, 8)]),  # appears
    ([(5, 3, 2, 9, 8)], []),  # vanishes
    ([(5, 3, 2, 9, 8)], [(6, 3, 2, 9, 8)]),  # another id in the same place
    ([(5, 0, 0, 2, 2)], [(5, 28, 18, 30, 20)]),  # from corner to corner
    ([(5, 0, 0, 30, 20)], [(65535, 0, 0, 30, 20)]),  # the whole image, the highest id
    ([(5, 3, 2, 9, 8), (6, 4, 4, 6, 6)], [(6, 4, 4, 6, 6), (5, 3, 2, 9, 8)]),  # which is on top
])
def test_objects_that_appear_vanish_or_move(before, after):
    first, later = result(20, 30, before), result(20, 30, after, 1)
    check_patch(first, later, correction(later, header(), FirstLabels.of(first)))


def test_what_is_kept_is_small_for_small_objects():
    first = FirstLabels.of(result(720, 1280, [(1, 100, 100, 120, 110)]))
    assert first.crop.nbytes == 20 * 10 * 2
    assert first.crop.base is None
    assert FirstLabels.of(result(720, 1280, [])).crop.nbytes == 0


def test_corrections_of_the_engine_give_its_final_labels():
    """Two discs that the detector misses at first: found later, and corrected backwards."""
    pictures = [scene(('red', 10 + i, 20), ('green', 40 - i, 24), size=(48, 64))
                for i in range(16)]

    class Late(ColourDetector):
        def detect(self, images):
            found = super().detect(images)
            self.calls = getattr(self, 'calls', 0) + 1
            return found if self.calls > 1 else [type(f).empty() for f in found]

    run = Run(Late(['red', 'green']), window_size=4, detect_interval=4, max_propagation=12)
    run.push(*pictures)
    run.flush()
    firsts, count = {}, 0
    for found in run.results:
        if found.revision == 0:
            firsts[found.index] = (found, FirstLabels.of(found))
        else:
            count += 1
            first, kept = firsts[found.index]
            check_patch(first, found, correction(found, header(), kept))
    assert count
    assert not firsts[0][0].labels.any() and run.latest()[0].labels.any()


# ---- objects
def test_objects_are_flat_arrays_of_one_order():
    objects = (
        Object(7, 2, 'cup', 0.25, True, Mask((48, 64), (1, 2, 30, 41)), ObjectState.TENTATIVE),
        Object(65535, 2**31 - 1, 'bäll', 1.0, False, Mask((48, 64))),
    )
    labels = np.zeros((48, 64), np.uint16)
    found = FrameResult('front', 2**40, 5, 3, True, objects, labels, ())
    message = object_array(found, header())
    got = deserialize_message(serialize_message(message), ObjectArray)
    assert got == message
    assert got.header == header()
    assert (got.frame_index, got.revision, got.final) == (2**40, 3, True)
    assert (got.ids.typecode, list(got.ids)) == ('H', [7, 65535])
    assert (got.class_ids.typecode, list(got.class_ids)) == ('i', [2, 2**31 - 1])
    assert got.class_names == ['cup', 'bäll']
    assert (got.scores.typecode, list(got.scores)) == ('f', [0.25, 1.0])
    assert (got.boxes.typecode, list(got.boxes)) == ('f', [1.0, 2.0, 30.0, 41.0, 0, 0, 0, 0])
    assert got.visible == [True, False]
    assert got.conditioned == [True, False]
    assert list(got.states) == [ObjectArray.TENTATIVE, ObjectArray.CONFIRMED] == [1, 2]


def test_no_object_is_a_message_too():
    message = object_array(result(4, 6, []), header())
    got = deserialize_message(serialize_message(message), ObjectArray)
    assert got == message
    for name in (
        'ids', 'class_ids', 'class_names', 'scores', 'boxes', 'visible', 'conditioned', 'states',
    ):
        assert len(getattr(got, name)) == 0


def test_the_engines_own_objects_and_labels_become_messages():
    run = Run(ColourDetector(['red', 'green']), window_size=2, detect_interval=2,
              max_propagation=4)
    run.push(*[scene(('red', 20, 20), ('green', 44, 30), size=(48, 64))] * 2)
    for found in run.results:
        message = deserialize_message(
            serialize_message(object_array(found, header())), ObjectArray)
        assert list(message.ids) == [o.id for o in found.objects]
        boxes = np.array(message.boxes).reshape(-1, 4)
        assert boxes.tolist() == [list(o.box) for o in found.objects]
        picture = label_image(header(), found.labels)
        assert np.array_equal(read_labels(picture), found.labels)
        assert set(np.unique(found.labels)) == {0, *message.ids}
