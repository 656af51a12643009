# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The still part of the picture: floor, rails, pockets, the cloth and objects on it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detsam2_ros.scene.motion import pocket_centres, pocket_radius
from detsam2_ros.scene.options import CLASS_COLOURS, CLOTHS

SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
MARGIN = 0.04
RAIL = 0.075
LONGEST = 2.6  # a longer picture shows floor beside the table

WOODS = ((96, 52, 24), (132, 78, 38), (62, 36, 24), (150, 104, 60), (54, 54, 58))
FLOORS = ((88, 80, 74), (58, 62, 72), (122, 104, 84), (70, 40, 44), (40, 44, 46))


@dataclass(frozen=True)
class Layout:
    """Extents in units of the short image side, from the table's centre."""

    image: tuple[float, float]  # width and height of the picture
    half: tuple[float, float]  # half width and half height of the playing field


def layout(width: int, height: int) -> Layout:
    """Fit a table to a picture of a size in pixels."""
    short = min(width, height)
    image = (width / short, height / short)
    edge = MARGIN + RAIL
    half = tuple(min(side, LONGEST) / 2 - edge for side in image)
    return Layout(image, (half[0], half[1]))


class Canvas:
    """A float32 picture with drawing calls in table units."""

    def __init__(self, size_wh: tuple[int, int], scale: float) -> None:
        self.width, self.height = size_wh
        self.scale = scale
        self.pixels = np.zeros((self.height, self.width, 3), np.float32)

    def point(self, x: float, y: float) -> tuple[int, int]:
        """Return the pixel of a table point in fixed point, for OpenCV's `shift`."""
        px = x * self.scale + (self.width - 1) / 2
        py = y * self.scale + (self.height - 1) / 2
        return round(px * 2**SHIFT), round(py * 2**SHIFT)

    def mask(self) -> np.ndarray:
        """Return an empty coverage plane, uint8."""
        return np.zeros((self.height, self.width), np.uint8)

    def box(self, half_x: float, half_y: float) -> np.ndarray:
        """Return the coverage of a centred rectangle."""
        corners = [(-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)]
        return self.polygon(corners)

    def polygon(self, corners: list[tuple[float, float]]) -> np.ndarray:
        """Return the coverage of a convex polygon."""
        mask = self.mask()
        points = np.array([self.point(*corner) for corner in corners], np.int32)
        cv2.fillConvexPoly(mask, points, 255, cv2.LINE_AA, SHIFT)
        return mask

    def disc(self, x: float, y: float, radius: float, ring: float = 0.0) -> np.ndarray:
        """Return the coverage of a disc, or of a ring with a width."""
        mask = self.mask()
        thick = -1 if ring <= 0 else max(1, round(ring * self.scale))
        size = round(radius * self.scale * 2**SHIFT)
        cv2.circle(mask, self.point(x, y), size, 255, thick, cv2.LINE_AA, SHIFT)
        return mask

    def line(self, a: tuple[float, float], b: tuple[float, float], width: float) -> np.ndarray:
        """Return the coverage of a line."""
        mask = self.mask()
        thick = max(1, round(width * self.scale))
        cv2.line(mask, self.point(*a), self.point(*b), 255, thick, cv2.LINE_AA, SHIFT)
        return mask

    def paint(self, mask: np.ndarray, colour: object, strength: float = 1.0) -> None:
        """Blend a colour, float [3] or [H, W, 3], in where the mask covers."""
        x, y, w, h = cv2.boundingRect(mask)
        if not w:
            return
        box = (slice(y, y + h), slice(x, x + w))
        paint = np.asarray(colour, np.float32)
        if paint.ndim == 3:
            paint = paint[box]
        alpha = mask[box].astype(np.float32)[..., None] * (strength / 255)
        self.pixels[box] += (paint - self.pixels[box]) * alpha


