# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Hands, arms and cues above the balls: their sprites and their motion."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from detsam2_ros.scene.motion import Motion
from detsam2_ros.scene.options import SceneOptions
from detsam2_ros.scene.table import Layout, texture

SKINS = ((224, 172, 138), (198, 140, 104), (150, 98, 66), (96, 62, 44), (238, 196, 170))
SLEEVES = ((34, 36, 44), (190, 190, 196), (60, 78, 120), (120, 40, 46), (70, 96, 70), (20, 20, 22))
CUES = ((206, 162, 100), (170, 112, 60), (222, 190, 140))
HANDS = ('open', 'point', 'fist')


@dataclass(frozen=True)
class Sprite:
    """A picture of an occluder that points along +x."""

    rgba: np.ndarray  # uint8 [h, w, 4], premultiplied colours
    shadow: np.ndarray  # uint8 [h, w], soft
    origin: tuple[float, float]  # the pixel (x, y) that a pose places
    height: float  # above the cloth, ball radii


@dataclass(frozen=True)
class Pose:
    """The place of a sprite, in table units and radians."""

    sprite: str
    x: float
    y: float
    angle: float


@dataclass
class _Pass:
    sprite: str
    target: np.ndarray
    ball: int
    base: np.ndarray
    frames: tuple[int, int, int]  # coming, staying, going
    swing: float
    wobble: float
    age: int = 0


class Occluders:
    """Chooses the poses of a clip frame by frame."""

    def __init__(self, rng: np.random.Generator, plan: Layout, options: SceneOptions) -> None:
        self.rng = rng
        self.plan = plan
        self.boost = options.occlusion_boost
        self.rate = options.occluders * (1 + 4 * self.boost) / 100
        self.cue_chance = min(1.0, 0.25 * options.occluders)
        self.hand = HANDS[rng.integers(len(HANDS))]
        self._passes: list[_Pass] = []
        self._most = 2 if rng.random() < self.boost else 1
        self._gap = self._draw_gap()
        self._cue: int | None = None
        self._show_cue = False
        self._hurried = bool(rng.random() < self.boost)

    def step(self, motion: Motion) -> list[Pose]:
        """Return the poses of the next frame, lowest first."""
        poses = []
        if self.rate > 0:
            poses += self._strike(motion)
        if self._hurried and self.rate > 0:
            # A short training clip would end before an occluder that starts outside arrives.
            self._hurried = False
            self._passes.append(self._plan(motion))
            self._passes[0].age = int(self.rng.integers(0, sum(self._passes[0].frames[:2])))
        elif len(self._passes) < self._most and self._gap <= 0:
            self._passes.append(self._plan(motion))
            self._gap = self._draw_gap()
        elif len(self._passes) < self._most:
            self._gap -= 1
        poses += [self._advance(move, motion) for move in self._passes]
        self._passes = [move for move in self._passes if move.age <= sum(move.frames)]
        return poses

    def _draw_gap(self) -> float:
        return math.inf if self.rate <= 0 else float(self.rng.exponential(1 / self.rate))

    def _strike(self, motion: Motion) -> list[Pose]:
        shot = motion.shot
        if shot is None:
            return []
        if self._cue != shot.number:
            self._cue = shot.number
            self._show_cue = bool(self.rng.random() < self.cue_chance)
        if not self._show_cue:
            return []
        count = shot.countdown
        back = 0.05 * count**1.5 if count > 0 else 0.02 * count**2 - 0.06
        tip = shot.origin - shot.direction * (motion.radius * 1.05 + max(back, 0.0))
        return [Pose('cue', tip[0], tip[1], math.atan2(shot.direction[1], shot.direction[0]))]

    def _plan(self, motion: Motion) -> _Pass:
        rng = self.rng
        image = np.array(self.plan.image) / 2
        angle = rng.uniform(0, 2 * math.pi)
        way = np.array([math.cos(angle), math.sin(angle)])
        base = way * (float(np.min(image / np.maximum(np.abs(way), 1e-9))) + 0.12)
        seen = np.flatnonzero(motion.depth() < 0.5)
        ball = -1
        if len(seen) and rng.random() < 0.5 + 0.5 * self.boost:
            ball = int(rng.choice(seen))
        target = rng.uniform(-0.8, 0.8, 2) * motion.half
        draw = rng.random()
        frames = (int(rng.integers(7, 16)), int(rng.integers(3, 18)), int(rng.integers(7, 16)))
        swing = 0.0
        sprite = self.hand
        if draw > 0.55 + 0.15 * self.boost:
            swing = rng.uniform(0.35, 0.9) * rng.choice((-1, 1))
            sprite = 'cue' if draw > 0.8 else 'arm'
            frames = (0, int(rng.integers(20, 45)), 0)
        return _Pass(sprite, target, ball, base, frames, swing, rng.uniform(0, 6))

    def _advance(self, move: _Pass, motion: Motion) -> Pose:
        coming, staying, going = move.frames
        age = move.age
        move.age += 1
        if move.ball >= 0 and age <= coming + staying // 2 and motion.depth()[move.ball] < 0.5:
            goal = motion.pos[move.ball]
            move.target = goal.copy() if age == 0 else move.target + 0.4 * (goal - move.target)
        reach = move.target - move.base
        length = float(np.hypot(*reach))
        angle = math.atan2(reach[1], reach[0])
        if move.swing:
            # The free end sweeps over the target while the other end stays outside.
            part = age / staying * 2 - 1
            angle += move.swing * part * 1.3
            length += (0.45 if move.sprite == 'cue' else 0.2) - 0.6 * max(0.0, abs(part) - 0.6)
            tip = move.base + length * np.array([math.cos(angle), math.sin(angle)])
            return Pose(move.sprite, tip[0], tip[1], angle)
        part = 1.0
        if age < coming:
            part = _ease(age / coming)
        elif age > coming + staying:
            part = _ease(1 - (age - coming - staying) / going)
        spot = move.base + reach * part - reach / length * 0.35 * (1 - part)
        angle += 0.05 * math.sin(0.31 * age + move.wobble)
        spot = spot + 0.006 * np.array([math.sin(0.7 * age), math.cos(0.53 * age + move.wobble)])
        return Pose(move.sprite, spot[0], spot[1], angle)


