# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Draws one frame in space: masks, depth as it came, and the table from above with positions."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np

from detsam2_ros.engine import FrameResult
from detsam2_ros.media.overlay import draw_overlay, object_colour
from detsam2_ros.results.space import SpaceFrame
from detsam2_ros.scene.stereo import StereoNoise, stereo_depth
from detsam2_ros.scene.tilted import BALL_RADIUS, TiltedFrame


def draw(
    path: Path, frame: TiltedFrame, space: SpaceFrame, masks: FrameResult, matrix: np.ndarray
) -> None:
    """Write a picture of three panels; matrix: K of the camera."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.7), width_ratios=(4, 4, 3))
    drawn = draw_overlay(frame.picture.image, masks.labels, masks.objects, tags=False)
    left.imshow(drawn)
    _boxes(left, space, matrix)
    left.set_title('masks, and boxes in space', fontsize=10)
    noise = np.random.default_rng(0)
    values = stereo_depth(frame.depth, matrix[0, 0], StereoNoise(), noise) / 1000
    shown = middle.imshow(np.where(values > 0, values, np.nan), cmap='viridis_r')
    figure.colorbar(shown, ax=middle, label='depth, m')
    middle.set_title('depth as the camera delivers it (white: none)', fontsize=10)
    for axes in (left, middle):
        axes.set_axis_off()
    _above(right, frame, space)
    figure.tight_layout()
    figure.savefig(path, dpi=90, pil_kwargs={'quality': 88})
    plt.close(figure)


def _boxes(axes: plt.Axes, space: SpaceFrame, matrix: np.ndarray) -> None:
    for thing in space.objects:
        if not thing.valid:
            continue
        low, high = np.array(thing.position.box_min), np.array(thing.position.box_max)
        colour = np.array(object_colour(thing.id)) / 255
        for z in (low[2], high[2]):
            x = np.array([low[0], high[0], high[0], low[0], low[0]])
            y = np.array([low[1], low[1], high[1], high[1], low[1]])
            pixels = np.stack([x, y], -1) / z * matrix[0, 0] + matrix[:2, 2]
            axes.plot(*pixels.T, color=colour, linewidth=0.9)


def _above(axes: plt.Axes, frame: TiltedFrame, space: SpaceFrame) -> None:
    """Draw balls and positions in the x and z of the camera."""
    for centre in frame.centres:
        axes.add_patch(plt.Circle((centre[0], centre[2]), BALL_RADIUS, fill=False, color='grey'))
    truth = frame.centroids[np.isfinite(frame.centroids[:, 0])]
    axes.plot(truth[:, 0], truth[:, 2], '+', color='black', label='truth', markersize=9)
    for thing in space.objects:
        if thing.valid:
            x, _, z = thing.position.centroid
            axes.plot(x, z, 'o', markersize=4, color=np.array(object_colour(thing.id)) / 255)
    axes.set_aspect('equal')
    axes.set_xlabel('x, m', fontsize=8)
    axes.set_ylabel('z, m', fontsize=8)
    axes.tick_params(labelsize=7)
    axes.set_title("centroids (dots), the surface's true ones (+)", fontsize=10)
