# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Clips of class-agnostic random shapes that move, turn, scale and hide each other.

The billiards scene alone teaches "segment the disc"; these clips keep the model from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

PATCH = 96  # side of the square a shape is drawn in before it is placed


@dataclass
class _Shape:
    texture: np.ndarray  # uint8 [PATCH, PATCH, 3]
    alpha: np.ndarray  # uint8 [PATCH, PATCH]
    radius: float
    start_xy: np.ndarray
    velocity_xy: np.ndarray
    wobble: np.ndarray  # amplitude x, y, angular speed, phase
    angle: float
    spin: float
    growth: float
    solid: bool  # False for pure occluders, which carry no label


def _colour(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, 3).astype(np.float32)


def texture(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a random uint8 [size, size, 3] texture: flat, gradient, stripes, checks or blobs."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    kind = int(rng.integers(5))
    frequency = rng.uniform(2, 9)
    if kind == 0:
        mix = np.zeros_like(x)
    elif kind == 1:
        mix = along + 0.5
    elif kind == 2:
        mix = 0.5 + 0.5 * np.sin(2 * math.pi * frequency * along)
    elif kind == 3:
        mix = (np.sin(2 * math.pi * frequency * along) * np.sin(
            2 * math.pi * frequency * across) > 0).astype(np.float32)
    else:
        coarse = rng.random((int(rng.integers(3, 14)),) * 2).astype(np.float32)
        mix = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    mix = np.clip(mix, 0, 1)[..., None]
    first, second = _colour(rng), _colour(rng)
    if rng.random() < 0.5:  # low contrast as often as high
        second = np.clip(first + rng.normal(0, 25, 3), 0, 255).astype(np.float32)
    return (first * (1 - mix) + second * mix).astype(np.uint8)


def _outline(rng: np.random.Generator) -> np.ndarray:
    """Return an outline in the unit disc, float32 [n, 2]."""
    kind = int(rng.integers(4))
    if kind == 0:  # ellipse
        t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        ratio = rng.uniform(0.5, 1.0)
        points = np.stack([np.cos(t), ratio * np.sin(t)], 1)
    elif kind == 1:  # convex-ish polygon
        t = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 8))))
        points = np.stack([np.cos(t), np.sin(t)], 1)
    elif kind == 2:  # star
        n = 2 * int(rng.integers(3, 7))
        t = np.linspace(0, 2 * math.pi, n, endpoint=False)
        r = np.where(np.arange(n) % 2 == 0, 1.0, rng.uniform(0.45, 0.85))
        points = np.stack([r * np.cos(t), r * np.sin(t)], 1)
    else:  # smooth blob
        t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
        r = 0.75 + sum(
            rng.uniform(0, 0.12) * np.cos(k * t + rng.uniform(0, 6.3)) for k in (2, 3, 5))
        points = np.stack([r * np.cos(t), r * np.sin(t)], 1)
        points /= np.abs(points).max()
    return points.astype(np.float32)


