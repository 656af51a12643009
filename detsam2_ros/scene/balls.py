# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rolling balls: shaded, marked and anti-aliased patches, all balls of a frame at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

PLAIN, SPOT, STRIPE, DOTS = 0, 1, 2, 3
GLYPH = 24


@dataclass(frozen=True)
class Light:
    """Light of one clip."""

    lamps: np.ndarray  # unit vectors towards the lamps (z up to the camera), float32 [lamps, 3]
    ambient: float
    gloss: float

    def shadow_offset(self) -> np.ndarray:
        """Return the offset of a shadow per unit of height, float [2]."""
        return -self.lamps[0, :2] / self.lamps[0, 2]


@dataclass(frozen=True)
class Skins:
    """Looks of the balls."""

    colours: np.ndarray  # float32 [n, 3]
    pattern: np.ndarray  # int [n]: PLAIN, SPOT, STRIPE or DOTS
    digit: np.ndarray  # int [n]
    cloth: np.ndarray  # colour of the cloth, float32 [3]


@dataclass(frozen=True)
class Patches:
    """Square patches of the balls in a frame."""

    corner: np.ndarray  # int [n, 2], x and y of the first pixel
    colour: np.ndarray  # float32 [n, P, P, 3]
    alpha: np.ndarray  # float32 [n, P, P], averaged over the exposure time
    solid: np.ndarray  # bool [n, P, P], the disc itself


def draw_light(rng: np.random.Generator) -> Light:
    """Draw one or two lamps."""
    count = int(rng.integers(1, 3))
    angle = rng.uniform(0, 2 * math.pi) + np.array([0.0, rng.uniform(1.5, 4.5)])
    tilt = rng.uniform(0.35, 0.85, 2)
    lamps = np.stack([np.sin(tilt) * np.cos(angle), np.sin(tilt) * np.sin(angle), np.cos(tilt)], 1)
    ambient, gloss = rng.uniform(0.22, 0.42), rng.uniform(0.6, 1.0)
    return Light(lamps[:count].astype(np.float32), ambient, gloss)


def draw_patches(
    skins: Skins,
    light: Light,
    centres: np.ndarray,
    radius: float,
    smear: np.ndarray,
    turn: np.ndarray,
    dim: np.ndarray,
) -> Patches:
    """Render balls of one radius (pixels) at subpixel centres [n, 2].

    smear: pixels travelled during the exposure, [n, 2]. turn: [n, 3, 3], body axes in picture
    axes. dim: brightness factors [n].
    """
    reach = math.ceil(radius + 1.5 + float(np.abs(smear).max(initial=0.0)) / 2)
    span = np.arange(2 * reach + 1)
    corner = np.round(centres).astype(np.int64) - reach
    dx = (corner[:, :1] + span - centres[:, :1]).astype(np.float32)[:, None, :]
    dy = (corner[:, 1:] + span - centres[:, 1:]).astype(np.float32)[:, :, None]
    squared = dx * dx + dy * dy
    distance = np.sqrt(squared)
    solid = distance <= radius
    alpha = np.clip(radius + 0.5 - distance, 0, 1)
    if np.abs(smear).max(initial=0.0) > 0.5:
        # Five samples of the shutter time; the ends count half.
        total = alpha.copy()
        for part in (-0.5, -0.25, 0.25, 0.5):
            sx = (part * smear[:, 0]).astype(np.float32)[:, None, None]
            sy = (part * smear[:, 1]).astype(np.float32)[:, None, None]
            moved = np.sqrt((dx - sx) ** 2 + (dy - sy) ** 2)
            weight = np.float32(0.5 if abs(part) == 0.5 else 1.0)
            total += weight * np.clip(radius + 0.5 - moved, 0, 1)
        alpha = total * np.float32(0.25)

    shrink = 1 / np.maximum(distance, np.float32(radius))
    nx, ny = dx * shrink, dy * shrink
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0))
    colour = _albedo(skins, nx, ny, nz, turn, radius)
    diffuse = np.full_like(nz, light.ambient)
    shine = np.zeros_like(nz)
    for k, (lx, ly, lz) in enumerate(light.lamps):
        lit = np.maximum(nx * lx + ny * ly + nz * lz, 0)
        diffuse += (1.05 - light.ambient) * (0.75 if k == 0 else 0.3) * lit
        hx, hy, hz = np.array((lx, ly, lz + 1)) / math.sqrt(lx * lx + ly * ly + (lz + 1) ** 2)
        peak = np.maximum(nx * np.float32(hx) + ny * np.float32(hy) + nz * np.float32(hz), 0)
        for _ in range(6):
            peak *= peak
        shine += (235 if k == 0 else 140) * light.gloss * peak
    bounce = (0.3 * (1 - nz) ** 2)[..., None]
    colour *= diffuse[..., None]
    colour += (0.5 * skins.cloth - colour) * bounce
    colour += shine[..., None]
    colour *= dim.astype(np.float32)[:, None, None, None]
    return Patches(corner, np.minimum(colour, 255), alpha, solid)


