# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Procedural top-view billiards video with exact masks, ids and boxes.

The story of a clip is simulated in table units, so one seed tells the same story at any size of
the same aspect; labels are computed from the balls' discs in the picture, never warped or
thresholded from colours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .scene_balls import (
    DOTS,
    PLAIN,
    SPOT,
    STRIPE,
    Light,
    Patches,
    Skins,
    draw_light,
    draw_patches,
    shadow_sprite,
)
from .scene_camera import Exposure, Shake, View
from .scene_motion import Motion
from .scene_occluders import Occluders, Pose, Sprite, draw_sprite
from .scene_options import (
    CLASS_COLOURS,
    CLASS_NAMES,
    CLOTH_CONFLICTS,
    CLOTHS,
    LOOK_ALIKES,
    SceneOptions,
)
from .scene_table import draw_table, layout

__all__ = ['CLASS_NAMES', 'Scene', 'SceneFrame', 'SceneOptions', 'render']

SMALLEST = 64


@dataclass(frozen=True)
class SceneFrame:
    """One picture and its ground truth; n is the number of balls, ids are 1..n.

    image: uint8 [H, W, 3] RGB. labels: uint16 [H, W], 0 or the ball id of exactly the visible
    pixels. ids, class_ids: int32 [n], constant over the clip. boxes: float32 [n, 4], xyxy around
    the visible pixels with exclusive x2 and y2, zeros when hidden. visible: bool [n].
    visible_fraction: float32 [n], visible pixels / pixels of the ball's whole disc in the picture,
    0 when there are none.
    """

    index: int
    image: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    class_ids: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray
    visible_fraction: np.ndarray


class Scene:
    """A seeded clip; iterating again gives the same frames bit for bit.

    width, height: pixels, at least 64, any aspect. length: frames, None for an endless clip; it
    does not change the frames. Raises ValueError for sizes, lengths or options out of range.
    """

    class_names: dict[int, str] = CLASS_NAMES

    def __init__(
        self,
        seed: int,
        width: int = 256,
        height: int = 256,
        length: int | None = None,
        options: SceneOptions = SceneOptions(),  # noqa: B008 - frozen
    ) -> None:
        if width < SMALLEST or height < SMALLEST:
            raise ValueError(f'width and height must be >= {SMALLEST}, not {width}x{height}')
        if length is not None and length < 0:
            raise ValueError(f'length must be None or >= 0, not {length}')
        if seed < 0:
            raise ValueError(f'seed must be >= 0, not {seed}')
        self.seed = seed
        self.width = width
        self.height = height
        self.length = length
        self.options = options
        self._plan = layout(width, height)
        self._cast()

    @property
    def ids(self) -> np.ndarray:
        """Ball ids, int32 [n]: 1..n."""
        return np.arange(1, len(self.class_ids) + 1, dtype=np.int32)

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError('an endless scene has no length')
        return self.length

    def __iter__(self) -> Iterator[SceneFrame]:
        clip = _Clip(self)
        index = 0
        while self.length is None or index < self.length:
            yield clip.frame(index)
            index += 1

    def _rng(self, topic: int) -> np.random.Generator:
        # One generator per topic: a knob or the picture's size never shifts another topic's draws.
        return np.random.default_rng([self.seed, topic])

    def _cast(self) -> None:
        rng, options = self._rng(0), self.options
        draws = rng.random(8)
        drawn = int(rng.integers(3, 10))
        count = options.balls if options.balls is not None else drawn
        twins = count > 1 and draws[0] < options.duplicate_colours
        cloths = [c for c in CLOTHS if len(CLASS_NAMES) - len(CLOTH_CONFLICTS[c]) >= count - twins]
        self.cloth = options.cloth or cloths[int(draws[1] * len(cloths))]
        usable = [int(c) for c in rng.permutation(9) if c not in CLOTH_CONFLICTS[self.cloth]]
        if draws[2] < options.look_alikes:
            alike = LOOK_ALIKES[int(draws[3] * len(LOOK_ALIKES))]
            usable.sort(key=lambda c: c not in alike)
        distinct = min(count - twins, len(usable))
        classes = usable[:distinct]
        classes += [classes[int(k)] for k in rng.integers(0, distinct, count - distinct)]
        self.class_ids = rng.permutation(np.array(classes)).astype(np.int32)
        area = 4 * self._plan.half[0] * self._plan.half[1]
        roomy = min(0.07, 0.2 * math.sqrt(area / count))
        self.radius = options.radius or float(0.04 + (max(roomy, 0.041) - 0.04) * draws[4])
        first, last = options.late_ball_frames
        late = count > 1 and draws[5] < options.late_ball
        self._late = (
            (int(rng.integers(count)), int(rng.integers(first, last + 1))) if late else None
        )
        self._skins = self._dress(rng, draws[6] < options.markings)

    def _dress(self, rng: np.random.Generator, marked: bool) -> Skins:
        colours = np.array([CLASS_COLOURS[int(c)] for c in self.class_ids], np.float32)
        colours += rng.uniform(-8, 8, colours.shape).astype(np.float32)
        pattern = np.full(len(colours), PLAIN)
        kinds = rng.choice((PLAIN, SPOT, STRIPE), len(colours), p=(0.25, 0.45, 0.3))
        if marked:
            pattern = np.where(self.class_ids == 0, DOTS, kinds)
            pattern[(self.class_ids == 8) & (kinds == STRIPE)] = SPOT
        cloth = np.array(CLOTHS[self.cloth], np.float32)
        return Skins(np.clip(colours, 4, 250), pattern, self.class_ids, cloth)


