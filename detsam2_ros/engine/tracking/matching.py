# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which detection is which object, and which detections start new objects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from detsam2_ros.results.detections import Detections
from detsam2_ros.results.masks import box_iou


def assign(
    detections: Detections, boxes: np.ndarray, class_ids: np.ndarray, match_iou: float
) -> np.ndarray:
    """Match detections to objects one to one, by box IoU and within a class.

    boxes: float [m, 4] xyxy pixels, the objects' boxes on the detections' frame; a row of zeros
    or NaN is an object without a mask there, it matches nothing. class_ids: int [m]. Of all
    pairs of a class with an IoU of at least match_iou (and above 0), the choice has the highest
    sum of IoUs. Returns int64 [n]: the object's row for each detection, or -1.
    """
    rows = np.full(len(detections), -1, np.int64)
    iou = _class_iou(detections.boxes, detections.class_ids, boxes, class_ids)
    # What may not be paired weighs nothing, so it never changes which allowed pairs win.
    weight = np.where(iou >= match_iou, iou, 0.0)
    for i, j in zip(*linear_sum_assignment(weight, maximize=True), strict=True):
        if weight[i, j] > 0:
            rows[i] = j
    return rows


def new_objects(
    detections: Detections,
    assignment: np.ndarray,
    boxes: np.ndarray,
    class_ids: np.ndarray,
    new_object_score: float,
    overlap_iou: float,
) -> list[int]:
    """Return which unmatched detections start an object, best score first.

    A detector may find one thing several times; so a detection starts nothing when its IoU with
    a matched object of its class (the object's box or the detection it was matched to) or
    with a better detection that starts an object is at least overlap_iou (and above 0).
    assignment: int [n], from `assign`; boxes, class_ids: the objects, as for `assign`.
    """
    matched = np.flatnonzero(assignment >= 0)
    taken_boxes = np.concatenate(
        [
            np.asarray(boxes, np.float64).reshape(-1, 4)[assignment[matched]],
            detections.boxes[matched],
        ]
    )
    taken_ids = np.concatenate(
        [
            np.asarray(class_ids, np.int64).reshape(-1)[assignment[matched]],
            detections.class_ids[matched],
        ]
    )
    with_taken = _class_iou(detections.boxes, detections.class_ids, taken_boxes, taken_ids)
    among = _class_iou(
        detections.boxes, detections.class_ids, detections.boxes, detections.class_ids
    )
    starts: list[int] = []
    for i in np.argsort(-detections.scores, kind='stable'):
        if assignment[i] >= 0 or not detections.scores[i] >= new_object_score:
            continue
        overlap = max([0.0, *with_taken[i], *among[i, starts]])
        if overlap == 0.0 or overlap < overlap_iou:
            starts.append(int(i))
    return starts


def assign_by_class(
    detections: Detections, known: Mapping[int, int], new_object_score: float
) -> tuple[np.ndarray, list[int]]:
    """Match by class alone: one object per class, and the best detection of a class is it.

    known: class id -> row of the object of this class. Returns int64 [n], the object's row for
    each detection or -1, and the detections that start the object of a class not yet known,
    best score first.
    """
    rows = np.full(len(detections), -1, np.int64)
    starts: list[int] = []
    seen: set[int] = set()
    for i in np.argsort(-detections.scores, kind='stable'):
        class_id = int(detections.class_ids[i])
        if class_id in seen:
            continue
        seen.add(class_id)
        if class_id in known:
            rows[i] = known[class_id]
        elif detections.scores[i] >= new_object_score:
            starts.append(int(i))
    return rows, starts


def _class_iou(
    boxes: np.ndarray, class_ids: np.ndarray, others: np.ndarray, other_ids: np.ndarray
) -> np.ndarray:
    """Return the IoU of boxes [n, 4] with others [m, 4], float64 [n, m], 0 across classes."""
    iou = box_iou(_finite_boxes(boxes), _finite_boxes(others))
    ids, others_of = np.asarray(class_ids).reshape(-1, 1), np.asarray(other_ids).reshape(1, -1)
    return np.where(ids == others_of, iou, 0.0)


def _finite_boxes(boxes: np.ndarray) -> np.ndarray:
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    boxes[~np.isfinite(boxes).all(axis=1)] = 0.0
    return boxes
