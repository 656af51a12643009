# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The measure of one object: values, and what it does where depth is bad."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from space_cases import FOCAL, VIEW, flat_depth, frame_of, labels_of, positions

from detsam2_ros.results.frames import ObjectInfo
from detsam2_ros.results.space import Reason
from detsam2_ros.scene.stereo import StereoNoise, stereo_depth
from detsam2_ros.scene.tilted import BALL_RADIUS, TiltedScene
from detsam2_ros.space.camera import CameraModel, CameraView
from detsam2_ros.space.depth import DepthImage
from detsam2_ros.space.measure import MeasureOptions, _deviation, _middle, eroded, measure
from detsam2_ros.space.objects import measure_frame

MASK = np.ones((24, 24), bool)
RAYS = VIEW.rays((30, 20, 54, 44))
OPTIONS = MeasureOptions()


def measured(depth: np.ndarray, mask: np.ndarray = MASK, options: MeasureOptions = OPTIONS):
    return measure(mask, depth.astype(np.float32), RAYS, VIEW.pixel, options)


def wall(metres: float = 2.0) -> np.ndarray:
    return np.full(MASK.shape, metres, np.float32)


def test_a_wall_by_hand() -> None:
    """Columns 30 to 53 around 39.5 and rows 20 to 43 around 29.5, at a focal length of 80."""
    position, points = measured(wall())
    assert position.valid and position.points == len(points) == 22 * 22
    assert position.depth_share == 1
    np.testing.assert_allclose(position.centroid, (2 * 2 / 80, 2 * 2 / 80, 2), atol=1e-6)
    np.testing.assert_allclose(position.box_min, (2 * -8.5 / 80, 2 * -8.5 / 80, 2), atol=1e-6)
    np.testing.assert_allclose(position.box_max, (2 * 12.5 / 80, 2 * 12.5 / 80, 2), atol=1e-6)
    side = 2 / FOCAL * np.sqrt((22**2 - 1) / 12)
    np.testing.assert_allclose(position.spread, (side, side, 0), atol=1e-5)


def test_what_is_behind_does_not_count() -> None:
    """Depth of the background along a side, and everywhere between the object's pixels."""
    depth = wall()
    depth[:, :8] = 4.0
    position, points = measured(depth)
    np.testing.assert_allclose(points[:, 2], 2)
    # All but three columns of it do not count for the centroid either.
    assert position.centroid[0] == pytest.approx(2 * (30 + (5 + 23) / 2 - 39.5) / 80, abs=0.005)
    depth[::2] = 4.0  # two thirds of all are background
    position, points = measured(depth)
    np.testing.assert_allclose(points[:, 2], 2)


def test_some_noise_in_front_does_not_count() -> None:
    depth = wall()
    depth[5:8, 5:8] = 0.7  # a bird; 9 of 484 pixels
    position, points = measured(depth)
    np.testing.assert_allclose(points[:, 2], 2)
    assert position.centroid[2] == pytest.approx(2)


def test_holes_do_not_pull_the_centroid() -> None:
    slope = wall() + 0.01 * np.arange(24)
    whole, _ = measured(slope)
    holed = slope.copy()
    holed[:, 3:11] = np.nan
    position, _ = measured(holed)
    assert position.depth_share == pytest.approx(14 / 22)
    np.testing.assert_allclose(position.centroid[:2], whole.centroid[:2], atol=0.01)
    assert position.box_min[0] == pytest.approx(whole.box_min[0])


@pytest.mark.parametrize(
    ('known', 'reason'),
    [(0, Reason.TOO_LITTLE_DEPTH), (19, Reason.TOO_LITTLE_DEPTH), (60, Reason.TOO_LITTLE_DEPTH),
     (90, Reason.VALID)],
)  # fmt: skip
def test_too_little_depth(known: int, reason: Reason) -> None:
    """At least 20 points, and 15 % of 484 pixels: 73."""
    depth = np.full(MASK.shape, np.nan)
    inner = np.full(22 * 22, np.nan)
    inner[:known] = 2.0
    depth[1:-1, 1:-1] = inner.reshape(22, 22)
    position, points = measured(depth)
    assert position.reason is reason and position.points == known
    assert position.depth_share == pytest.approx(known / 484)
    if reason is not Reason.VALID:
        assert position.centroid == position.box_max == position.spread == (0, 0, 0)
        assert len(points) == 0


def test_scattered_depth_is_no_surface() -> None:
    depth = np.random.default_rng(1).uniform(0.5, 6.0, MASK.shape)
    position, points = measured(depth)
    assert position.reason is Reason.NO_SURFACE and len(points) == 0


