# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The camera: shake as a similarity transform, drifting light, vignette and sensor noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class View:
    """A similarity from table units to pixels: p = zoom * R(angle) x + centre.

    zoom is in pixels per unit; pixel centres have integer coordinates.
    """

    zoom: float
    angle: float
    centre: tuple[float, float]

    def matrix(self) -> np.ndarray:
        """Return the transform as a matrix, float64 [2, 3]."""
        c, s = self.zoom * math.cos(self.angle), self.zoom * math.sin(self.angle)
        return np.array([[c, -s, self.centre[0]], [s, c, self.centre[1]]])

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Return the pixels of table points [n, 2]."""
        matrix = self.matrix()
        return xy @ matrix[:, :2].T + matrix[:, 2]

    def turn(self, xy: np.ndarray) -> np.ndarray:
        """Rotate directions [..., 2] or [..., 3] (z stays) into the picture's axes."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        turned = xy.copy()
        turned[..., 0] = c * xy[..., 0] - s * xy[..., 1]
        turned[..., 1] = s * xy[..., 0] + c * xy[..., 1]
        return turned


class Shake:
    """The views of one clip, which drift and are sometimes jolted."""

    def __init__(
        self, rng: np.random.Generator, size_wh: tuple[int, int], strength: float
    ) -> None:
        self.rng = rng
        self.size_wh = size_wh
        self.short = min(size_wh)
        self.strength = strength
        self.zoom = 1 + 0.035 * float(np.clip(rng.normal(), -2, 2)) * min(strength, 1.0)
        self.angle = 0.02 * float(np.clip(rng.normal(), -2.5, 2.5)) * min(strength, 1.0)
        self.aim = rng.uniform(-0.012, 0.012, 2) * min(strength, 1.0)
        self.offset = np.zeros(4)
        self.pace = np.zeros(4)

    def step(self) -> View:
        """Return the view of the next frame."""
        kick = self.rng.normal(size=4)
        if self.rng.random() < 0.02:
            kick *= 6
        # A damped spring: hand-held sway after each push.
        self.pace = 0.75 * self.pace - 0.12 * self.offset + kick * 0.5
        self.offset = np.clip(self.offset + self.pace, -6, 6)
        x, y, turn, zoom = self.offset * self.strength * (0.0013, 0.0013, 0.0011, 0.0009)
        width, height = self.size_wh
        centre = (
            (width - 1) / 2 + (self.aim[0] + x) * self.short,
            (height - 1) / 2 + (self.aim[1] + y) * self.short,
        )
        return View(self.short * self.zoom * (1 + zoom), self.angle + turn, centre)


class Exposure:
    """Light and sensor of one clip."""

    def __init__(
        self,
        look: np.random.Generator,
        noise: np.random.Generator,
        size_wh: tuple[int, int],
        strengths: tuple[float, float, float],
    ) -> None:
        self.light, grain, soft = strengths
        self.noise = noise
        self.size_wh = size_wh
        self.phase = look.uniform(0, 2 * math.pi, 6)
        self.period = look.uniform(40, 260, 6)
        self.amplitude = look.uniform(0.3, 1.0, 6) * (0.13, 0.1, 0.05, 0.05, 0.1, 0.02)
        self.cast = look.normal(0, 0.04, 3) * min(self.light, 1.0)
        self.base = 1 + look.uniform(-0.15, 0.1) * min(self.light, 1.0)
        self.dimmed = bool(look.random() < 0.3)
        self.dim_at, self.dim_for = int(look.integers(10, 200)), int(look.integers(10, 60))
        self.sigma = look.uniform(0.25, 0.85) * soft * min(size_wh) / 256
        self.deviation = look.uniform(1.5, 6.0) * grain
        self.ramp = np.arange(256, dtype=np.float64) / 255
        self.index = 0
        self._vignette = self._draw_vignette(look.uniform(0.05, 0.3), look.uniform(-0.1, 0.1, 2))
        self._tile = self._draw_tile()

    def expose(self, image: np.ndarray) -> np.ndarray:
        """Return a clean uint8 picture as the camera delivers it."""
        image = cv2.multiply(image, self._vignette, scale=1 / 255)
        image = cv2.LUT(image, self._curve())
        if self.sigma > 0.3:
            image = cv2.GaussianBlur(image, (0, 0), self.sigma)
        if self._tile is not None:
            x, y = self.noise.integers(0, 64, 2)
            width, height = self.size_wh
            tile = self._tile[y : y + height, x : x + width]
            image = cv2.add(image, tile, dtype=cv2.CV_8U)
        self.index += 1
        return image

    def _curve(self) -> np.ndarray:
        wave = self.amplitude * np.sin(2 * math.pi * self.index / self.period + self.phase)
        flicker = self.amplitude[5] * math.sin(2.1 * self.index + self.phase[5])
        gain = self.base + self.light * (wave[0] + flicker)
        if self.dimmed and 0 <= self.index % 260 - self.dim_at < self.dim_for:
            gain *= 1 - 0.4 * min(self.light, 1.5)
        gamma = math.exp(self.light * 1.2 * wave[4])
        tint = 1 + self.cast + self.light * np.array([wave[2], wave[1] * 0.2, wave[3]])
        curve = self.ramp[:, None] ** gamma * max(gain, 0.1) * tint
        return np.clip(np.round(curve * 255), 0, 255).astype(np.uint8)[None]

    def _draw_vignette(self, depth: float, shift: np.ndarray) -> np.ndarray:
        width, height = self.size_wh
        depth *= min(self.light, 1.0)
        x = np.linspace(-1, 1, width)[None] + shift[0]
        y = np.linspace(-1, 1, height)[:, None] + shift[1]
        keep = np.clip(1 - depth * (x * x + y * y) / 1.4, 0, 1)
        return np.repeat(np.round(keep * 255).astype(np.uint8)[..., None], 3, 2)

    def _draw_tile(self) -> np.ndarray | None:
        if self.deviation <= 0:
            return None
        width, height = self.size_wh
        shape = (height + 64, width + 64, 3)
        tile = self.noise.standard_normal(shape, dtype=np.float32) * self.deviation
        # Neighbouring pixels of a real sensor share some of their noise after demosaicing.
        tile = 0.75 * tile + 0.6 * cv2.blur(tile, (3, 1))
        return np.round(tile).astype(np.int16)
