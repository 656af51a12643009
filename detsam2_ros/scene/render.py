# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames of a clip: the picture and, drawn from the same discs, its ground truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from detsam2_ros.scene.balls import Light, Patches, Skins, draw_light, draw_patches, shadow_sprite
from detsam2_ros.scene.camera import Exposure, Shake, View
from detsam2_ros.scene.cast import Cast, start_motion, topic_rng
from detsam2_ros.scene.occluders import Occluders, Pose, Sprite, draw_sprite
from detsam2_ros.scene.options import SceneOptions
from detsam2_ros.scene.table import Layout, draw_table


@dataclass(frozen=True)
class SceneFrame:
    """One picture and its ground truth; n is the number of balls."""

    index: int
    image: np.ndarray  # uint8 [H, W, 3] RGB
    labels: np.ndarray  # uint16 [H, W], ball ids of exactly the visible pixels, 0 elsewhere
    ids: np.ndarray  # int32 [n]: 1..n
    class_ids: np.ndarray  # int32 [n], constant over the clip
    boxes: np.ndarray  # float32 [n, 4], xyxy (exclusive) around visible pixels, zeros when hidden
    visible: np.ndarray  # bool [n]
    # Visible pixels / pixels of the whole disc in the picture, 0 without any; float32 [n].
    visible_fraction: np.ndarray


