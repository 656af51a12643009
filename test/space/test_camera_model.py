# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The camera model against OpenCV: values, properties, and real lenses."""

from types import SimpleNamespace
from typing import Any

import cv2
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from detsam2_ros.space.camera import (
    CameraModel,
    CameraRefused,
    CameraView,
    distort,
    read_camera,
    undistort,
)

# Calibrations of real cameras, as their drivers and data sets publish them: K as fx, fy, cx, cy.
REAL = {
    # TUM RGB-D, freiburg1: strong, and k3 of the other sign.
    'kinect': (
        (640, 480), (517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
    # KITTI, camera 2 before rectification.
    'kitti': (
        (1392, 512), (959.791, 956.9251, 696.0217, 224.1806),
        (-0.3691481, 0.1968681, 0.001353473, 0.0005677587, -0.06770705)),
    # EuRoC, cam0: a wide lens with four numbers.
    'euroc': (
        (752, 480), (458.654, 457.296, 367.215, 248.375),
        (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05)),
    # Azure Kinect, colour camera, rational polynomial.
    'azure': (
        (1280, 720), (605.286, 605.699, 637.134, 366.758),
        (0.513059, -2.77779, 0.000811, -0.000212, 1.58283, 0.392657, -2.59132, 1.50672)),
    # The same with a thin prism, and with a sensor that is tilted besides: as OpenCV calibrates
    # with CALIB_THIN_PRISM_MODEL and CALIB_TILTED_MODEL.
    'prism': (
        (1280, 720), (605.286, 605.699, 637.134, 366.758),
        (0.513059, -2.77779, 0.000811, -0.000212, 1.58283, 0.392657, -2.59132, 1.50672,
         0.0031, -0.0012, -0.0024, 0.0009)),
    'tilt': (
        (1280, 720), (605.286, 605.699, 637.134, 366.758),
        (0.513059, -2.77779, 0.000811, -0.000212, 1.58283, 0.392657, -2.59132, 1.50672,
         0.0031, -0.0012, -0.0024, 0.0009, 0.03, -0.05)),
}  # fmt: skip


def info(**changes: Any) -> Any:
    """Make the fields of a CameraInfo of 640x480 without distortion."""
    made = SimpleNamespace(
        width=640, height=480, distortion_model='plumb_bob', d=[0.0] * 5,
        k=[500.0, 0, 320, 0, 510, 240, 0, 0, 1], r=np.eye(3).ravel().tolist(),
        p=[450.0, 0, 310, -30, 0, 460, 230, 0, 0, 0, 1, 0], binning_x=0, binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
        header=SimpleNamespace(frame_id='camera'),
    )  # fmt: skip
    vars(made).update(changes)
    return made


def of_real(name: str) -> tuple[CameraModel, np.ndarray, np.ndarray]:
    (width, height), (fx, fy, cx, cy), d = REAL[name]
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    model = 'plumb_bob' if len(d) < 8 else 'rational_polynomial'
    fields = info(width=width, height=height, k=matrix.ravel(), d=list(d), distortion_model=model)
    return read_camera(fields, False), matrix, np.array(d)


def seen_by_opencv(flat: np.ndarray, matrix: np.ndarray, d: np.ndarray) -> np.ndarray:
    points = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    return cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, d)[0][:, 0]


@pytest.mark.parametrize('name', REAL)
def test_rays_are_what_opencv_undistorts(name: str) -> None:
    model, matrix, d = of_real(name)
    rays = model.rays()
    assert rays.dtype == np.float32 and rays.shape == (3, *model.size)
    assert (rays[2] == 1).all() or np.isnan(rays).any()
    height, width = model.size
    grid = np.meshgrid(np.arange(0, width, 7), np.arange(0, height, 7))
    pixels = np.stack(grid, -1).reshape(-1, 2)
    # Far more rounds than OpenCV's default of five, which leaves up to some hundredths of a pixel.
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-12)
    theirs = cv2.undistortPointsIter(
        pixels[:, None].astype(np.float64), matrix, d, None, None, criteria)[:, 0]
    ours = rays[:2, pixels[:, 1], pixels[:, 0]].T
    known = np.isfinite(ours).all(axis=1)
    assert known.mean() > 0.97
    converged = np.abs(seen_by_opencv(theirs, matrix, d) - pixels).max(axis=1) < 1e-3
    assert (known & converged).mean() > 0.9
    both = known & converged
    assert np.abs(ours - theirs)[both].max() * matrix[0, 0] < 0.01  # pixels


