# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The motion of the balls: shots, collisions, cushions and pockets.

Lengths are in units of the picture's short side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

ON_TABLE, SINKING, GONE, EMERGING = 0, 1, 2, 3
SINK_FRAMES = 8
CALM_SPEED = 0.008
RESTITUTION_BALL = 0.96
RESTITUTION_CUSHION = 0.85


@dataclass
class Shot:
    """A ball that the cue strikes."""

    ball: int
    direction: np.ndarray
    speed: float
    origin: np.ndarray
    countdown: int  # frames until the hit; negative after it
    number: int


class Motion:
    """Ball states of one clip; `step` moves them on by one frame.

    half: half width and height of the playing field; the origin is its centre, y points down.
    pos, vel: float64 [n, 2], units and units per frame. turn: float64 [n, 3, 3], row k is the k-th
    body axis of a ball in table axes (z up to the camera). phase, progress: int [n].
    """

    def __init__(
        self,
        rng: np.random.Generator,
        count: int,
        radius: float,
        half: tuple[float, float],
        speed: float = 1.0,
        pocketing: float = 0.5,
        late: tuple[int, int] | None = None,
    ) -> None:
        self.rng = rng
        self.count = count
        self.radius = radius
        self.half = np.array(half)
        self.speed = speed
        self.pocketing = pocketing
        self.pockets = pocket_centres(half, radius)
        self.pos = self._deal()
        self.vel = np.zeros((count, 2))
        self.turn = np.stack([_random_turn(rng) for _ in range(count)])
        self.phase = np.zeros(count, dtype=np.int64)
        self.progress = np.zeros(count, dtype=np.int64)
        self.pocket = np.full(count, -1, dtype=np.int64)
        self.wait = np.zeros(count, dtype=np.int64)
        self._lips = np.zeros((count, 2))
        self._spared = np.zeros(count, dtype=bool)
        self.shot: Shot | None = None
        self.shots = 0
        if late is not None:
            ball, frame = late
            self.phase[ball] = GONE
            self.wait[ball] = frame
        for ball in rng.permutation(np.flatnonzero(self.phase == ON_TABLE))[:2]:
            angle = rng.uniform(0, 2 * math.pi)
            push = rng.uniform(0.012, 0.035) * speed
            self.vel[ball] = push * np.array([math.cos(angle), math.sin(angle)])

    def step(self) -> None:
        """Move everything on by one frame."""
        before = self.pos.copy()
        playing = self.phase == ON_TABLE
        fastest = math.sqrt(float((self.vel**2).sum(1).max()))
        steps = max(1, math.ceil(fastest / (0.35 * self.radius)))
        for _ in range(steps):
            self.pos[playing] += self.vel[playing] / steps
            self._collide()
            self._cushions()
        self._friction()
        self._pockets()
        self._roll(self.pos - before)
        self._shots()

    def rim(self, ball: int) -> tuple[np.ndarray, float]:
        """Return centre and radius of the pocket of a sinking or emerging ball."""
        return self.pockets[self.pocket[ball]], pocket_radius(self.radius)

    def depth(self) -> np.ndarray:
        """Return how deep each ball is in a pocket, float64 [n]: 0 on the table, 1 hidden."""
        depth = np.where(self.phase == ON_TABLE, 0.0, self.progress / SINK_FRAMES)
        return np.where(self.phase == GONE, 1.0, depth)

    def _deal(self) -> np.ndarray:
        room = self.half - 1.25 * self.radius
        gap = 2.15 * self.radius
        for _ in range(30):
            # Balls are placed one by one; after a layout without room a new one is tried.
            drops = self.rng.uniform(-room, room, (40 * self.count, 2))
            holes = np.hypot(*np.moveaxis(drops[:, None] - self.pockets, -1, 0))
            spots: list[list[float]] = []
            for spot in drops[holes.min(1) > 2.2 * self.radius].tolist():
                if all(math.dist(spot, other) > gap for other in spots):
                    spots.append(spot)
                    if len(spots) == self.count:
                        return np.array(spots)
        raise ValueError(f'radius {self.radius} leaves no room for {self.count} balls')

    def _cushions(self) -> None:
        limit = self.half - self.radius
        playing = (self.phase == ON_TABLE)[:, None]
        beyond = playing & (np.abs(self.pos) > limit)
        if beyond.any():
            side = np.sign(self.pos)
            self.pos = np.where(beyond, side * limit, self.pos)
            outward = beyond & (self.vel * side > 0)
            self.vel = np.where(outward, -RESTITUTION_CUSHION * self.vel, self.vel)

    def _collide(self) -> None:
        delta = self.pos[:, None] - self.pos[None]
        near = (delta**2).sum(-1) < (2 * self.radius) ** 2
        for i, j in zip(*np.nonzero(np.triu(near, 1)), strict=True):
            free_i, free_j = self.phase[i] == ON_TABLE, self.phase[j] == ON_TABLE
            if GONE in (self.phase[i], self.phase[j]) or not (free_i or free_j):
                continue
            gap = self.pos[i] - self.pos[j]
            distance = float(np.hypot(*gap))
            normal = gap / distance if distance > 1e-9 else np.array([1.0, 0.0])
            push = 2 * self.radius - distance
            # A ball on its way through a pocket does not yield.
            share = 0.5 if free_i and free_j else 1.0
            if free_i:
                self.pos[i] += share * push * normal
            if free_j:
                self.pos[j] -= share * push * normal
            closing = float((self.vel[i] - self.vel[j]) @ normal)
            if closing < 0:
                impulse = share * (1 + RESTITUTION_BALL) * closing * normal
                if free_i:
                    self.vel[i] -= impulse
                if free_j:
                    self.vel[j] += impulse

    def _friction(self) -> None:
        pace = np.hypot(self.vel[:, 0], self.vel[:, 1])
        kept = np.maximum(pace * 0.985 - 0.0002 * self.speed, 0) / np.maximum(pace, 1e-12)
        self.vel *= kept[:, None]

    def _pockets(self) -> None:
        away = np.hypot(*np.moveaxis(self.pos[:, None] - self.pockets[None], -1, 0))
        nearest = away.argmin(1)
        caught = away.min(1) < 1.75 * self.radius
        for ball in range(self.count):
            phase = self.phase[ball]
            if phase == ON_TABLE:
                if not caught[ball]:
                    self._spared[ball] = False
                elif not self._spared[ball]:
                    self._at_pocket(ball, int(nearest[ball]))
            elif phase == SINKING:
                self.progress[ball] += 1
                self._place_in_pocket(ball)
                if self.progress[ball] >= SINK_FRAMES:
                    self.phase[ball] = GONE
                    self.wait[ball] = self.rng.integers(30, 90)
            elif phase == GONE:
                self.wait[ball] -= 1
                crowd = int((self.phase == ON_TABLE).sum())
                if self.wait[ball] <= 0 or crowd < min(2, self.count):
                    self._emerge(ball)
            else:
                self.progress[ball] -= 1
                self._place_in_pocket(ball)
                if self.progress[ball] <= 0:
                    self.phase[ball] = ON_TABLE
                    self._spared[ball] = True
                    inward = self._lips[ball] - self.pockets[self.pocket[ball]]
                    pace = self.rng.uniform(0.015, 0.03) * self.speed
                    self.vel[ball] = pace * inward / np.hypot(*inward)

    def _at_pocket(self, ball: int, pocket: int) -> None:
        busy = pocket in self.pocket[(self.phase == SINKING) | (self.phase == EMERGING)]
        if busy or self.rng.random() >= self.pocketing:
            self._spared[ball] = True
            return
        self.phase[ball] = SINKING
        self.progress[ball] = 0
        self.pocket[ball] = pocket
        self._lips[ball] = self.pos[ball]
        self.vel[ball] = 0

    def _emerge(self, ball: int) -> None:
        for pocket in self.rng.permutation(len(self.pockets)):
            inward = -self.pockets[pocket] / np.hypot(*self.pockets[pocket])
            lip = self.pockets[pocket] + 1.8 * self.radius * inward
            lip = np.clip(lip, self.radius - self.half, self.half - self.radius)
            others = self.pos[self.phase != GONE]
            if len(others) and np.min(np.hypot(*(others - lip).T)) < 3 * self.radius:
                continue
            self.phase[ball] = EMERGING
            self.progress[ball] = SINK_FRAMES
            self.pocket[ball] = pocket
            self._lips[ball] = lip
            self._place_in_pocket(ball)
            return

    def _place_in_pocket(self, ball: int) -> None:
        # The ball moves into the hole, then on below the rail, whose rim hides it more and more.
        depth = self.progress[ball] / SINK_FRAMES
        hole = self.pockets[self.pocket[ball]]
        if depth < 0.4:
            self.pos[ball] = self._lips[ball] + (hole - self._lips[ball]) * depth / 0.4
        else:
            outward = hole / np.hypot(*hole)
            reach = pocket_radius(self.radius) + self.radius
            self.pos[ball] = hole + outward * reach * (depth - 0.4) / 0.6

    def _roll(self, moved: np.ndarray) -> None:
        length = np.hypot(moved[:, 0], moved[:, 1])
        if length.max() < 1e-9:
            return
        angle = length / self.radius
        safe = np.maximum(length, 1e-12)
        axis = np.stack([-moved[:, 1] / safe, moved[:, 0] / safe, np.zeros(self.count)], -1)
        sine, cosine = np.sin(angle)[:, None, None], np.cos(angle)[:, None, None]
        along = (self.turn * axis[:, None]).sum(-1, keepdims=True) * axis[:, None]
        turned = self.turn * cosine + np.cross(axis[:, None], self.turn) * sine
        turned += along * (1 - cosine)
        # Orthonormal again: rounding would slowly shear the axes on an endless stream.
        first = turned[:, 0] / np.linalg.norm(turned[:, 0], axis=-1, keepdims=True)
        second = turned[:, 1] - (turned[:, 1] * first).sum(-1, keepdims=True) * first
        second /= np.linalg.norm(second, axis=-1, keepdims=True)
        self.turn = np.stack([first, second, np.cross(first, second)], 1)

    def _shots(self) -> None:
        if self.shot is not None:
            self.shot.countdown -= 1
            struck = self.shot.ball
            if self.phase[struck] != ON_TABLE and self.shot.countdown >= 0:
                self.shot = None
            elif self.shot.countdown == 0:
                self.shot.origin = self.pos[struck].copy()
                self.vel[struck] = self.shot.speed * self.shot.direction
            elif self.shot.countdown > 0:
                self.shot.origin = self.pos[struck].copy()
            elif self.shot.countdown < -8:
                self.shot = None
            return
        playing = np.flatnonzero(self.phase == ON_TABLE)
        pace = np.hypot(self.vel[playing, 0], self.vel[playing, 1])
        if not len(playing) or pace.max() > CALM_SPEED * self.speed:
            return
        order = self.rng.permutation(playing)
        aim = self.pos[order[1]] - self.pos[order[0]] if len(order) > 1 else -self.pos[order[0]]
        angle = math.atan2(aim[1], aim[0]) + self.rng.normal(0, 0.12)
        self.shot = Shot(
            ball=int(order[0]),
            direction=np.array([math.cos(angle), math.sin(angle)]),
            speed=self.rng.uniform(0.028, 0.062) * self.speed,
            origin=self.pos[order[0]].copy(),
            countdown=int(self.rng.integers(8, 13)),
            number=self.shots,
        )
        self.shots += 1


def pocket_radius(radius: float) -> float:
    """Return the radius of the hole for balls of a radius."""
    return 1.35 * radius


def pocket_centres(half: tuple[float, float], radius: float) -> np.ndarray:
    """Return the centres of the holes, float64 [6, 2]: corners and middles of the long sides."""
    x, y = half[0] + 0.1 * radius, half[1] + 0.1 * radius
    corners = [(-x, -y), (x, -y), (-x, y), (x, y)]
    out = 0.35 * radius
    middles = [(0.0, -y - out), (0.0, y + out)] if x >= y else [(-x - out, 0.0), (x + out, 0.0)]
    return np.array(corners + middles)


def _random_turn(rng: np.random.Generator) -> np.ndarray:
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return matrix if np.linalg.det(matrix) > 0 else -matrix