def test_one_point_is_enough_where_that_is_asked_for() -> None:
    depth = np.full(MASK.shape, np.nan)
    depth[12, 12] = 2.0
    position, points = measured(depth, options=MeasureOptions(min_points=1, min_share=0.0))
    assert position.valid and len(points) == 1
    assert position.spread == (0, 0, 0) and position.centroid[2] == 2


def test_erosion_keeps_a_thin_mask() -> None:
    thin = np.zeros((20, 20), bool)
    thin[:, 9] = True
    np.testing.assert_array_equal(eroded(thin, 2), thin)
    assert eroded(MASK, 2).sum() == 20 * 20


def test_a_large_object_is_sampled() -> None:
    mask = np.ones((400, 400), bool)
    rays = CameraModel((400, 400), (300.0, 300.0), (199.5, 199.5)).rays()
    depth = np.full((400, 400), 1.0, np.float32)
    position, points = measure(mask, depth, rays, 1 / 300, OPTIONS)
    assert 100 < position.points == len(points) < 2000
    np.testing.assert_allclose(position.centroid, (0, 0, 1), atol=0.01)
    np.testing.assert_allclose(position.box_max[:2], (199.5 / 300, 199.5 / 300), atol=0.05)


def disc(radius: float, shift: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:90, :90]
    inside: np.ndarray = np.hypot(x - 45 - shift, y - 45) <= radius
    return inside


def of_disc(mask: np.ndarray, depth: np.ndarray):
    rays = CameraModel((90, 90), (300.0, 300.0), (45.0, 45.0)).rays()
    return measure(mask, depth.astype(np.float32), rays, 1 / 300, OPTIONS)[0]


@pytest.mark.parametrize('radius', [8, 10, 15, 20, 30, 40])
@pytest.mark.parametrize('spill', [0.1, 0.2, 0.3])
@pytest.mark.parametrize('shifted', [False, True])
def test_the_wall_along_the_rim_is_not_the_object(radius, spill, shifted) -> None:
    """The object has no depth, as glass and black things do, and its mask is a little wrong."""
    spill *= radius
    mask = disc(radius, spill) if shifted else disc(radius + spill)
    depth = np.where(disc(radius), np.nan, 2.0)
    assert of_disc(mask, depth).reason is Reason.TOO_LITTLE_DEPTH
    depth[disc(radius)] = 1.5
    assert of_disc(mask, depth).centroid[2] == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize('part', ['left', 'top', 'middle', 'some'])
@pytest.mark.parametrize('radius', [8, 15, 30])
def test_depth_on_a_part_of_the_object_is_enough(part: str, radius: int) -> None:
    y, x = np.mgrid[:90, :90] - 45
    there = {
        'left': x < -0.3 * radius, 'top': y < -0.3 * radius, 'middle': disc(0.5 * radius),
        'some': np.random.default_rng(1).random((90, 90)) < 0.3,
    }[part]  # fmt: skip
    position = of_disc(disc(radius), np.where(there, 1.5, np.nan))
    assert position.valid and position.centroid[2] == pytest.approx(1.5)


@pytest.mark.parametrize('points', [
    [(20, 20), (420, 420)], [(20, 20), (20, 420), (420, 420)], [(20, 101), (460, 101)],
    [(101, 20), (101, 460)], [(20, 400), (200, 30), (440, 350)],
])  # fmt: skip
@pytest.mark.parametrize('width', [3, 6, 14])
def test_poles_and_cables(points: list[tuple[int, int]], width: int) -> None:
    """Thin masks in large boxes: what counts is how many pixels the mask has, not its box."""
    labels = np.zeros((480, 480), np.uint8)
    cv2.polylines(labels, [np.array(points, np.int32)], False, 1, width)
    x, y, wide, high = cv2.boundingRect(labels)
    mask = np.ascontiguousarray(labels[y : y + high, x : x + wide] > 0)
    rays = CameraModel((high, wide), (600.0, 600.0), (0.0, 0.0)).rays()
    for few in (200, 1000):
        position, _ = measure(
            mask, np.ones(mask.shape, np.float32), rays, 1 / 600,
            MeasureOptions(max_pixels=few))
        assert position.valid and position.centroid[2] == pytest.approx(1)
        rows, columns = np.nonzero(mask)
        middle = np.array([columns.mean(), rows.mean()]) / 600
        np.testing.assert_allclose(position.centroid[:2], middle, atol=0.012)


@given(
    near=st.floats(0.3, 5.0), gap=st.floats(0.5, 10.0), share=st.floats(0.4, 1.0),
    missing=st.floats(0.0, 0.6), seed=st.integers(0, 99),
)  # fmt: skip
def test_never_the_background(near, gap, share, missing, seed) -> None:
    """With 40 % of the object in its mask, wherever, the position is the object's or none."""
    rng = np.random.default_rng(seed)
    depth = np.where(rng.random(MASK.shape) < share, near, near + gap * near)
    depth = depth + rng.normal(0, 0.003 * near, MASK.shape)
    depth[rng.random(MASK.shape) < missing] = np.nan
    position, points = measured(depth)
    if position.valid:
        assert abs(position.centroid[2] - near) < 0.02 * near
        assert np.abs(points[:, 2] - near).max() < 0.05 * near