class _Clip:
    """One run through a scene: the moving state, and the pictures prepared for it."""

    def __init__(self, scene: Scene) -> None:
        options = scene.options
        self.scene = scene
        self.size = (scene.width, scene.height)
        self.short = min(self.size)
        self.radius = scene.radius
        self.motion = Motion(
            scene._rng(1),
            len(scene.class_ids),
            scene.radius,
            scene._plan.half,
            options.speed,
            options.pocketing,
            scene._late,
        )
        self.occluders = Occluders(scene._rng(2), scene._plan, options)
        self.shake = Shake(scene._rng(3), self.size, options.shake)
        strengths = (options.light_change, options.noise, options.blur)
        self.exposure = Exposure(scene._rng(4), scene._rng(5), self.size, strengths)
        look = scene._rng(6)
        self.light: Light = draw_light(look)
        self.shutter = look.uniform(0.1, 0.5) * options.motion_blur
        self.margin = math.ceil(0.12 * self.short)
        self.table = draw_table(
            look,
            scene._plan,
            self.short,
            self.margin,
            scene.radius,
            scene.cloth,
            options.distractors,
        )
        self.sprites: dict[str, Sprite] = {}
        sprite, self.shadow_offset = shadow_sprite(self.light, scene.radius * self.short)
        self.shadow = cv2.merge([sprite] * 3)

    def frame(self, index: int) -> SceneFrame:
        """Draw the next frame."""
        if index:
            self.motion.step()
        view = self.shake.step()
        poses = self.occluders.step(self.motion)
        image = self._background(view)
        depth = self.motion.depth()
        there = np.flatnonzero(depth < 1)
        centres = view.points(self.motion.pos)
        labels = np.zeros((self.size[1], self.size[0]), np.uint16)
        totals = np.zeros(len(depth), np.int64)
        for ball in there:
            if depth[ball] == 0:
                self._shade(image, centres[ball])
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

    def _background(self, view: View) -> np.ndarray:
        # The table was drawn at `short` pixels per unit around its own centre.
        matrix = view.matrix() / (self.short, self.short, 1)
        middle = np.array([self.table.shape[1] - 1, self.table.shape[0] - 1]) / 2
        matrix[:, 2] -= matrix[:, :2] @ middle
        return cv2.warpAffine(
            self.table, matrix, self.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )

    def _patches(
        self, view: View, there: np.ndarray, centres: np.ndarray, depth: np.ndarray
    ) -> Patches:
        skins = self.scene._skins
        worn = Skins(skins.colours[there], skins.pattern[there], skins.digit[there], skins.cloth)
        smear = view.turn(self.motion.vel[there]) * view.zoom * self.shutter
        return draw_patches(
            worn,
            self.light,
            centres[there],
            self.radius * view.zoom,
            smear,
            view.turn(self.motion.turn[there]),
            1 - 0.75 * depth[there],
        )

    def _shade(self, image: np.ndarray, centre: np.ndarray) -> None:
        size = self.shadow.shape[0]
        x, y = centre + self.shadow_offset - size // 2
        left, top = math.floor(x), math.floor(y)
        window = _clip_window(left, top, size, self.size)
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
        window = _clip_window(left, top, patches.alpha.shape[1], self.size)
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
            reach = math.hypot(*self.scene._plan.image) + 0.4
            sprite = draw_sprite(
                self.scene._rng(100 + code), pose.sprite, self.short, self.radius, reach
            )
            self.sprites[pose.sprite] = sprite
        place = view.points(np.array([[pose.x, pose.y]]))[0]
        cosine = math.cos(pose.angle + view.angle) * view.zoom / self.short
        sine = math.sin(pose.angle + view.angle) * view.zoom / self.short
        linear = np.array([[cosine, -sine], [sine, cosine]])
        start = place - linear @ np.array(sprite.origin)
        fall = self.light.shadow_offset() * sprite.height * self.radius * self.short
        for above, offset in ((False, fall), (True, np.zeros(2))):
            matrix = np.concatenate([linear, (start + offset)[:, None]], 1)
            window = _sprite_window(matrix, sprite.rgba.shape, self.size)
            if window is None:
                continue
            rows, columns = window
            matrix[:, 2] -= (columns.start, rows.start)
            size = (columns.stop - columns.start, rows.stop - rows.start)
            source = sprite.rgba if above else sprite.shadow
            drawn = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR)
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
            ids=self.scene.ids,
            class_ids=self.scene.class_ids.copy(),
            boxes=boxes,
            visible=seen > 0,
            visible_fraction=(seen / np.maximum(totals, 1)).astype(np.float32),
        )


def render(
    seed: int,
    length: int,
    width: int = 256,
    height: int = 256,
    options: SceneOptions = SceneOptions(),  # noqa: B008 - frozen
) -> list[SceneFrame]:
    """All frames of a clip at once."""
    return list(Scene(seed, width, height, length, options))


Window = tuple[slice, slice]


def _clip_window(
    left: int, top: int, size: int, picture: tuple[int, int]
) -> tuple[Window, Window] | None:
    # Where a square patch lies in the picture, and which part of the patch that is.
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + size, picture[0]), min(top + size, picture[1])
    if x0 >= x1 or y0 >= y1:
        return None
    here = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    return (slice(y0, y1), slice(x0, x1)), here


def _sprite_window(
    matrix: np.ndarray, shape: tuple[int, ...], picture: tuple[int, int]
) -> Window | None:
    height, width = shape[:2]
    ends = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
    spots = ends @ matrix.T
    x0, y0 = (max(math.floor(v) - 1, 0) for v in spots.min(0))
    x1, y1 = (math.ceil(v) + 2 for v in spots.max(0))
    x1, y1 = min(x1, picture[0]), min(y1, picture[1])
    return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None