def texture(
    rng: np.random.Generator, shape: tuple[int, int], grains: list[tuple[float, float]]
) -> np.ndarray:
    """Return smooth noise, float32 [H, W] around 1.

    grains: (grain in pixels, amplitude) of the layers that are added.
    """
    total = np.ones(shape, np.float32)
    for grain, amplitude in grains:
        small = (max(2, round(shape[1] / grain)), max(2, round(shape[0] / grain)))
        layer = rng.standard_normal((small[1], small[0]), dtype=np.float32)
        total += amplitude * cv2.resize(layer, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return total


def draw_table(
    rng: np.random.Generator,
    plan: Layout,
    scale: float,
    margin: int,
    radius: float,
    cloth: str,
    distractors: float,
) -> np.ndarray:
    """Draw the empty table, uint8 [H + 2 margin, W + 2 margin, 3], centred like the picture.

    scale: pixels per unit. margin: pixels of slack that the moving camera may show.
    """
    width, height = (round(side * scale) + 2 * margin for side in plan.image)
    canvas = Canvas((width, height), scale)
    shape = (height, width)
    half_x, half_y = plan.half
    wood = np.array(WOODS[rng.integers(len(WOODS))], np.float32)
    floor = np.array(FLOORS[rng.integers(len(FLOORS))], np.float32)
    felt = np.array(CLOTHS[cloth], np.float32) * rng.uniform(0.85, 1.15)
    felt += rng.uniform(-8, 8, 3).astype(np.float32)

    # A generator of their own for textures: their size must not move the litter.
    own = np.random.default_rng(rng.integers(2**32))
    canvas.pixels += floor * texture(own, shape, [(2, 0.1), (scale * 0.06, 0.14)])[..., None]
    rail = RAIL * 0.98
    shade = canvas.box(half_x + rail + 0.012, half_y + rail + 0.012)
    canvas.paint(cv2.GaussianBlur(shade, (0, 0), 0.012 * scale + 0.5), (8, 8, 8), 0.6)

    grain = texture(own, shape, [(1.5, 0.05), (scale * 0.1, 0.08)])
    across = texture(own, (shape[0], 3), [(1.2, 0.1)])[:, 1:2]
    canvas.paint(canvas.box(half_x + rail, half_y + rail), wood * (grain * across)[..., None])
    canvas.paint(canvas.box(half_x + 0.42 * rail, half_y + 0.42 * rail), wood * 0.55)

    grains = [(1, 0.045), (2.2, 0.03), (scale * 0.05, 0.025), (scale * 0.3, 0.04)]
    weave = texture(own, shape, grains)
    cushion = felt * 0.8 * weave[..., None]
    canvas.paint(canvas.box(half_x + 0.36 * rail, half_y + 0.36 * rail), cushion)
    canvas.paint(canvas.box(half_x + 0.04 * rail, half_y + 0.04 * rail), felt * 0.35)
    bright = _pool_of_light(rng, shape)
    canvas.paint(canvas.box(half_x, half_y), felt * (weave * bright)[..., None])
    # The nose of the cushions shades the cloth beside it.
    inside = canvas.box(half_x - 0.2 * radius, half_y - 0.2 * radius)
    edge = cv2.GaussianBlur(255 - inside, (0, 0), 0.35 * radius * scale + 0.5)
    canvas.paint(cv2.min(edge, canvas.box(half_x, half_y)), (0, 0, 0), 0.5)

    _diamonds(canvas, rng, plan)
    _litter(canvas, rng, plan, radius, felt, distractors)
    hole = pocket_radius(radius)
    leather = np.array((30, 24, 20), np.float32) * rng.uniform(0.6, 2.0)
    for x, y in pocket_centres(plan.half, radius):
        canvas.paint(canvas.disc(x, y, hole * 1.14), leather)
        canvas.paint(canvas.disc(x, y, hole), (9, 8, 8))
        canvas.paint(canvas.disc(x, y, hole * 0.98, ring=hole * 0.1), leather * 0.5, 0.6)
    return np.clip(canvas.pixels, 0, 255).astype(np.uint8)


def _pool_of_light(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    centre = rng.uniform(0.3, 0.7, 2)
    y = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None] - centre[1]
    x = np.linspace(0, 1, shape[1], dtype=np.float32)[None] - centre[0]
    return (1.12 - rng.uniform(0.2, 0.7) * (x * x + y * y)).astype(np.float32)


def _diamonds(canvas: Canvas, rng: np.random.Generator, plan: Layout) -> None:
    ivory = np.array((222, 214, 190), np.float32) * rng.uniform(0.7, 1.1)
    half_x, half_y = plan.half
    size, out = 0.009, 0.7 * RAIL
    spots = []
    for part in (-0.75, -0.5, -0.25, 0.25, 0.5, 0.75):
        spots += [(part * half_x, side * (half_y + out)) for side in (-1, 1)]
        spots += [(side * (half_x + out), part * half_y) for side in (-1, 1)]
    for x, y in spots:
        corners = [(x - size, y), (x, y - size), (x + size, y), (x, y + size)]
        canvas.paint(canvas.polygon(corners), ivory)


def _litter(
    canvas: Canvas,
    rng: np.random.Generator,
    plan: Layout,
    radius: float,
    felt: np.ndarray,
    chance: float,
) -> None:
    # All choices are drawn first, so that an option never shifts later draws.
    wanted = rng.random(4) < chance
    half = np.array(plan.half)
    chalk = np.array((46, 110, 170)) if rng.random() < 0.6 else np.array((60, 130, 80))
    if wanted[0]:
        x = rng.uniform(-0.55, 0.55) * half[0]
        y = (half[1] + 0.62 * RAIL) * rng.choice((-1, 1))
        turn, size = rng.uniform(0, 1.5), 0.42 * radius
        corners = [turn + k * np.pi / 2 for k in range(4)]
        square = [(x + size * np.cos(a) * 1.3, y + size * np.sin(a) * 1.3) for a in corners]
        canvas.paint(canvas.polygon(square), chalk)
        canvas.paint(canvas.disc(x, y, size * 0.6), chalk * 0.6)
    if wanted[1]:
        centre = rng.uniform(-0.5, 0.5, 2) * half
        ink = felt * rng.choice((0.72, 1.4))
        canvas.paint(canvas.disc(centre[0], centre[1], 2.4 * radius, 0.2 * radius), ink, 0.6)
        mask = canvas.mask()
        word = rng.choice(('POOL', 'B&B', 'CLUB', 'ACE'))
        size = 1.3 * radius * canvas.scale / 22
        (wide, high), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, size, 1)
        x, y = (value / 2**SHIFT for value in canvas.point(*centre))
        place = (round(x - wide / 2), round(y + high / 2))
        cv2.putText(mask, word, place, cv2.FONT_HERSHEY_DUPLEX, size, 255, 1, cv2.LINE_AA)
        canvas.paint(mask, ink, 0.7)
    if wanted[2]:
        for _ in range(rng.integers(1, 4)):
            spot = rng.uniform(-0.85, 0.85, 2) * half
            colour = np.array(CLASS_COLOURS[int(rng.integers(len(CLASS_COLOURS)))])
            size = radius * rng.uniform(0.35, 0.8)
            canvas.paint(canvas.disc(spot[0], spot[1], size), 0.6 * colour + 0.3 * felt, 0.85)
            canvas.paint(canvas.disc(spot[0], spot[1], 0.7 * size, 0.1 * size), felt, 0.5)
    if wanted[3]:
        x = rng.choice((-0.5, 0.5)) * half[0]
        canvas.paint(canvas.line((x, -half[1]), (x, half[1]), 0.004), felt * 1.5, 0.6)
        for part in (-0.5, 0.0, 0.5):
            canvas.paint(canvas.disc(part * half[0], 0.0, 0.12 * radius), felt * 0.4, 0.8)
