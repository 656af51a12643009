# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Depth as a stereo camera delivers it: made of the true depth by the errors of such a camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class StereoNoise:
    """The errors of a stereo camera; all off is exact depth, but for millimetres."""

    baseline: float = 0.075  # between its two eyes, metres
    step: float = 1 / 8  # of disparity, pixels
    sigma: float = 0.12  # of disparity, pixels; neighbours share most of it
    missing: float = 0.3  # share of pixels without depth, holes at edges not counted
    # Half the window that it matches, pixels: along an edge the depth of either side spreads over
    # the other one by as much, mostly that of the nearer one.
    bleeding: int = 2
    holes: bool = True  # where one eye alone sees, and along edges


def stereo_depth(
    depth: np.ndarray, focal: float, noise: StereoNoise, rng: np.random.Generator
) -> np.ndarray:
    """Return a depth image, uint16 [H, W] of millimetres, 0 = none.

    depth: float32 [H, W], metres, NaN = none. focal: pixels.
    """
    scale = focal * noise.baseline
    true = np.nan_to_num(scale / depth).astype(np.float32)
    shape = true.shape
    seen = _bled(true, noise.bleeding, rng) if noise.bleeding else true
    if noise.sigma:
        shared = _smooth(rng, shape, 3)
        own = rng.standard_normal(shape, np.float32)
        seen = seen + noise.sigma * (0.9 * shared + 0.4 * own)
    if noise.step:
        seen = np.round(seen / noise.step) * noise.step
    gone = seen <= 0
    if noise.holes:
        gone |= _hidden(true) | (_edges(true) & (rng.random(shape) < 0.5))
    if noise.missing:
        # Half of it in patches, as on a surface without texture; half pixel by pixel.
        patchy = _smooth(rng, shape, 9)
        limit = np.quantile(patchy, 1 - noise.missing / 2)
        gone |= patchy > limit
        gone |= rng.random(shape) < noise.missing / 2 / (1 - noise.missing / 2)
    metres = scale / np.where(gone, np.inf, seen)
    return np.round(np.minimum(1000 * metres, 65535)).astype(np.uint16)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> np.ndarray:
    """Return noise of deviation 1 whose neighbours over `grain` pixels are alike."""
    drawn = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), grain)
    return np.asarray(drawn / drawn.std())


def _bled(true: np.ndarray, reach: int, rng: np.random.Generator) -> np.ndarray:
    """Spread the nearer surface over the farther one, in places the other way round."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    which = _smooth(rng, true.shape, 6)
    wide, narrow = cv2.dilate(true, window), cv2.erode(true, window)
    return np.where(which > 0.3, wide, np.where(which < -0.8, narrow, true))


def _edges(true: np.ndarray) -> np.ndarray:
    """Return the pixels where disparity jumps by a pixel or more, and those beside them."""
    window = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(true, window) - cv2.erode(true, window) > 1)


def _hidden(true: np.ndarray) -> np.ndarray:
    """Return the pixels that the right eye cannot see: something nearer lies before them there."""
    place = np.arange(true.shape[1], dtype=np.float32) - true
    nearest = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(nearest < place - 0.5)