def _ease(part: float) -> float:
    part = min(max(part, 0.0), 1.0)
    return part * part * (3 - 2 * part)


def draw_sprite(
    rng: np.random.Generator, name: str, scale: float, radius: float, length: float
) -> Sprite:
    """Draw 'cue', 'arm' or a hand; scale in pixels per unit, radius and length in units."""
    unit = radius * scale  # sprites are proportioned in ball radii
    if name == 'cue':
        return _cue(rng, unit, length * scale)
    return _arm(rng, unit, length * scale, name)


def _finish(
    colour: np.ndarray, alpha: np.ndarray, origin: tuple[float, float], unit: float, height: float
) -> Sprite:
    plane = alpha.astype(np.float32)[..., None] / 255
    rgba = np.concatenate([np.clip(colour, 0, 255) * plane, alpha[..., None]], 2)
    shadow = cv2.GaussianBlur(alpha, (0, 0), 0.35 * unit + 0.5)
    dark = cv2.convertScaleAbs(shadow, alpha=0.5)
    return Sprite(np.round(rgba).astype(np.uint8), dark, origin, height)


def _cue(rng: np.random.Generator, unit: float, length: float) -> Sprite:
    pad = round(1.2 * unit)
    wide, high = round(length) + 2 * pad, 2 * pad + round(1.2 * unit)
    tip, middle = wide - 1 - pad, (high - 1) / 2
    x = np.arange(wide, dtype=np.float32)
    # Full width at a real cue's length; everything farther away is the butt.
    part = np.clip((tip - x) / (20 * unit), 0, 1)
    half = (0.13 + 0.13 * part) * unit
    y = np.arange(high, dtype=np.float32)[:, None] - middle
    inside = np.clip(half - np.abs(y) + 0.5, 0, 1) * np.clip(tip + 0.5 - x, 0, 1)
    inside *= np.clip(x - 1.5, 0, 1)
    wood = np.array(CUES[rng.integers(len(CUES))], np.float32)
    butt = np.array(SLEEVES[rng.integers(len(SLEEVES))], np.float32) * 0.7 + 8
    colour = np.empty((high, wide, 3), np.float32)
    colour[:] = wood
    colour[:, tip - x > 9 * unit] = butt
    colour[:, (tip - x > 8.6 * unit) & (tip - x < 9 * unit)] = (210, 200, 170)
    colour[:, tip - x < 0.75 * unit] = (232, 228, 214)
    colour[:, tip - x < 0.22 * unit] = (60, 100, 140)
    grain = texture(rng, (high, wide), [(2, 0.04)]) * texture(rng, (1, wide), [(9, 0.05)])
    across = np.clip(1 - (y / half + 0.25) ** 2, 0, 1)
    colour *= (grain * (0.5 + 0.6 * across))[..., None]
    alpha = np.round(inside * 255).astype(np.uint8)
    return _finish(colour, alpha, (tip, middle), unit, 2.2)


