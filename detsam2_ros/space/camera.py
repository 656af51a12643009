# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A camera's calibration, as sensor_msgs/CameraInfo has it, and the rays of its pixels.

Pixel centres have integer coordinates. A ray is (x, y, 1) in the camera's optical frame (x right,
y down, z forward), turned by R where the image is not rectified: tf frames of calibrated cameras
are those of the rectified image. A point is its depth times its ray.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detsam2_ros.results.masks import Box

PLUMB_BOB, RATIONAL = 'plumb_bob', 'rational_polynomial'
# Numbers in D that OpenCV takes: drivers name all of them by either model. The last ones are those
# of a thin prism, s1 to s4, and of a tilted sensor. None at all means no distortion.
_LENGTHS = (4, 5, 8, 12, 14)
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_NEWTON_STEPS, _EXACT = 12, 1e-9
_TILE = 64  # pixels, a side
_MIN_FOCAL, _MAX_PIXELS = 0.1, 1e7  # pixels; no camera is beyond
_REMEDY = 'remap camera_info to that of the segmented image'
_CALIBRATE = 'calibrate the camera, or remap camera_info to that of the segmented image'


class CameraRefused(ValueError):  # noqa: N818 - it says what happens to the calibration
    """A calibration that cannot be used; the message names the field and what to do."""


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera with the distortion of OpenCV: plumb_bob or rational_polynomial."""

    size: tuple[int, int]  # (height, width) of the image, pixels
    focal: tuple[float, float]  # x, y, pixels
    centre: tuple[float, float]  # x, y, pixels
    # k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tau_x, tau_y; () or 14 numbers
    distortion: tuple[float, ...] = ()
    rotation: tuple[float, ...] = _IDENTITY  # R, row by row
    frame_id: str = ''  # of the optical frame

    def rays(self, box: Box | None = None) -> np.ndarray:
        """Return the ray of each pixel, float32 [3, H, W]; NaN where the distortion has none.

        box: of the pixels; None means all.
        """
        x0, y0, x1, y1 = box or (0, 0, self.size[1], self.size[0])
        width, height = x1 - x0, y1 - y0
        x = (np.arange(x0, x1) - self.centre[0]) / self.focal[0]
        y = (np.arange(y0, y1) - self.centre[1]) / self.focal[1]
        flat = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        if self.distortion:
            flat = undistort(flat, self.distortion)
        rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        if self.rotation != _IDENTITY:
            rays = rays @ np.reshape(self.rotation, (3, 3)).T
        with np.errstate(over='ignore'):
            rays = rays.astype(np.float32)
        rays[~np.isfinite(rays).all(axis=1)] = np.nan
        # A plane for each coordinate: masks pick from planes many times faster.
        return np.ascontiguousarray(rays.T.reshape(3, height, width))

    def misfit(self, size: tuple[int, int], frame_id: str | None) -> str | None:
        """Return why this is not the camera of masks of a size and frame, None if it may be.

        size: (height, width). frame_id: None where it is not to be compared.
        """
        if self.size != size:
            return (
                f'camera_info is of images of {self.size[1]}x{self.size[0]}, the masks are '
                f'{size[1]}x{size[0]}: {_REMEDY}'
            )
        if frame_id is not None and self.frame_id != frame_id:
            return (
                f"camera_info has the frame '{self.frame_id[:60]}', the masks have "
                f"'{frame_id[:60]}': {_REMEDY}; or set check_frame_id to false if both are one"
            )
        return None

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the pixels of points [n, 3] in front of the camera, float64 [n, 2]."""
        points = np.asarray(points, np.float64) @ np.reshape(self.rotation, (3, 3))
        flat = points[:, :2] / points[:, 2:]
        if self.distortion:
            flat = distort(flat, self.distortion)
        return flat * self.focal + self.centre


