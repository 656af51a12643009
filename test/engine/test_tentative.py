# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""On which frames a detector should have found an object: each rule by masks made by hand."""

import numpy as np
import pytest

from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.tentative import detected_area, missed
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.masks import Mask

OWN, OTHER = 1, 2  # classes


def mask(x0: int, y0: int, x1: int, y1: int) -> Mask:
    pixels = np.zeros((40, 40), bool)
    pixels[y0:y1, x0:x1] = True
    return Mask.of(pixels)


def found(class_id: int, *box: float) -> Detections:
    return Detections(np.array([box], np.float32), np.array([class_id]), np.array([0.9]))


WHOLE = (0, 0, 10, 10)  # the object's mask, 100 pixels
# name: the object's mask on frame 4, what else there is of masks (class, confirmed, mask) and
# detections, and whether the frame counts as a miss.
RULES = {
    'nothing else': (WHOLE, None, None, True),
    'it is not seen': (None, None, None, False),
    'half of it is left': ((0, 0, 10, 5), None, None, True),
    'less than half of it is left': ((0, 0, 7, 7), None, None, False),
    'a fifth is covered': (WHOLE, (OTHER, False, (8, 0, 30, 30)), None, False),
    'less than a fifth is covered': (WHOLE, (OTHER, False, (9, 0, 30, 30)), None, True),
    'a detection of another class there': (WHOLE, None, found(OTHER, 0, 0, 10, 10), False),
    'a detection of another class elsewhere': (WHOLE, None, found(OTHER, 20, 20, 30, 30), True),
    'the mask of a confirmed one': (WHOLE, (OTHER, True, WHOLE), found(OTHER, 0, 0, 10, 10), True),
    'the mask of a tentative one': (WHOLE, (OTHER, False, WHOLE), None, False),
    'an IoU of 0.7 with a confirmed one': (WHOLE, (OTHER, True, (0, 0, 10, 7)), None, True),
    'an IoU of 0.6 with a confirmed one': (WHOLE, (OTHER, True, (0, 0, 10, 6)), None, False),
    'inside one of its class': (WHOLE, (OWN, True, (0, 2, 30, 30)), None, True),
    'not quite inside one of its class': (WHOLE, (OWN, True, (0, 3, 30, 30)), None, False),
    'inside one of another class': (WHOLE, (OTHER, True, (0, 0, 30, 30)), None, False),
}


@pytest.mark.parametrize('name', RULES)
def test_what_counts_as_a_miss(name):
    box, beside, detections, expected = RULES[name]
    obj = TrackedObject(1, OWN, 'own', matched=frozenset({0}), detected_area=100)
    others, masks = [obj], {(4, obj): None if box is None else mask(*box)}
    if beside is not None:
        class_id, confirmed, theirs = beside
        others.append(TrackedObject(2, class_id, 'other', confirmed=confirmed))
        masks[4, others[1]] = mask(*theirs)
    frame = Frame(4, 0, None, searched=True, detections=detections)
    assert bool(missed(obj, [frame], others, lambda *at: masks.get(at), 0.3)) == expected


@pytest.mark.parametrize('index, searched, matched, expected', [
    (4, True, {0}, 1), (4, False, {0}, 0), (4, True, {0, 4}, 0), (4, True, {8}, 0),
    (4, True, set(), 0),
])
def test_which_frames_count(index, searched, matched, expected):
    obj = TrackedObject(1, OWN, 'own', matched=frozenset(matched), detected_area=100)
    frame = Frame(index, 0, None, searched=searched)
    assert len(missed(obj, [frame], [obj], lambda *_: mask(*WHOLE), 0.3)) == expected


def test_the_largest_mask_where_it_was_detected():
    obj = TrackedObject(1, OWN, 'own', matched=frozenset({0, 4, 8}))
    masks = {0: mask(0, 0, 5, 5), 4: mask(*WHOLE), 12: mask(0, 0, 30, 30)}
    assert detected_area(obj, lambda index, _: masks.get(index)) == 100
    assert detected_area(obj, lambda *_: None) == 0
