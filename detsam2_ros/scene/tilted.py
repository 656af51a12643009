# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The billiards table in metres: seen by a tilted pinhole camera, with true depth.

The table's plane carries the picture of the table from above; balls are spheres, and a flat arm
may pass above them. Each pixel's ray is cut with all of these, so labels and depth are exact.
World axes, metres, from the table's centre: x right, y towards the camera, z down into the table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from detsam2_ros.results.masks import mask_box
from detsam2_ros.scene.balls import Skins, draw_patches
from detsam2_ros.scene.camera import Exposure, View
from detsam2_ros.scene.cast import draw_cast, topic_rng
from detsam2_ros.scene.options import CLASS_NAMES, SceneOptions
from detsam2_ros.scene.render import Clip, SceneFrame
from detsam2_ros.scene.table import layout

BALL_RADIUS = 0.03  # metres
_ABOVE = 1.5  # pixels of the picture from above for a pixel of the camera's
_ARM = (0.045, 0.22, (196, 150, 122))  # half width and height above the table, metres; colour
_FAR = 20.0  # metres; rays beyond meet nothing


@dataclass(frozen=True)
class TiltedFrame:
    """One picture, its truth, and where the surface is that each pixel shows."""

    picture: SceneFrame
    depth: np.ndarray  # float32 [H, W], metres along z; NaN where a ray meets nothing
    # Mean of the points of each ball's visible pixels, float64 [n, 3] in the camera's optical
    # frame, metres; NaN for a ball that is not visible.
    centroids: np.ndarray
    centres: np.ndarray  # float64 [n, 3] of the balls themselves


@dataclass(frozen=True)
class Pose:
    """A camera in the world."""

    axes: np.ndarray  # float64 [3, 3], rows: x, y and z of the camera
    place: np.ndarray  # float64 [3]

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Return points of the world [n, 3] in the camera's optical frame."""
        return (points - self.place) @ self.axes.T

    def plane(self, rays: np.ndarray, height: float) -> np.ndarray:
        """Return the depth at which rays [..., 3] meet the plane at a height, float64 [...]."""
        down = rays @ self.axes[:, 2]
        with np.errstate(divide='ignore', invalid='ignore'):
            depth = (-height - self.place[2]) / down
        return np.where((depth > 0) & (depth < _FAR), depth, np.nan)


class TiltedScene:
    """A seeded clip; iterating again gives the same frames bit for bit.

    tilt: of the camera from looking straight down, radians. arm: whether an arm passes above the
    table now and then. options: of the scene; its shake, occluders and pocketing have no effect.
    """

    class_names: dict[int, str] = CLASS_NAMES

    def __init__(
        self,
        seed: int,
        width: int = 640,
        height: int = 480,
        length: int | None = None,
        tilt: float = 0.7,
        arm: bool = True,
        options: SceneOptions = SceneOptions(),  # noqa: B008 - frozen
    ) -> None:
        self.seed, self.length = seed, length
        self.width, self.height = width, height
        self.tilt, self.arm = tilt, arm
        self.options = options
        self.focal = 0.95 * width
        self.centre = ((width - 1) / 2, (height - 1) / 2)
        self._plan = layout(width, height)
        self._cast = draw_cast(seed, self._plan, options)
        self.metres = BALL_RADIUS / self._cast.radius  # of a unit of the table
        self._distance = 1.05 * self.focal / height * self.metres * (1 + 0.25 * math.sin(tilt))

    @property
    def matrix(self) -> np.ndarray:
        """K, float64 [3, 3]."""
        (cx, cy), f = self.centre, self.focal
        return np.array([[f, 0.0, cx], [0.0, f, cy], [0.0, 0.0, 1.0]])

    def pose(self, index: int) -> Pose:
        """Return where the camera is: it sways a little."""
        tilt = self.tilt + 0.01 * math.sin(index / 17)
        sine, cosine = math.sin(tilt), math.cos(tilt)
        axes = np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
        place = self._distance * np.array([0.01 * math.sin(index / 23), sine, -cosine])
        return Pose(axes, place)

    def __iter__(self) -> Iterator[TiltedFrame]:
        above_wh = (round(self.width * _ABOVE), round(self.height * _ABOVE))
        options = SceneOptions(**{**vars(self.options), 'pocketing': 0.0, 'occluders': 0.0})
        clip = Clip(self.seed, above_wh, self._plan, self._cast, options)
        renderer = _Renderer(self, clip)
        index = 0
        while self.length is None or index < self.length:
            if index:
                clip.motion.step()
            yield renderer.frame(index)
            index += 1


