# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measure of one object: from the depth inside its mask to a position, or to none.

The centroid is the mean of the points of the visible surface: of the object's side that faces the
camera, a point a pixel. Of a ball that is nearer to the camera than its centre, by two thirds of
the radius.
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
_ROUNDS = 2  # of the cut: the first median and deviation still know of what is cut


@dataclass(frozen=True)
class MeasureOptions:
    """What is enough, and what is too much."""

    erosion: int = 1  # pixels that the mask loses all around
    min_points: int = 20  # fewer are no surface
    min_share: float = 0.15  # of the eroded mask that must have depth
    cut: float = 3.0  # deviations from the median along the ray beyond which a point is cut
    max_pixels: int = 6000  # of a box; of a larger one, every second, third, ... row and column


def eroded(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Take so many pixels off all sides of a mask, bool [h, w]; the crop's edge is a side too.

    A mask that would vanish loses fewer.
    """
    small = mask.view(np.uint8)
    for _ in range(pixels):
        less = cv2.erode(small, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        if np.count_nonzero(less) * 3 < np.count_nonzero(small):
            break
        small = less
    return small.view(bool)


def stride_of(shape: tuple[int, ...], max_pixels: int) -> int:
    """Return which rows and columns of a crop count, so that not many more pixels do."""
    return max(1, round((shape[0] * shape[1] / max_pixels) ** 0.5))


def measure(
    mask: np.ndarray, depth: np.ndarray, rays: np.ndarray, options: MeasureOptions
) -> tuple[Position, np.ndarray]:
    """Measure an object; returns its position and its points, float32 [n, 3], none if not valid.

    mask: bool [h, w], eroded. depth: float32 [h, w], metres, NaN = none. rays: float32 [h, w, 3],
    of CameraModel.rays. All of the same pixels.
    """
    inside = int(np.count_nonzero(mask))
    z, along = depth[mask], rays[mask]
    known = np.isfinite(z) & np.isfinite(along[:, 0])
    z, along = z[known], along[known]
    share = len(z) / inside if inside else 0.0
    if len(z) < options.min_points or share < options.min_share:
        return Position(Reason.TOO_LITTLE_DEPTH, points=len(z), depth_share=share), _NONE
    width = np.sqrt(inside) * _pixel_angle(along, inside)
    keep = _surface(z, width, options)
    kept = z[keep]
    # Points follow each other row by row, so most are beside the one before.
    rough = float(np.median(np.abs(np.diff(kept)))) if len(kept) > 1 else 0.0
    if len(kept) < options.min_points or rough > _ROUGH * width * float(np.median(kept)):
        return Position(Reason.NO_SURFACE, points=len(kept), depth_share=share), _NONE
    points = along[keep] * kept[:, None]
    exact = points.astype(np.float64)
    return (
        Position(
            Reason.VALID,
            centroid=_point(exact.mean(axis=0)),
            box_min=_point(points.min(axis=0)),
            box_max=_point(points.max(axis=0)),
            spread=_point(exact.std(axis=0)),
            points=len(points),
            depth_share=share,
        ),
        points,
    )


_NONE = np.zeros((0, 3), np.float32)


def _point(values: np.ndarray) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _pixel_angle(along: np.ndarray, inside: int) -> float:
    """Return about how far apart neighbouring rays are at a depth of 1."""
    # The standard deviation of a square of side s is s / sqrt(12), also for most other shapes.
    spread = float(np.sqrt(along[:, 0].var() * along[:, 1].var()))
    return float(np.sqrt(12 * spread / inside))


def _surface(z: np.ndarray, width: float, options: MeasureOptions) -> np.ndarray:
    """Return which depths are of the object's own surface, bool [n].

    width: of the object at a depth of 1.
    """
    low, high = _own_interval(np.sort(z), width)
    keep = (z >= low) & (z <= high)
    for _ in range(_ROUNDS):
        kept = z[keep]
        middle = float(np.median(kept))
        # Where depth comes in steps, most of a surface may lie on one.
        deviation = max(_TO_SIGMA * float(np.median(np.abs(kept - middle))), 0.1 * width * middle)
        reach = options.cut * deviation
        keep = (z >= max(low, middle - reach)) & (z <= min(high, middle + reach))
    return keep


def _own_interval(ordered: np.ndarray, width: float) -> tuple[float, float]:
    """Return between which depths the object lies, where there are surfaces at several.

    ordered: depths, ascending.
    """
    steps = np.diff(ordered)
    ends = np.flatnonzero(steps > _GAP * width * ordered[:-1])
    if not len(ends):
        return float(ordered[0]), float(ordered[-1])
    starts = np.concatenate([[0], ends + 1])
    stops = np.concatenate([ends + 1, [len(ordered)]])
    counts = stops - starts
    large = np.flatnonzero(counts >= _NEAR_SHARE * len(ordered))
    which = int(large[0]) if len(large) else int(counts.argmax())
    return float(ordered[starts[which]]), float(ordered[stops[which] - 1])
