# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measure of one object: from the depth inside its mask to a position, or to none.

The centroid is the mean of the points of the visible surface: of the object's side that faces the
camera, a point for each pixel of the mask. Of a ball that is nearer to the camera than its centre,
by two thirds of the radius. A pixel without depth, and one at the mask's rim, counts with the
depth of the nearest pixel that was measured: so holes do not pull the centroid to one side. Where
depth shows another surface the mask is wrong, and its pixels do not count; save right beside the
object's own depth, where a depth camera mixes both.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detsam2_ros.results.space import Point, Position, Reason

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_TO_SIGMA = 1.4826  # from the median absolute deviation, of normal noise
# Shares of the object's own width. Two surfaces are apart where no depth lies in between over the
# first; what differs by the second from one pixel to the next, in the median, is no surface.
_GAP, _ROUGH = 0.5, 0.25
# The nearer surface is the object's if it has this share of the points: what is wrongly inside a
# mask mostly lies behind. With less it is noise, or something that hides a corner of the object.
_NEAR_SHARE = 0.25
_MIN_DEVIATION = 0.1  # share of the object's width
_BLEEDING = 3  # pixels beside the object's own depth where that of others is no news
_FEW = 0.1  # share of the depths; so few of another surface say nothing of the mask
# Of an object without depth of its own, the rim of the mask may show that of the background. So
# its core, the half of the pixels farthest from the edge, must have as great a share of depth as
# the whole mask, times this.
_CORE = 1 / 3
_MOST = 0.6  # share of depth from which on the core cannot have so little
_ROUNDS = 2  # of the cut: the first median and deviation still know of what is cut


@dataclass(frozen=True)
class MeasureOptions:
    """What is enough, and what is too much."""

    erosion: int = 1  # pixels that the mask loses all around
    min_points: int = 20  # fewer are no surface
    min_share: float = 0.15  # of the eroded mask that must have depth
    cut: float = 3.0  # deviations from the median along the ray beyond which a point is cut
    max_pixels: int = 1000  # of a mask; of a larger one, every second, third, ... row and column