@pytest.mark.parametrize('entries', [
    {0: 1e-300}, {4: 1e-300}, {0: 5e-324, 4: 5e-324}, {2: 1e300}, {5: -1e300}, {0: 1e300},
])  # fmt: skip
def test_absurd_numbers_are_refused(entries: dict[int, float]) -> None:
    k = info().k
    for place, value in entries.items():
        k[place] = value
    with pytest.raises(CameraRefused, match='not calibrated'):
        read_camera(info(k=k), False)


@pytest.mark.parametrize('size', [1e30, 1e200, 1e308])
@pytest.mark.parametrize('length', [5, 14])
def test_rays_are_finite_or_none(size: float, length: int) -> None:
    """Of three coordinates none is left without the others."""
    rays = read_camera(info(d=[size] * length), False).rays()
    rays_of_huge = CameraModel((4, 4), (1e-300, 1.0), (1.0, 1.0)).rays()
    for each in (rays, rays_of_huge):
        known = np.isfinite(each)
        assert (known.all(axis=0) == known.any(axis=0)).all()
        assert not np.isinf(each).any()


@pytest.mark.parametrize('box', [(0, 0, 640, 480), (63, 64, 65, 129), (600, 470, 640, 480)])
def test_a_view_makes_the_rays_of_a_box(box: tuple[int, int, int, int]) -> None:
    model, _, _ = of_real('kinect')
    view, (x0, y0, x1, y1) = CameraView(model), box
    for _ in range(2):
        np.testing.assert_allclose(view.rays(box), model.rays()[:, y0:y1, x0:x1], rtol=1e-6)


@pytest.mark.parametrize('name', REAL)
def test_projection_is_that_of_opencv(name: str) -> None:
    model, matrix, d = of_real(name)
    rng = np.random.default_rng(3)
    points = rng.uniform((-0.4, -0.3, 0.8), (0.4, 0.3, 4.0), (200, 3))
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, d)
    np.testing.assert_allclose(model.project(points), theirs[:, 0], atol=1e-6)


@settings(max_examples=60)
@given(
    k=st.lists(st.floats(-0.25, 0.25), min_size=2, max_size=2),
    p=st.lists(st.floats(-0.01, 0.01), min_size=2, max_size=2),
    k3=st.floats(-0.1, 0.1),
    rational=st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=3),
    prism=st.lists(st.floats(-0.03, 0.03), min_size=4, max_size=4),
    tilt=st.lists(st.floats(-0.15, 0.15), min_size=2, max_size=2),
    seed=st.integers(0, 1000),
)
def test_undistorting_undoes_what_opencv_distorts(k, p, k3, rational, prism, tilt, seed) -> None:
    d = (*k, *p, k3, *rational, *prism, *tilt)
    flat = np.random.default_rng(seed).uniform(-0.5, 0.5, (50, 2))
    shown = seen_by_opencv(flat, np.eye(3), np.array(d))
    np.testing.assert_allclose(distort(flat, d), shown, atol=1e-12)
    np.testing.assert_allclose(undistort(shown, d), flat, atol=1e-6)


@settings(max_examples=40)
@given(
    focal=st.tuples(st.floats(100, 2000), st.floats(100, 2000)),
    vector=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    k1=st.floats(-0.2, 0.1),
)
def test_a_ray_leads_back_to_its_pixel(focal, vector, k1) -> None:
    rotation = cv2.Rodrigues(np.array(vector))[0]
    model = CameraModel(
        (30, 40), focal, (19.0, 16.0), (k1, *[0] * 13), tuple(rotation.ravel()))
    rays = model.rays()
    pixels = model.project(rays.reshape(3, -1).T.astype(np.float64) * 2.5)
    wanted = np.stack(np.meshgrid(np.arange(40), np.arange(30)), -1).reshape(-1, 2)
    np.testing.assert_allclose(pixels, wanted, atol=2e-3)


def test_beyond_the_fold_of_a_polynomial_there_is_no_ray() -> None:
    d = (-0.5, *[0] * 13)  # grows up to r = 0.8165, shown at 0.5443
    found = undistort(np.array([[0.5, 0.0], [0.56, 0.0], [3.0, 3.0]]), d)
    np.testing.assert_allclose(distort(found[:1], d), [[0.5, 0.0]], atol=1e-9)
    assert np.isnan(found[1:]).all()