class _Renderer:
    def __init__(self, scene: TiltedScene, clip: Clip):
        self.scene, self.clip = scene, clip
        width, height = clip.size_wh
        self.view = View(clip.short, 0.0, ((width - 1) / 2, (height - 1) / 2))
        x = (np.arange(scene.width) - scene.centre[0]) / scene.focal
        y = (np.arange(scene.height) - scene.centre[1]) / scene.focal
        flat = np.stack(np.meshgrid(x, y), axis=-1)
        self.rays = np.concatenate([flat, np.ones((*flat.shape[:2], 1))], axis=-1)
        rng = topic_rng(scene.seed, 7)
        self.arm_period, self.arm_phase = rng.uniform(90, 160), rng.uniform(0, 2 * math.pi)
        options = scene.options
        strengths = (options.light_change, options.noise, options.blur)
        size_wh = (scene.width, scene.height)
        self.exposure = Exposure(topic_rng(scene.seed, 4), rng, size_wh, strengths)

    def frame(self, index: int) -> TiltedFrame:
        scene, clip = self.scene, self.clip
        pose = scene.pose(index)
        image = self._table(pose)
        depth = pose.plane(self.rays, 0.0)
        labels = np.zeros(depth.shape, np.uint16)
        there = clip.motion.depth() < 1
        places = np.full((len(there), 3), -BALL_RADIUS)
        places[:, :2] = clip.motion.pos * scene.metres
        centres = pose.seen(places)
        totals = np.zeros(len(there), np.int64)
        for ball in np.flatnonzero(there):
            totals[ball] = self._ball(image, labels, depth, int(ball), centres[ball])
        if scene.arm:
            self._arm(image, labels, depth, pose, index)
        picture = self._truth(index, self.exposure.expose(image), labels, totals)
        return TiltedFrame(picture, depth.astype(np.float32), self._means(labels, depth), centres)

    def _table(self, pose: Pose) -> np.ndarray:
        """Draw the empty table with the shadows of the balls."""
        scene, clip = self.scene, self.clip
        above = clip.background(self.view)
        there = np.flatnonzero(clip.motion.depth() == 0)
        for centre in self.view.points(clip.motion.pos[there]):
            clip.shade(above, centre)
        to_metres = np.linalg.inv(np.vstack([self.view.matrix(), [0, 0, 1]]))
        to_metres[:2] *= scene.metres
        onto = np.stack([*pose.axes[:, :2].T, -pose.axes @ pose.place], axis=1)
        floor = [float(v) for v in above[0].mean(axis=0)]
        return cv2.warpPerspective(
            above, scene.matrix @ onto @ to_metres, (scene.width, scene.height),
            flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=floor,
        )  # fmt: skip

    def _ball(
        self, image: np.ndarray, labels: np.ndarray, depth: np.ndarray, ball: int,
        centre: np.ndarray,
    ) -> int:  # fmt: skip
        """Draw a ball where it is nearest; returns the pixels that it has without others."""
        scene, clip = self.scene, self.clip
        reach = BALL_RADIUS * scene.focal / centre[2]
        middle = centre[:2] / centre[2] * scene.focal + scene.centre
        skins, row = clip.cast.skins, [ball]
        worn = Skins(skins.colours[row], skins.pattern[row], skins.digit[row], skins.cloth)
        patch = draw_patches(
            worn, clip.light, middle[None], reach, np.zeros((1, 2)), clip.motion.turn[row],
            np.ones(1),
        )  # fmt: skip
        left, top = (int(v) for v in patch.corner[0])
        size = patch.solid.shape[1]
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + size, scene.width), min(top + size, scene.height)
        if x0 >= x1 or y0 >= y1:
            return 0
        here = slice(y0, y1), slice(x0, x1)
        there = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        near, hit = _sphere(self.rays[here], centre, BALL_RADIUS)
        with np.errstate(invalid='ignore'):
            shown = hit & ~(near > depth[here])
        # The rim is as soft as a picture's from above, and drawn over what lies behind.
        soft = np.where(hit, shown, True) * patch.alpha[0][there]
        under = image[here].astype(np.float32)
        under += (patch.colour[0][there] - under) * soft[..., None]
        image[here] = under + np.float32(0.5)
        labels[here][shown] = ball + 1
        depth[here][shown] = near[shown]
        return int(np.count_nonzero(hit))

    def _arm(
        self, image: np.ndarray, labels: np.ndarray, depth: np.ndarray, pose: Pose, index: int
    ) -> None:
        """Draw an arm that sweeps over the table, and is away for half of the time."""
        half, height, colour = _ARM
        sweep = 2 * math.pi * index / self.arm_period + self.arm_phase
        reach = 1.6 * self.clip.plan.half[0] * self.scene.metres
        near = pose.plane(self.rays, height)
        across = near[..., None] * self.rays @ pose.axes[:, 0] + pose.place[0]
        along = near[..., None] * self.rays @ pose.axes[:, 1] + pose.place[1]
        away = across - 2 * reach * math.sin(sweep) - 0.4 * along
        with np.errstate(invalid='ignore'):
            shown = (np.abs(away) < half) & (near < depth) & (along > -0.05)
        bright = np.sqrt(np.clip(1 - (away[shown] / half) ** 2, 0, 1))
        image[shown] = np.array(colour) * (0.45 + 0.5 * bright[:, None])
        labels[shown] = 0
        depth[shown] = near[shown]

    def _truth(
        self, index: int, image: np.ndarray, labels: np.ndarray, totals: np.ndarray
    ) -> SceneFrame:
        count = len(totals)
        boxes = [mask_box(labels == ball + 1) or (0, 0, 0, 0) for ball in range(count)]
        seen = np.bincount(labels.ravel(), minlength=count + 1)[1:]
        return SceneFrame(
            index=index,
            image=np.ascontiguousarray(image),
            labels=labels,
            ids=np.arange(1, count + 1, dtype=np.int32),
            class_ids=self.clip.cast.class_ids.copy(),
            boxes=np.array(boxes, np.float32),
            visible=seen > 0,
            visible_fraction=(seen / np.maximum(totals, 1)).astype(np.float32),
        )

    def _means(self, labels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Return the mean of the visible points of each ball."""
        count = len(self.clip.cast.class_ids)
        means = np.full((count, 3), np.nan)
        for ball in range(count):
            mine = labels == ball + 1
            if mine.any():
                means[ball] = (self.rays[mine] * depth[mine][:, None]).mean(axis=0)
        return means


def _sphere(
    rays: np.ndarray, centre: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return at which depth rays [..., 3] meet a sphere first, and whether they do."""
    squared, along = (rays * rays).sum(axis=-1), rays @ centre
    under = along * along - squared * (centre @ centre - radius * radius)
    hit = under > 0
    return (along - np.sqrt(np.where(hit, under, 0.0))) / squared, hit