def _albedo(
    skins: Skins, nx: np.ndarray, ny: np.ndarray, nz: np.ndarray, turn: np.ndarray, radius: float
) -> np.ndarray:
    base = np.broadcast_to(skins.colours[:, None, None, :], (*nz.shape, 3)).copy()
    marked = np.flatnonzero(skins.pattern != PLAIN)
    if not len(marked):
        return base
    axes = turn[marked].astype(np.float32)[..., None, None]
    nx, ny, nz = nx[marked], ny[marked], nz[marked]
    u, v, w = (axes[:, k, 0] * nx + axes[:, k, 1] * ny + axes[:, k, 2] * nz for k in range(3))
    soft = np.float32(1.2 / radius)
    ivory = np.array((236, 232, 218), np.float32)
    for row, ball in enumerate(marked):
        kind = skins.pattern[ball]
        if kind == STRIPE:
            cap = np.clip((np.abs(w[row]) - 0.78) / soft + 0.5, 0, 1)
            base[ball] += (ivory - base[ball]) * cap[..., None]
        if kind == DOTS:
            # A training ball: six small dots where the axes meet the surface.
            peak = np.maximum(np.maximum(np.abs(u[row]), np.abs(v[row])), np.abs(w[row]))
            dot = np.clip((peak - 0.955) / (0.5 * soft) + 0.5, 0, 1)
            base[ball] += (np.array((196, 30, 34), np.float32) - base[ball]) * dot[..., None]
            continue
        spot = np.clip((np.abs(u[row]) - 0.87) / (0.6 * soft) + 0.5, 0, 1)
        base[ball] += (ivory - base[ball]) * spot[..., None]
        column = np.clip((v[row] * np.sign(u[row]) / 0.9 + 0.5) * GLYPH, 0, GLYPH - 1)
        line = np.clip((w[row] / 0.9 + 0.5) * GLYPH, 0, GLYPH - 1)
        ink = _GLYPHS[skins.digit[ball]][line.astype(np.int64), column.astype(np.int64)]
        base[ball] *= 1 - 0.9 * (ink * spot)[..., None]
    return base


def _digits() -> np.ndarray:
    sheets = np.zeros((10, GLYPH, GLYPH), np.uint8)
    for digit in range(10):
        place = (GLYPH // 2 - 5, GLYPH // 2 + 6)
        cv2.putText(sheets[digit], str(digit), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 2)
    return (sheets / 255).astype(np.float32)


_GLYPHS = _digits()


def shadow_sprite(light: Light, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the light that a ball leaves on the cloth, uint8 [Q, Q], and the centre offset [2].

    The offset is in pixels from the ball's centre; radius is in pixels.
    """
    offset = light.shadow_offset() * radius
    slant = float(np.hypot(*offset))
    reach = math.ceil(1.7 * radius + slant) + 2
    span = np.arange(-reach, reach + 1, dtype=np.float32)
    x, y = np.meshgrid(span, span)
    keep = np.ones_like(x)
    spread = 0.35 * radius
    along = offset / max(slant, 1e-6)
    # The sphere's shadow is an ellipse, stretched away from the lamp.
    forward = (x * along[0] + y * along[1]) / math.hypot(1.0, slant / radius)
    sideways = x * along[1] - y * along[0]
    cast = np.hypot(forward, sideways)
    keep -= 0.55 * _fall(cast, radius, spread)
    contact = np.hypot(x + offset[0], y + offset[1])
    keep *= 1 - 0.4 * _fall(contact, 1.02 * radius, 0.3 * radius)
    return np.round(np.clip(keep, 0, 1) * 255).astype(np.uint8), offset


def _fall(distance: np.ndarray, radius: float, spread: float) -> np.ndarray:
    part = np.clip((radius + spread - distance) / (2 * spread), 0, 1)
    return part * part * (3 - 2 * part)