def test_a_ball_by_its_true_surface() -> None:
    """Two thirds of the radius nearer than the centre, and as the rendered truth has it."""
    scene = TiltedScene(3, length=3)
    view = CameraView(CameraModel((480, 640), (scene.focal,) * 2, scene.centre))
    errors = []
    for frame in scene:
        labels = frame.picture.labels
        depth = DepthImage(0, 'camera', np.nan_to_num(frame.depth))
        found = measure_frame(frame_of(labels, 0), depth, view, OPTIONS)
        for thing in found.objects:
            ball = thing.id - 1
            errors.append(np.subtract(thing.position.centroid, frame.centroids[ball]))
            if frame.picture.visible_fraction[ball] == 1:
                middle, surface = frame.centres[ball], frame.centroids[ball]
                nearer = np.linalg.norm(middle) - np.linalg.norm(surface)
                assert nearer == pytest.approx(2 / 3 * BALL_RADIUS, rel=0.05)
    assert len(errors) > 6
    assert np.abs(errors).max() < 0.03 * BALL_RADIUS


def test_a_ball_as_a_stereo_camera_sees_it() -> None:
    scene = TiltedScene(5, length=9)
    view = CameraView(CameraModel((480, 640), (scene.focal,) * 2, scene.centre))
    errors, lost = [], 0
    for frame in scene:
        values = stereo_depth(
            frame.depth, scene.focal, StereoNoise(), np.random.default_rng(frame.picture.index))
        assert 0.25 < (values == 0).mean() < 0.45
        found = measure_frame(
            frame_of(frame.picture.labels, 0), DepthImage(0, 'camera', values), view, OPTIONS)
        for id_, position in positions(found).items():
            lost += not position.valid
            if position.valid:
                off = np.subtract(position.centroid, frame.centroids[id_ - 1])
                errors.append(np.linalg.norm(off) / BALL_RADIUS)
    assert np.median(errors) < 0.1 and max(errors) < 0.5
    assert lost < 0.03 * len(errors)


def test_objects_of_a_frame() -> None:
    """Each inside its own box; one without pixels, or with a box that is none, has no position."""
    frame = frame_of(labels_of(_1=(0, 0, 20, 20), _2=(40, 30, 80, 60)), 0)
    extra = [
        ObjectInfo(3, 1, 'cup', 0.1, None, False, False),
        ObjectInfo(4, 1, 'cup', 0.1, (50.0, 10.0, 40.0, 20.0), True, False),
        ObjectInfo(5, 1, 'cup', 0.1, (np.nan, -1e30, np.inf, 1e30), True, False),
        ObjectInfo(6, 1, 'cup', 0.1, (100.0, 100.0, 200.0, 200.0), True, False),
    ]
    frame = type(frame)(**{**vars(frame), 'objects': (*frame.objects, *extra)})
    found = measure_frame(frame, flat_depth(0), VIEW, OPTIONS, want_points=True)
    assert [t.id for t in found.objects] == [1, 2, 3, 4, 5, 6]
    assert [t.position.reason for t in found.objects[2:]] == [Reason.NOT_VISIBLE] * 4
    assert set(found.points) == {1, 2}
    np.testing.assert_allclose(
        found.objects[1].position.centroid, (1.5 * 20 / 80, 1.5 * 15 / 80, 1.5), rtol=1e-3)


def test_where_the_mask_stayed_the_position_is_not_measured_again() -> None:
    first = frame_of(labels_of(_1=(0, 0, 20, 20), _2=(40, 30, 80, 60)), 0)
    after = frame_of(labels_of(_1=(0, 0, 20, 20), _2=(44, 30, 80, 60)), 0)
    before = measure_frame(first, flat_depth(0), VIEW, OPTIONS)
    other = flat_depth(0, 3.0)  # shows which are measured again
    found = measure_frame(after, other, VIEW, OPTIONS, before.by_id)
    assert [t.position.centroid[2] for t in found.objects] == pytest.approx([1.5, 3.0])


@given(st.lists(st.floats(0.125, 9.0, width=32), min_size=1, max_size=40))
def test_the_median_deviation_of_ascending_values(values) -> None:
    ordered = np.sort(np.array(values, np.float32))
    middle = _middle(ordered)
    away = np.sort(np.abs(ordered - np.float32(middle)))
    assert _deviation(ordered, middle) == pytest.approx(away[len(away) // 2], abs=1e-6)
