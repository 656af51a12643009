# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The objects of one frame: each is measured inside its box, and once for each of its masks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.results.frames import ObjectInfo
from detsam2_ros.results.masks import Box, Mask
from detsam2_ros.results.space import Object3D, Position, Reason
from detsam2_ros.space.camera import CameraView
from detsam2_ros.space.depth import DepthImage
from detsam2_ros.space.measure import MeasureOptions, measure

_UNSEEN = Position(Reason.NOT_VISIBLE)


@dataclass(frozen=True)
class Measured:
    """What was measured of an object, and the mask that it was measured with."""

    mask: Mask | None  # None: it has no pixels
    position: Position


@dataclass(frozen=True)
class FrameMeasure:
    """The objects of a frame in space."""

    by_id: Mapping[int, Measured]
    objects: tuple[Object3D, ...]
    # Points by id, float32 [n, 3], where they were asked for; none of objects that are not valid.
    points: Mapping[int, np.ndarray] = field(default_factory=dict)


def measure_frame(
    frame: TimelineFrame,
    depth: DepthImage,
    view: CameraView,
    options: MeasureOptions,
    before: Mapping[int, Measured] | None = None,
    want_points: bool = False,
) -> FrameMeasure:
    """Measure all objects of a frame.

    view: of the camera, as large as the masks. before: what was measured of this
    frame with the same depth, at an earlier revision: where the mask stayed, so does the position.
    """
    labels = frame.labels
    by_id, points = {}, {}
    for thing in frame.objects:
        box = _box(thing, labels.shape)
        if box is None:
            by_id[thing.id] = Measured(None, _UNSEEN)
            continue
        x0, y0, x1, y1 = box
        pixels = labels[y0:y1, x0:x1] == thing.id
        mask = Mask.of_crop((len(labels), labels.shape[1]), y0, x0, pixels)
        held = before.get(thing.id) if before is not None else None
        if not mask:
            by_id[thing.id] = Measured(None, _UNSEEN)
        elif held is not None and held.mask == mask and not want_points:
            by_id[thing.id] = held
        else:
            position, cloud = _measured(pixels, box, depth, view, options)
            by_id[thing.id] = Measured(mask, position)
            if want_points and position.valid:
                points[thing.id] = cloud
    objects = tuple(placed(thing, by_id[thing.id].position) for thing in frame.objects)
    return FrameMeasure(by_id, objects, points)


def without_depth(frame: TimelineFrame, reason: Reason) -> FrameMeasure:
    """Return the objects of a frame that has no depth: none has a position."""
    nowhere = Position(reason)
    objects = tuple(placed(t, nowhere if t.visible else _UNSEEN) for t in frame.objects)
    return FrameMeasure({}, objects)


def placed(thing: ObjectInfo, position: Position) -> Object3D:
    """Put an object at a position."""
    return Object3D(
        id=thing.id,
        class_id=thing.class_id,
        class_name=thing.class_name,
        score=thing.score,
        state=thing.state,
        position=position,
    )


def _box(thing: ObjectInfo, shape: tuple[int, ...]) -> Box | None:
    """Return the box of an object inside an image of a shape; None where it has none."""
    if thing.box is None or not thing.visible or not all(map(math.isfinite, thing.box)):
        return None
    x0, y0, x1, y1 = map(int, thing.box)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, shape[1]), min(y1, shape[0])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _measured(
    pixels: np.ndarray, box: Box, depth: DepthImage, view: CameraView, options: MeasureOptions
) -> tuple[Position, np.ndarray]:
    return measure(
        pixels,
        depth.crop(box, view.model.size),
        view.rays(box),
        view.pixel,
        options,
    )
