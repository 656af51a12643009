# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The scene in metres: each point lies on what its pixel shows; a stereo camera's errors."""

from itertools import islice

import numpy as np
import pytest

from detsam2_ros.scene.scene import SceneOptions
from detsam2_ros.scene.stereo import StereoNoise, stereo_depth
from detsam2_ros.scene.tilted import BALL_RADIUS, TiltedScene

QUIET = StereoNoise(step=0.0, sigma=0.0, missing=0.0, bleeding=0, holes=False)


def points_of(scene: TiltedScene, depth: np.ndarray) -> np.ndarray:
    """Return the point of each pixel, float64 [H, W, 3]."""
    x = (np.arange(scene.width) - scene.matrix[0, 2]) / scene.focal
    y = (np.arange(scene.height) - scene.matrix[1, 2]) / scene.focal
    flat = np.stack(np.meshgrid(x, y), -1)
    return np.concatenate([flat, np.ones((*depth.shape, 1))], -1) * depth[..., None]


@pytest.mark.parametrize('seed', [1, 4])
def test_points_lie_on_what_they_show(seed: int) -> None:
    scene = TiltedScene(seed, 320, 240, arm=False, options=SceneOptions(balls=6))
    for index, frame in enumerate(islice(scene, 0, 20, 19)):
        points, labels = points_of(scene, frame.depth), frame.picture.labels
        for ball in np.unique(labels[labels > 0]) - 1:
            own = points[labels == ball + 1]
            away = np.linalg.norm(own - frame.centres[ball], axis=1)
            np.testing.assert_allclose(away, BALL_RADIUS, rtol=1e-3)
            np.testing.assert_allclose(own.mean(axis=0), frame.centroids[ball], atol=1e-6)
        table = points[(labels == 0) & np.isfinite(frame.depth)]
        pose = scene.pose(19 * index)
        np.testing.assert_allclose((table @ pose.axes + pose.place)[:, 2], 0, atol=1e-4)


def test_an_arm_hides_what_lies_below() -> None:
    """Where the clip with an arm differs from that without, depth is nearer and no ball shows."""
    pairs = zip(
        TiltedScene(2, 320, 240, length=60), TiltedScene(2, 320, 240, length=60, arm=False),
        strict=True,
    )  # fmt: skip
    hidden = 0
    for with_arm, without in pairs:
        covered = with_arm.depth < without.depth - 1e-4
        assert (with_arm.depth[~covered] == without.depth[~covered]).all()
        assert (with_arm.picture.labels[covered] == 0).all()
        hidden += int((without.picture.labels[covered] > 0).sum())
    assert hidden > 200


def test_a_clip_is_the_same_each_time() -> None:
    scene = TiltedScene(3, 160, 120, length=4)
    for first, second in zip(scene, scene, strict=True):
        np.testing.assert_array_equal(first.picture.image, second.picture.image)
        np.testing.assert_array_equal(first.depth, second.depth)


@pytest.fixture(scope='module')
def surface() -> np.ndarray:
    return next(iter(TiltedScene(5, 320, 240))).depth


def test_without_errors_depth_is_exact_to_the_millimetre(surface: np.ndarray) -> None:
    values = stereo_depth(surface, 300.0, QUIET, np.random.default_rng(0))
    assert values.dtype == np.uint16
    assert np.nanmax(np.abs(values / 1000 - surface)) <= 0.00051


@pytest.mark.parametrize(
    ('changes', 'check'),
    [
        ({'missing': 0.3}, lambda true, got: 0.27 < (got == 0).mean() < 0.33),
        ({'step': 0.5}, lambda true, got: len(np.unique(got)) < 80),
        ({'holes': True}, lambda true, got: 0 < (got == 0).mean() < 0.05),
        ({'sigma': 0.2}, lambda true, got: 0.001 < np.abs(got / 1000 - true).mean() < 0.02),
        ({'bleeding': 2}, lambda true, got: 0 < (np.abs(got / 1000 - true) > 0.02).mean() < 0.1),
    ],
)
def test_each_error_alone(surface: np.ndarray, changes: dict, check) -> None:
    noise = StereoNoise(**{**vars(QUIET), **changes})
    values = stereo_depth(surface, 300.0, noise, np.random.default_rng(0))
    assert check(surface, values)