def test_k_or_p() -> None:
    raw, rectified = read_camera(info(), False), read_camera(info(d=[0.1] * 5), True)
    assert (raw.focal, raw.centre) == ((500, 510), (320, 240))
    assert (rectified.focal, rectified.centre) == ((450, 460), (310, 230))
    assert rectified.distortion == () and raw.size == (480, 640) and raw.frame_id == 'camera'
    np.testing.assert_allclose(raw.rays()[:, 10, 20], [(20 - 320) / 500, (10 - 240) / 510, 1])


def test_an_unrectified_pixel_points_where_its_rectified_one_does() -> None:
    """As image_geometry has it: cv2.undistortPoints with R leads into the rectified axes."""
    rotation = cv2.Rodrigues(np.array([0.02, -0.03, 0.01]))[0]
    model = read_camera(info(r=rotation.ravel().tolist(), d=[-0.2, 0.05, 0, 0, 0]), False)
    matrix = np.array(info().k).reshape(3, 3)
    theirs = cv2.undistortPoints(
        np.array([[[100.0, 50.0]]]), matrix, np.array([-0.2, 0.05, 0, 0, 0]), R=rotation)[0, 0]
    ray = model.rays()[:, 50, 100]
    np.testing.assert_allclose(ray[:2] / ray[2], theirs, atol=1e-4)


def test_binning_and_a_region_of_interest() -> None:
    roi = SimpleNamespace(x_offset=40, y_offset=20, width=320, height=200)
    model = read_camera(info(roi=roi, binning_x=2, binning_y=2), False)
    assert model.size == (100, 160)
    assert (model.focal, model.centre) == ((250, 255), (140, 110))


@pytest.mark.parametrize(
    ('changes', 'rectified', 'text'),
    [
        ({'k': [0.0] * 9}, False, 'focal length of 0, 0 in k'),
        ({'p': [0.0] * 12}, True, 'focal length of 0, 0 in p'),
        ({'k': [np.nan] + [1.0] * 8}, False, 'value in k that is no number'),
        ({'p': [np.inf] + [1.0] * 11}, True, 'value in p that is no number'),
        ({'width': 0}, False, 'size of 0x480'),
        ({'d': [np.nan] * 5}, False, 'value in d'),
        ({'d': [0.1, 0.2, 0.3]}, False, '3 numbers in d, but plumb_bob has 4, 5, 8, 12 or 14'),
        ({'d': [0.1] * 4, 'distortion_model': 'equidistant'}, False, "model 'equidistant'"),
        ({'d': [0.1] * 4, 'distortion_model': ''}, False, "model ''"),
        ({'r': [1.0] * 9}, False, 'no rotation'),
    ],
)
def test_what_no_calibration_is(changes: dict[str, Any], rectified: bool, text: str) -> None:
    with pytest.raises(CameraRefused, match='^camera_info has ') as refusal:
        read_camera(info(**changes), rectified)
    assert text in str(refusal.value) and '\n' not in str(refusal.value)


@pytest.mark.parametrize('model', ['plumb_bob', 'rational_polynomial'])
@pytest.mark.parametrize('length', range(1, 16))
def test_as_many_numbers_as_opencv_takes(length: int, model: str) -> None:
    """Numbers that matter most first: whichever OpenCV takes give its rays, others a sentence."""
    d = [-0.2, 0.05, 0.002, -0.001, 0.01, 0.1, 0.02, -0.01] + [0.002] * 4 + [0.02, -0.03]
    d = [*d, 0.01][:length]
    matrix, pixel = np.array(info().k).reshape(3, 3), np.array([[[100.0, 50.0]]])
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-12)
    try:
        theirs = cv2.undistortPointsIter(pixel, matrix, np.array(d), None, None, criteria)[0, 0]
    except cv2.error:
        with pytest.raises(CameraRefused, match=f'^camera_info has {length} numbers in d'):
            read_camera(info(d=d, distortion_model=model), False)
    else:
        ray = read_camera(info(d=d, distortion_model=model), False).rays((100, 50, 101, 51))
        np.testing.assert_allclose(ray[:2, 0, 0], theirs, atol=1e-6)


def test_what_drivers_leave_out() -> None:
    """R of zeros, D empty or of zeros with any model: simulated cameras do so."""
    plain = read_camera(info(), False)
    assert read_camera(info(r=[0.0] * 9, d=[]), False) == plain
    assert read_camera(info(d=[0.0] * 4, distortion_model='equidistant'), False) == plain