class CameraView:
    """A camera with the rays of its pixels, made tile by tile as they are asked for.

    With distortion they take up to a second for a whole image, and a calibration may claim any
    size. Any one thread at a time may call a view.
    """

    def __init__(self, model: CameraModel):
        self.model = model
        self._rays: np.ndarray | None = None  # float32 [3, H, W]
        self._made: set[tuple[int, int]] = set()  # tiles: y, x

    def rays(self, box: Box) -> np.ndarray:
        """Return CameraModel.rays of a box inside the image, float32 [3, h, w]: a view."""
        height, width = self.model.size
        x0, y0, x1, y1 = box
        if self._rays is None:
            self._rays = np.empty((3, height, width), np.float32)
        for y in range(y0 // _TILE * _TILE, y1, _TILE):
            for x in range(x0 // _TILE * _TILE, x1, _TILE):
                if (y, x) in self._made:
                    continue
                right, bottom = min(x + _TILE, width), min(y + _TILE, height)
                self._rays[:, y:bottom, x:right] = self.model.rays((x, y, right, bottom))
                self._made.add((y, x))
        return self._rays[:, y0:y1, x0:x1]

    @property
    def pixel(self) -> float:
        """How far apart neighbouring rays are at a depth of 1, about."""
        return 1 / math.sqrt(self.model.focal[0] * self.model.focal[1])


def distort(flat: np.ndarray, distortion: Sequence[float]) -> np.ndarray:
    """Return where the lens shows ideal image points; both [n, 2], in units of focal length."""
    return _distorted(flat[:, 0], flat[:, 1], distortion)[0]


def undistort(shown: np.ndarray, distortion: Sequence[float]) -> np.ndarray:
    """Return the ideal image points that a lens shows at points, float64 [n, 2]; see distort.

    NaN where there is none: beyond some radius the polynomial of a calibration folds back.
    """
    found = np.array(shown, np.float64)
    with np.errstate(all='ignore'):
        for _ in range(_NEWTON_STEPS):
            at, ((xx, xy), (yx, yy)) = _distorted(found[:, 0], found[:, 1], distortion)
            off = at - shown
            step = np.stack(
                [yy * off[:, 0] - xy * off[:, 1], xx * off[:, 1] - yx * off[:, 0]], axis=-1
            )
            step /= (xx * yy - xy * yx)[:, None]
            found -= step
            if np.nanmax(np.abs(step), initial=0.0) < _EXACT:
                break
        at, ((xx, xy), (yx, yy)) = _distorted(found[:, 0], found[:, 1], distortion)
        good = (np.abs(at - shown).max(axis=1) < 1e-6) & (xx * yy - xy * yx > 0) & (xx > 0)
    found[~good] = np.nan
    return found


def _distorted(
    x: np.ndarray, y: np.ndarray, distortion: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shown points [n, 2], and their derivatives [2, 2, n]: of x by x, x by y, ..."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, *tilt = distortion
    r = x * x + y * y
    above, below = 1 + r * (k1 + r * (k2 + r * k3)), 1 + r * (k4 + r * (k5 + r * k6))
    radial = above / below
    slope = (k1 + r * (2 * k2 + 3 * k3 * r) - radial * (k4 + r * (2 * k5 + 3 * k6 * r))) / below
    shown = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x) + r * (s1 + s2 * r),
            y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y + r * (s3 + s4 * r),
        ],
        axis=-1,
    )
    across = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    prism_x, prism_y = 2 * (s1 + 2 * s2 * r), 2 * (s3 + 2 * s4 * r)  # slopes by r, times 2
    slopes = np.stack([
        radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x + prism_x * x, across + prism_x * y,
        across + prism_y * x, radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x + prism_y * y,
    ]).reshape(2, 2, -1)  # fmt: skip
    return _tilted(shown, slopes, *tilt) if any(tilt) else (shown, slopes)


