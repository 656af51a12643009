# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""FrameResult.to_supervision against the real package, where it is installed."""

import sys
from typing import Any

import numpy as np
import pytest
from fakes import ColourDetector, Run
from stream_cases import USUAL, picture

from detsam2_ros.engine import FrameResult, Object
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.results.masks import Mask

SIZE = (40, 60)  # height, width
WHY_SKIPPED = 'the optional package supervision is not installed: pip install supervision'


@pytest.fixture
def supervision() -> Any:
    return pytest.importorskip('supervision', reason=WHY_SKIPPED)


def rectangle(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    pixels = np.zeros(SIZE, bool)
    pixels[y0:y1, x0:x1] = True
    return pixels


CUP, BOWL = rectangle(4, 6, 14, 26), rectangle(30, 10, 50, 20)
SHOWN = (
    Object(3, 41, 'cup', 0.75, True, Mask.of(CUP)),
    Object(7, 45, 'blue bowl', 0.5, False, Mask.of(BOWL), ObjectState.TENTATIVE),
)
INVISIBLE = Object(5, 41, 'cup', 0.125, False, Mask(SIZE))


def result_of(*objects: Object) -> FrameResult:
    labels = np.zeros(SIZE, np.uint16)
    for thing in objects:
        labels[thing.mask.pixels()] = thing.id
    return FrameResult('front', 0, 0, 0, False, objects, labels, ())


def check(detections: Any, objects: tuple[Object, ...], masks: list[np.ndarray]) -> None:
    """Compare each field with the objects: value, dtype and shape."""
    count = len(objects)
    assert len(detections) == count
    assert detections.xyxy.dtype == np.float32 and detections.xyxy.shape == (count, 4)
    assert [tuple(box) for box in detections.xyxy.tolist()] == [thing.box for thing in objects]
    assert detections.mask.dtype == bool and detections.mask.shape == (count, *SIZE)
    for row, mask in zip(detections.mask, masks, strict=True):
        np.testing.assert_array_equal(row, mask)
    for name, of in (('class_id', 'class_id'), ('tracker_id', 'id')):
        numbers = getattr(detections, name)
        assert np.issubdtype(numbers.dtype, np.integer) and numbers.shape == (count,)
        assert numbers.tolist() == [getattr(thing, of) for thing in objects]
    assert detections.confidence.dtype == np.float32 and detections.confidence.shape == (count,)
    assert detections.confidence.tolist() == [thing.score for thing in objects]
    names = detections.data['class_name']
    assert names.dtype.kind == 'U' and names.shape == (count,)
    assert names.tolist() == [thing.class_name for thing in objects]
    states = detections.data['state']
    assert states.dtype.kind == 'U' and states.shape == (count,)
    assert states.tolist() == [thing.state.name.lower() for thing in objects]


def test_every_field_has_the_value_of_its_object(supervision: Any) -> None:
    detections = result_of(*SHOWN).to_supervision()
    assert isinstance(detections, supervision.Detections)
    check(detections, SHOWN, [CUP, BOWL])
    assert detections.xyxy.tolist() == [[4, 6, 14, 26], [30, 10, 50, 20]]
    assert detections.data['state'].tolist() == ['confirmed', 'tentative']


def test_a_frame_without_objects_has_no_detections(supervision: Any) -> None:
    detections = result_of().to_supervision()
    check(detections, (), [])
    assert detections.is_empty()


def test_an_invisible_object_is_left_out(supervision: Any) -> None:
    check(result_of(INVISIBLE).to_supervision(), (), [])
    first, second = SHOWN
    check(result_of(first, INVISIBLE, second).to_supervision(), SHOWN, [CUP, BOWL])


def test_filters_and_joins_of_the_package_keep_the_rows_together(supervision: Any) -> None:
    detections = result_of(*SHOWN).to_supervision()
    check(detections[detections.class_id == 45], SHOWN[1:], [BOWL])
    check(detections[detections.data['class_name'] == 'cup'], SHOWN[:1], [CUP])
    none = result_of(INVISIBLE).to_supervision()
    check(supervision.Detections.merge([none, detections]), SHOWN, [CUP, BOWL])


def test_annotators_draw_where_the_masks_are(supervision: Any) -> None:
    image = np.full((*SIZE, 3), 128, np.uint8)
    detections = result_of(*SHOWN, INVISIBLE).to_supervision()
    drawn = supervision.MaskAnnotator().annotate(image.copy(), detections)
    np.testing.assert_array_equal((drawn != image).any(axis=2), CUP | BOWL)
    labelled = supervision.LabelAnnotator().annotate(image.copy(), detections)
    assert (labelled != image).any()
    none = result_of(INVISIBLE).to_supervision()
    for annotator in (supervision.MaskAnnotator(), supervision.LabelAnnotator()):
        np.testing.assert_array_equal(annotator.annotate(image.copy(), none), image)


def test_results_of_a_stream_convert(supervision: Any) -> None:
    run = Run(ColourDetector(['red', 'green']), mode='online', **USUAL)
    run.push(picture('red', 'green'), picture('red', 'green', shift=1))
    result = run.latest()[1]
    detections = result.to_supervision()
    assert len(detections) == 2
    assert detections.tracker_id.tolist() == [thing.id for thing in result.objects]
    np.testing.assert_array_equal(detections.mask, result.masks)
    assert detections.data['class_name'].tolist() == ['red', 'green']


def test_without_the_package_one_sentence_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(ImportError) as caught:
        result_of(*SHOWN).to_supervision()
    assert str(caught.value) == (
        'to_supervision needs the package supervision: pip install supervision'
    )