class ShapesClip:
    """One clip; `frames()` yields (image uint8 [S, S, 3], labels uint8 [S, S])."""

    def __init__(self, seed: int, size: int = 256, length: int = 24) -> None:
        self.size, self.length = size, length
        self._rng = rng = np.random.default_rng([seed, 20])
        scale = size / 256
        self._background = texture(rng, size + 64)
        if rng.random() < 0.6:
            for _ in range(int(rng.integers(2, 12))):  # clutter that belongs to the background
                outline = _outline(rng) * rng.uniform(5, 40) * scale + rng.uniform(0, size, 2)
                cv2.fillPoly(self._background, [outline.astype(np.int32)], _colour(rng).tolist())
        self._drift = rng.normal(0, 0.6, 2)
        self._gain = rng.uniform(0.8, 1.2), rng.uniform(0, 0.15), rng.uniform(0.05, 0.4)
        self._noise = rng.uniform(0, 8)
        count = int(rng.integers(3, 7))
        self._shapes: list[_Shape] = []
        for _ in range(count):
            self._shapes.append(self._make(rng, scale, solid=True))
            if rng.random() < 0.3:  # a twin: same look, other path
                twin, model = self._make(rng, scale, solid=True), self._shapes[-1]
                twin.texture, twin.alpha, twin.radius = model.texture, model.alpha, model.radius
                self._shapes.append(twin)
        for _ in range(int(rng.integers(0, 3))):
            self._shapes.append(self._make(rng, scale * 1.6, solid=False))
        order = rng.permutation(len(self._shapes))
        self._shapes = [self._shapes[i] for i in order]

    def _make(self, rng: np.random.Generator, scale: float, solid: bool) -> _Shape:
        canvas = np.zeros((PATCH * 4, PATCH * 4), np.uint8)
        points = (_outline(rng) * 0.98 + 1) * PATCH * 2
        cv2.fillPoly(canvas, [points.astype(np.int32)], 255)
        alpha = cv2.resize(canvas, (PATCH, PATCH), interpolation=cv2.INTER_AREA)
        radius = scale * float(np.exp(rng.uniform(math.log(8), math.log(40))))
        speed = scale * rng.exponential(2.0 if solid else 5.0)
        heading = rng.uniform(0, 2 * math.pi)
        return _Shape(
            texture=texture(rng, PATCH), alpha=alpha, radius=radius,
            start_xy=rng.uniform(0.1, 0.9, 2) * self.size,
            velocity_xy=speed * np.array([math.cos(heading), math.sin(heading)]),
            wobble=np.array([*rng.uniform(0, 12 * scale, 2), rng.uniform(0.05, 0.5),
                             rng.uniform(0, 6.3)]),
            angle=rng.uniform(0, 6.3), spin=rng.normal(0, 0.06), growth=rng.normal(0, 0.008),
            solid=solid,
        )

    def _place(self, shape: _Shape, t: int) -> tuple[np.ndarray, tuple[slice, slice]] | None:
        """Return the affine from patch to a window of the image, and that window."""
        ax, ay, speed, phase = shape.wobble
        centre = shape.start_xy + shape.velocity_xy * t + np.array(
            [ax * math.sin(speed * t + phase), ay * math.cos(speed * t + phase)])
        span = 1.2 * self.size  # reflect at walls a little outside the image
        centre = np.abs((centre + 0.1 * self.size) % (2 * span) - span)
        centre = span - centre - 0.1 * self.size
        radius = shape.radius * math.exp(shape.growth * t)
        reach = 1.5 * radius + 2
        x0, y0 = (max(0, int(c - reach)) for c in centre)
        x1, y1 = (min(self.size, int(c + reach) + 1) for c in centre)
        if x1 <= x0 or y1 <= y0:
            return None
        k = radius * 2 / PATCH
        angle = shape.angle + shape.spin * t
        c, s = k * math.cos(angle), k * math.sin(angle)
        half = (PATCH - 1) / 2
        affine = np.array([
            [c, -s, centre[0] - x0 - c * half + s * half],
            [s, c, centre[1] - y0 - s * half - c * half]])
        return affine, (slice(y0, y1), slice(x0, x1))

    def frames(self):
        """Yield the frames in order; deterministic in the seed."""
        rng = np.random.default_rng([int(self._rng.integers(2**31)), 21])
        for t in range(self.length):
            shift = 32 + np.clip(self._drift * t, -30, 30)
            affine = np.array([[1, 0, -shift[0]], [0, 1, -shift[1]]])
            image = cv2.warpAffine(self._background, affine, (self.size, self.size),
                                   borderMode=cv2.BORDER_REFLECT).astype(np.float32)
            labels = np.zeros((self.size, self.size), np.uint8)
            ids = 0
            for shape in self._shapes:
                ids += shape.solid
                placed = self._place(shape, t)
                if placed is None:
                    continue
                affine, window = placed
                size = (window[1].stop - window[1].start, window[0].stop - window[0].start)
                alpha = cv2.warpAffine(shape.alpha, affine, size)
                paint = cv2.warpAffine(shape.texture, affine, size,
                                       borderMode=cv2.BORDER_REPLICATE)
                weight = (alpha.astype(np.float32) / 255)[..., None]
                image[window] += weight * (paint - image[window])
                labels[window][alpha >= 128] = ids if shape.solid else 0
            base, swing, speed = self._gain
            image *= base * (1 + swing * math.sin(speed * t))
            image += rng.normal(0, 1, image.shape).astype(np.float32) * self._noise
            yield np.clip(image, 0, 255).astype(np.uint8), labels