class Clip:
    """One run of a clip: its moving state, and the pictures that are drawn once."""

    def __init__(
        self, seed: int, size_wh: tuple[int, int], plan: Layout, cast: Cast, options: SceneOptions
    ) -> None:
        def rng(topic: int) -> np.random.Generator:
            return topic_rng(seed, topic)

        self.rng = rng
        self.size_wh = size_wh
        self.short = min(size_wh)
        self.plan = plan
        self.cast = cast
        self.radius = cast.radius
        self.motion = start_motion(seed, plan, cast, options)
        self.occluders = Occluders(rng(2), plan, options)
        self.shake = Shake(rng(3), self.size_wh, options.shake)
        strengths = (options.light_change, options.noise, options.blur)
        self.exposure = Exposure(rng(4), rng(5), self.size_wh, strengths)
        look = rng(6)
        self.light: Light = draw_light(look)
        self.shutter = look.uniform(0.1, 0.5) * options.motion_blur
        self.margin = math.ceil(0.12 * self.short)
        self.table = draw_table(
            look, plan, self.short, self.margin, cast.radius, cast.cloth, options.distractors
        )
        self.sprites: dict[str, Sprite] = {}
        sprite, self.shadow_offset = shadow_sprite(self.light, cast.radius * self.short)
        self.shadow = cv2.merge([sprite] * 3)

    def frame(self, index: int) -> SceneFrame:
        """Draw the next frame."""
        if index:
            self.motion.step()
        view = self.shake.step()
        poses = self.occluders.step(self.motion)
        image = self.background(view)
        depth = self.motion.depth()
        there = np.flatnonzero(depth < 1)
        centres = view.points(self.motion.pos)
        labels = np.zeros((self.size_wh[1], self.size_wh[0]), np.uint16)
        totals = np.zeros(len(depth), np.int64)
        for ball in there:
            if depth[ball] == 0:
                self.shade(image, centres[ball])
        corners, reach = np.zeros((len(depth), 2), np.int64), 0
        if len(there):
            patches = self._patches(view, there, centres, depth)
            reach = patches.solid.shape[1]
            for row, ball in enumerate(there):
                corners[ball] = patches.corner[row]
                totals[ball] = self._paste(image, labels, patches, row, int(ball), view)
        for pose in poses:
            self._occlude(image, labels, view, pose)
        image = self.exposure.expose(image)
        return self._truth(index, image, labels, corners, reach, totals)

    def background(self, view: View) -> np.ndarray:
        """Draw the table without balls, uint8 [H, W, 3]."""
        # The table was drawn at `short` pixels per unit around its own centre.
        matrix = view.matrix() / (self.short, self.short, 1)
        middle = np.array([self.table.shape[1] - 1, self.table.shape[0] - 1]) / 2
        matrix[:, 2] -= matrix[:, :2] @ middle
        return cv2.warpAffine(
            self.table, matrix, self.size_wh, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )

    def _patches(
        self, view: View, there: np.ndarray, centres: np.ndarray, depth: np.ndarray
    ) -> Patches:
        skins = self.cast.skins
        worn = Skins(skins.colours[there], skins.pattern[there], skins.digit[there], skins.cloth)
        smear = view.turn(self.motion.vel[there]) * view.zoom * self.shutter
        return draw_patches(
            worn,
            self.light,
            centres[there],
            self.radius * view.zoom,
            smear,
            view.turn(self.motion.turn[there]),
            1 - 0.65 * depth[there],
        )

    def shade(self, image: np.ndarray, centre: np.ndarray) -> None:
        """Draw the shadow of a ball whose centre is at a pixel."""
        size = self.shadow.shape[0]
        x, y = centre + self.shadow_offset - size // 2
        left, top = math.floor(x), math.floor(y)
        window = _clip_window(left, top, size, self.size_wh)
        if window is None:
            return
        there, here = window
        shift = np.array([[1, 0, x - left], [0, 1, y - top]])
        keep = cv2.warpAffine(
            self.shadow,
            shift,
            (size, size),
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(255,) * 3,
        )
        image[there] = cv2.multiply(image[there], keep[here], scale=1 / 255)

    def _paste(
        self,
        image: np.ndarray,
        labels: np.ndarray,
        patches: Patches,
        row: int,
        ball: int,
        view: View,
    ) -> int:
        left, top = (int(v) for v in patches.corner[row])
        window = _clip_window(left, top, patches.alpha.shape[1], self.size_wh)
        if window is None:
            return 0
        there, here = window
        alpha, solid = patches.alpha[row][here], patches.solid[row][here]
        total = int(np.count_nonzero(solid))
        if self.motion.depth()[ball] >= 0.4:
            centre, rim = self.motion.rim(ball)
            px, py = view.points(centre[None])[0]
            y, x = np.mgrid[there]
            away = np.hypot(x - px, y - py).astype(np.float32)
            alpha = alpha * np.clip(rim * view.zoom + 0.5 - away, 0, 1)
            solid = solid & (away <= rim * view.zoom)
        under = image[there].astype(np.float32)
        under += (patches.colour[row][here] - under) * alpha[..., None]
        image[there] = under + np.float32(0.5)
        labels[there][solid] = ball + 1
        return total

    def _occlude(self, image: np.ndarray, labels: np.ndarray, view: View, pose: Pose) -> None:
        sprite = self.sprites.get(pose.sprite)
        if sprite is None:
            code = sum(pose.sprite.encode())
            reach = math.hypot(*self.plan.image) + 0.4
            sprite = draw_sprite(self.rng(100 + code), pose.sprite, self.short, self.radius, reach)
            self.sprites[pose.sprite] = sprite
        place = view.points(np.array([[pose.x, pose.y]]))[0]
        cosine = math.cos(pose.angle + view.angle) * view.zoom / self.short
        sine = math.sin(pose.angle + view.angle) * view.zoom / self.short
        linear = np.array([[cosine, -sine], [sine, cosine]])
        start = place - linear @ np.array(sprite.origin)
        fall = self.light.shadow_offset() * sprite.height * self.radius * self.short
        for above, offset in ((False, fall), (True, np.zeros(2))):
            matrix = np.concatenate([linear, (start + offset)[:, None]], 1)
            window = _sprite_window(matrix, sprite.rgba.shape, self.size_wh)
            if window is None:
                continue
            rows, columns = window
            matrix[:, 2] -= (columns.start, rows.start)
            part_wh = (columns.stop - columns.start, rows.stop - rows.start)
            source = sprite.rgba if above else sprite.shadow
            drawn = cv2.warpAffine(source, matrix, part_wh, flags=cv2.INTER_LINEAR)
            alpha = drawn[..., 3] if above else drawn
            keep = cv2.cvtColor(255 - alpha, cv2.COLOR_GRAY2RGB)
            mixed = cv2.multiply(image[window], keep, scale=1 / 255)
            if above:
                mixed = cv2.add(mixed, cv2.cvtColor(drawn, cv2.COLOR_RGBA2RGB))
                labels[window][alpha >= 128] = 0
            image[window] = mixed

    def _truth(
        self,
        index: int,
        image: np.ndarray,
        labels: np.ndarray,
        corners: np.ndarray,
        reach: int,
        totals: np.ndarray,
    ) -> SceneFrame:
        count = len(totals)
        boxes = np.zeros((count, 4), np.float32)
        seen = np.zeros(count, np.int64)
        for ball in np.flatnonzero(totals):
            left, top = (max(int(v), 0) for v in corners[ball])
            right, bottom = (int(v) + reach for v in corners[ball])
            mine = labels[top:bottom, left:right] == ball + 1
            rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
            if len(rows):
                seen[ball] = np.count_nonzero(mine)
                ends = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
                boxes[ball] = np.array((left, top, left, top)) + ends
        return SceneFrame(
            index=index,
            image=np.ascontiguousarray(image),
            labels=labels,
            ids=np.arange(1, count + 1, dtype=np.int32),
            class_ids=self.cast.class_ids.copy(),
            boxes=boxes,
            visible=seen > 0,
            visible_fraction=(seen / np.maximum(totals, 1)).astype(np.float32),
        )


Window = tuple[slice, slice]


def _clip_window(
    left: int, top: int, size: int, image_wh: tuple[int, int]
) -> tuple[Window, Window] | None:
    # Return the window of a square patch in the picture, and the same window in the patch.
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + size, image_wh[0]), min(top + size, image_wh[1])
    if x0 >= x1 or y0 >= y1:
        return None
    here = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    return (slice(y0, y1), slice(x0, x1)), here


def _sprite_window(
    matrix: np.ndarray, shape: tuple[int, ...], image_wh: tuple[int, int]
) -> Window | None:
    height, width = shape[:2]
    ends = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    spots = ends @ matrix.T
    x0, y0 = (max(math.floor(v) - 1, 0) for v in spots.min(0))
    x1, y1 = (math.ceil(v) + 2 for v in spots.max(0))
    x1, y1 = min(x1, image_wh[0]), min(y1, image_wh[1])
    return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None