def _tilted(
    shown: np.ndarray, slopes: np.ndarray, tau_x: float, tau_y: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return points and derivatives as a tilted sensor has them; angles in radians.

    The points are seen in the sensor's own plane, from along its normal.
    """
    cos_x, sin_x, cos_y, sin_y = math.cos(tau_x), math.sin(tau_x), math.cos(tau_y), math.sin(tau_y)
    turn_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    turn_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    turn = turn_y @ turn_x
    (_, _, a), (_, _, b), (_, _, c) = turn
    matrix = np.array([[c, 0, -a], [0, c, -b], [0, 0, 1]]) @ turn
    u, v, w = matrix @ np.vstack([shown.T, np.ones(len(shown))])
    seen = np.stack([u / w, v / w])
    inner = (matrix[:2, :2, None] - seen[:, None] * matrix[2, :2, None]) / w  # [2, 2, n]
    return seen.T, np.einsum('ijn,jkn->ikn', inner, slopes)


def read_camera(info: Any, rectified: bool) -> CameraModel:
    """Read a sensor_msgs/CameraInfo, by the names of its fields.

    rectified: the masks are of an image that image_proc has rectified, so P holds and there is no
    distortion; its fourth column, which only relates two cameras, does not matter. Otherwise K, D
    and R hold. Binning and a region of interest count as image_geometry counts them. Raises
    CameraRefused.
    """
    width, height = int(info.width), int(info.height)
    matrix = _numbers(info.p if rectified else info.k, 'p' if rectified else 'k')
    if width < 1 or height < 1:
        raise CameraRefused(f'camera_info has a size of {width}x{height} pixels; {_CALIBRATE}')
    row = 4 if rectified else 3
    name, (fx, cx, fy, cy) = 'pk'[row == 3], (matrix[i] for i in (0, 2, row + 1, row + 2))
    if not _MIN_FOCAL <= min(fx, fy) <= max(fx, fy, abs(cx), abs(cy)) <= _MAX_PIXELS:
        raise CameraRefused(
            f'camera_info has a focal length of {fx:g}, {fy:g} in {name} and a centre of '
            f'{cx:g}, {cy:g}, as a camera that is not calibrated; {_CALIBRATE}'
        )
    left, top, width, height = _window(info, width, height)
    across, down = max(int(info.binning_x), 1), max(int(info.binning_y), 1)
    rotation = _IDENTITY if rectified else _rotation(_numbers(info.r, 'r'))
    return CameraModel(
        size=(height // down, width // across),
        focal=(fx / across, fy / down),
        centre=((cx - left) / across, (cy - top) / down),
        distortion=() if rectified else _distortion(info),
        rotation=rotation,
        frame_id=str(info.header.frame_id),
    )


def _numbers(values: Any, name: str) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(map(math.isfinite, numbers)):
        raise CameraRefused(f'camera_info has a value in {name} that is no number; {_CALIBRATE}')
    return numbers


def _window(info: Any, width: int, height: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the part of the sensor that the image shows."""
    roi = info.roi
    if not (roi.width and roi.height):
        return 0, 0, width, height
    return int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)


def _rotation(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return R; drivers that know none leave it all zeros."""
    matrix = np.reshape(values, (3, 3))
    if not matrix.any():
        return _IDENTITY
    if not np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3) or np.linalg.det(matrix) < 0:
        raise CameraRefused(f'camera_info has an r that is no rotation; {_CALIBRATE}')
    return values


def _distortion(info: Any) -> tuple[float, ...]:
    numbers = _numbers(info.d, 'd')
    if not any(numbers):
        return ()
    model = info.distortion_model
    if model not in (PLUMB_BOB, RATIONAL):
        raise CameraRefused(
            f"camera_info has the distortion model '{model[:40]}', not {PLUMB_BOB} or {RATIONAL}; "
            'rectify the image with image_proc, segment that, and set rectified to true'
        )
    if len(numbers) not in _LENGTHS:
        raise CameraRefused(
            f'camera_info has {len(numbers)} numbers in d, but {model} has '
            f'{", ".join(map(str, _LENGTHS[:-1]))} or {_LENGTHS[-1]}; {_CALIBRATE}'
        )
    return numbers + (0.0,) * (_LENGTHS[-1] - len(numbers))