def _arm(rng: np.random.Generator, unit: float, length: float, name: str) -> Sprite:
    reach = 4.2 * unit  # from the palm to the longest fingertip
    pad = round(1.3 * unit)
    wide, high = round(length + reach) + 2 * pad, round(7.0 * unit) + 2 * pad
    ox, oy = wide - 1 - pad - reach, (high - 1) / 2
    colour = np.zeros((high, wide, 3), np.float32)
    alpha = np.zeros((high, wide), np.uint8)
    skin = np.array(SKINS[rng.integers(len(SKINS))], np.float32)
    if rng.random() < 0.2:
        skin = np.array((44, 44, 48), np.float32)  # a glove
    sleeve = np.array(SLEEVES[rng.integers(len(SLEEVES))], np.float32)
    bare = rng.random() < 0.35
    sizes = rng.uniform(0.95, 1.05, 4)
    # Textures last: their draws depend on the size of the picture, and the shape must not.
    rough = texture(rng, (high, wide), [(2, 0.05), (0.5 * unit, 0.06)])

    def part(points: list[tuple[float, float]], width: float, tint: np.ndarray) -> None:
        mask = np.zeros_like(alpha)
        track = [(round((ox + x * unit) * 16), round((oy + y * unit) * 16)) for x, y in points]
        thick = max(1, round(width * unit))
        for a, b in zip(track, track[1:], strict=False):
            cv2.line(mask, a, b, 255, thick, cv2.LINE_AA, 4)
        x, y, w, h = cv2.boundingRect(mask)
        box = (slice(y, y + h), slice(x, x + w))
        # A part that fills its box has finite distances only with zeros around it.
        framed = cv2.copyMakeBorder(mask[box], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        inner = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1] / (0.5 * thick)
        shade = 0.5 + 0.55 * np.sqrt(np.clip(inner, 0, 1))
        plane = mask[box].astype(np.float32)[..., None] / 255
        shaded = tint * (shade * rough[box])[..., None]
        colour[box] += (shaded - colour[box]) * plane
        np.maximum(alpha[box], mask[box], out=alpha[box])

    far = -length / unit - 2
    cuff = -5.5 if bare else -1.9
    part([(far, 0.5), (-1.2, 0.0)], 2.0, skin)
    part([(far, 0.6), (cuff, 0.1)], 2.9, sleeve)
    if name != 'arm':
        part([(cuff - 0.1, -0.9), (cuff - 0.1, 1.1)], 0.5, sleeve * 0.8)
    part([(-0.7, 0.0), (0.5, 0.0)], 2.5, skin)
    straight = {'open': (1, 1, 1, 1, 1), 'point': (1, 0, 0, 0, 0), 'fist': (0, 0, 0, 0, 0)}
    shown = straight.get(name, (1, 1, 1, 1, 0))
    for k, (root, fan, size) in enumerate(
        ((-0.95, -0.28, 3.0), (-0.32, -0.08, 3.4), (0.32, 0.1, 3.2), (0.92, 0.3, 2.7))
    ):
        size = size * sizes[k] if shown[k] else 1.75
        knuckle = (0.9, root)
        end = (size * math.cos(fan) + 0.3, root + size * math.sin(fan))
        part([knuckle, end], 0.66, skin * (1.0 if shown[k] else 0.9))
    thumb = [(-0.3, -0.9), (0.7, -1.9), (1.5, -2.1)] if shown[4] else [(-0.2, -1.0), (1.1, -1.0)]
    part(thumb, 0.72, skin * 0.97)
    return _finish(colour, alpha, (ox, oy), unit, 3.0)