def eroded(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Take so many pixels off all sides of a mask, bool [h, w]; the crop's edge is a side too.

    A mask that would vanish loses fewer.
    """
    small: np.ndarray = mask.view(np.uint8)
    for _ in range(pixels):
        less: np.ndarray = cv2.erode(
            small, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        if np.count_nonzero(less) * 3 < np.count_nonzero(small):
            break
        small = less
    return small.view(bool)


def rows_that_count(inside: np.ndarray, max_pixels: int) -> slice:
    """Return which rows and columns of a mask count, so that not many more pixels do."""
    count = int(np.count_nonzero(inside))
    stride = max(1, round((count / max_pixels) ** 0.5))
    while True:
        some = slice(stride // 2, None, stride)  # as far from either edge
        # A thin mask may lie between the rows.
        if stride == 1 or np.count_nonzero(inside[some, some]) * stride**2 * 2 >= count:
            return some
        stride -= 1


def _core(mask: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the half of a mask's inside that is farthest from its edge, bool [h, w], or more."""
    padded = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    # In steps along rows and columns, up to 255: many times faster than straight lines.
    away = cv2.distanceTransform(padded, cv2.DIST_L1, 3, dstType=cv2.CV_8U)[1:-1, 1:-1]
    values = away[inside]
    core: np.ndarray = away >= np.partition(values, len(values) // 2)[len(values) // 2]
    return core


def measure(
    mask: np.ndarray,
    depth: np.ndarray,
    rays: np.ndarray,
    pixel: float,
    options: MeasureOptions,
) -> tuple[Position, np.ndarray]:
    """Measure an object; returns its position and its points, float32 [n, 3], none if not valid.

    mask: bool [h, w]. depth: float32 [h, w], metres, NaN = none. rays: float32 [3, h, w], of
    CameraModel.rays. All of the same pixels. pixel: how far apart neighbouring rays are at a depth
    of 1.
    """
    inside = eroded(mask, options.erosion)
    whole = mask, inside
    some = rows_that_count(inside, options.max_pixels)
    if (stride := some.step) > 1:
        mask, inside, depth, rays = (each[..., some, some] for each in (mask, inside, depth, rays))
    planes, finite = rays.reshape(3, -1), np.isfinite(rays[0])
    known = np.flatnonzero(inside & finite & np.isfinite(depth))
    z, count = depth.take(known), int(np.count_nonzero(inside))
    share = len(z) / count if count else 0.0
    if len(z) < options.min_points or share < options.min_share:
        return Position(Reason.TOO_LITTLE_DEPTH, points=len(z), depth_share=share), _NONE
    width = count**0.5 * stride * pixel
    ordered = _surface(z, width, options)
    keep = (z >= ordered[0]) & (z <= ordered[-1])
    kept = z[keep]
    # Points follow each other row by row, so most are beside the one before.
    if len(kept) < options.min_points or _is_rough(kept, _ROUGH * width * _middle(ordered)):
        return Position(Reason.NO_SURFACE, points=len(kept), depth_share=share), _NONE
    if len(kept) < _MOST * count:
        core = inside & _core(*whole)[some, some]
        in_core = np.count_nonzero(core.take(known[keep]))
        if in_core * count < _CORE * len(kept) * np.count_nonzero(core):
            return Position(Reason.TOO_LITTLE_DEPTH, points=len(kept), depth_share=share), _NONE
    points = planes.take(known[keep], axis=1) * kept
    sides = _unseen(mask & finite, known, keep, kept, planes, _BLEEDING / stride)
    total = points.sum(axis=1, dtype=np.float64)
    centroid = (total + sides.sum(axis=1, dtype=np.float64)) / (len(kept) + sides.shape[1])
    off = points - (total / len(kept)).astype(np.float32)[:, None]
    return (
        Position(
            Reason.VALID,
            centroid=_point(centroid),
            box_min=_point(points.min(axis=1)),
            box_max=_point(points.max(axis=1)),
            spread=_point(np.sqrt(np.einsum('ij,ij->i', off, off) / len(kept))),
            points=len(kept),
            depth_share=share,
        ),
        points.T,
    )


_NONE = np.zeros((0, 3), np.float32)


def _unseen(
    mask: np.ndarray,
    known: np.ndarray,
    keep: np.ndarray,
    kept: np.ndarray,
    planes: np.ndarray,
    bleeding: float,
) -> np.ndarray:
    """Return the points of the surface where it was not measured, float32 [3, n].

    mask: bool [h, w], pixels that have a ray. known: pixels that were measured, row by row. keep:
    of these, whether their depth is of the object; kept: that depth. planes: rays, float32
    [3, h * w]. bleeding: _BLEEDING, in pixels that count.
    """
    good = known[keep]
    away, label = _nearest(good, mask.shape)
    missing = mask.copy()
    missing.reshape(-1)[good] = False
    if len(good) < (1 - _FEW) * len(keep):
        is_own = _looked_up(_nearest(known, mask.shape)[1], known, keep, slice(None))
        missing &= is_own.reshape(mask.shape) | (away <= bleeding)
    at = np.flatnonzero(missing)
    return planes.take(at, axis=1) * _looked_up(label, good, kept, at)


def _nearest(there: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return of each pixel how far the nearest one of some is, float32 [h, w], and its label."""
    gaps = np.ones(shape, np.uint8)
    gaps.reshape(-1)[there] = 0
    away, label = cv2.distanceTransformWithLabels(
        gaps, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    return away, label.reshape(-1)


def _looked_up(
    label: np.ndarray, there: np.ndarray, values: np.ndarray, at: np.ndarray | slice
) -> np.ndarray:
    """Return the value of the nearest pixel that is there, of the pixels `at`."""
    own = label[there]
    by_label = np.empty(int(own.max()) + 1, values.dtype)
    by_label[own] = values
    return by_label[label[at]]


def _point(values: np.ndarray) -> Point:
    x, y, z = values.tolist()
    return x, y, z


def _middle(ordered: np.ndarray) -> float:
    """Return the median of ascending values, the upper one of two."""
    return float(ordered[len(ordered) // 2])


def _deviation(ordered: np.ndarray, middle: float) -> float:
    """Return the median distance of ascending values from a value among them.

    The nearest half of the values follow each other: of all runs of so many, theirs reaches least
    far.
    """
    half = len(ordered) // 2
    below, above = middle - ordered[: len(ordered) - half], ordered[half:] - middle
    return float(np.maximum(below, above).min())


def _is_rough(z: np.ndarray, step: float) -> bool:
    """Return whether depths differ from one to the next by more than a step, in the median."""
    steps = np.abs(z[1:] - z[:-1])
    return 2 * int(np.count_nonzero(steps > step)) >= max(len(steps), 1)


def _surface(z: np.ndarray, width: float, options: MeasureOptions) -> np.ndarray:
    """Return the depths that are of the object's own surface, ascending.

    width: of the object at a depth of 1.
    """
    ordered = _own(np.sort(z), width)
    for _ in range(_ROUNDS):
        before, middle = len(ordered), _middle(ordered)
        # Where depth comes in steps, most of a surface may lie on one.
        deviation = max(_TO_SIGMA * _deviation(ordered, middle), _MIN_DEVIATION * width * middle)
        reach = options.cut * deviation
        first, last = ordered.searchsorted([middle - reach, middle + reach])
        ordered = ordered[first:last]
        if len(ordered) == before:
            break
    return ordered


def _own(ordered: np.ndarray, width: float) -> np.ndarray:
    """Return the depths of the object itself, where there are surfaces at several.

    ordered: depths, ascending.
    """
    ends = np.flatnonzero(ordered[1:] - ordered[:-1] > _GAP * width * ordered[:-1]) + 1
    if not len(ends):
        return ordered
    bounds = [0, *ends.tolist(), len(ordered)]
    parts = [ordered[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    large = [part for part in parts if len(part) >= _NEAR_SHARE * len(ordered)]
    return large[0] if large else max(parts, key=len)
