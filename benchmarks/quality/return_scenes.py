# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Clips in which balls roll into a pocket, stay away for long and come out of another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.quality.scenery import Filmed, Scenery
from detsam2_ros.scene.cast import Cast, topic_rng
from detsam2_ros.scene.motion import GONE, ON_TABLE, SINKING, Motion
from detsam2_ros.scene.render import SceneFrame, SceneOptions

AWAY = (80, 400)  # frames
TAIL = 60  # frames after the last return
_PACE = 0.03  # of a ball on its way to a pocket, units a frame
_RAMP = 20  # frames in which light changes


@dataclass(frozen=True)
class Plot:
    """What the balls of a clip look like and do."""

    alike: bool = False  # balls 0 and 1 have one look
    confusable: bool = False  # all are of classes that are easily mixed up
    stranger: bool = False  # ball 1 was never there before ball 0 has left
    light: bool = False  # light changes while balls are away
    balls: int = 3  # the last one stays
    leaves: tuple[int, int] = (35, 50)  # when balls 0 and 1 set off
    away: tuple[int, int] = AWAY
    tail: int = TAIL


@dataclass(frozen=True)
class Trip:
    """When a ball sets off to a pocket, and when it comes back; None: it was never there."""

    ball: int
    leaves: int | None
    returns: int


class _Kept(Motion):
    """Balls that stay in their pocket until they are let out."""

    def __init__(self, *given: object) -> None:
        self.kept: set[int] = set()
        super().__init__(*given)  # type: ignore[arg-type]

    def sink(self, ball: int, pocket: int) -> None:
        """Let a ball at a pocket fall in, and stay."""
        self.phase[ball], self.progress[ball], self.pocket[ball] = SINKING, 0, pocket
        self._lips[ball] = self.pos[ball]
        self.vel[ball] = 0
        self.kept.add(ball)

    def _emerge(self, ball: int) -> None:
        if ball not in self.kept:
            super()._emerge(ball)


class Returning(Filmed):
    """A clip with trips."""

    def __init__(self, seed: int, plan: Plot):
        options = SceneOptions(
            balls=plan.balls, occluders=0.0, late_ball=0.0, pocketing=0.0, duplicate_colours=0.0,
            look_alikes=float(plan.confusable),
        )  # fmt: skip
        super().__init__(seed, options)
        rng = topic_rng(seed, 200)
        if plan.alike:
            self.cast = _alike(self.cast, rng)
        half = self.plan.half
        self.motion = _Kept(topic_rng(seed, 1), plan.balls, self.radius, half, options.speed, 0.0)
        self.trips = list(_trips(rng, plan))
        self.length = max(trip.returns for trip in self.trips) + plan.tail
        for trip in self.trips:
            if trip.leaves is None:  # it was never there
                self.motion.phase[trip.ball] = GONE
                self.motion.kept.add(trip.ball)
        self._light_at = None
        if plan.light:
            # Between the last one to leave and the first one to return.
            self._light_at = max(trip.leaves or 0 for trip in self.trips) + 25
        self._gain = float(rng.choice([rng.uniform(0.55, 0.75), rng.uniform(1.2, 1.35)]))
        self._tint = rng.normal(0, 0.08, 3)

    def frame(self, index: int) -> SceneFrame:
        for trip in self.trips:
            self._move(trip, index)
        if self._light_at is not None and self._light_at <= index < self._light_at + _RAMP:
            self.exposure.base *= self._gain ** (1 / _RAMP)
            self.exposure.cast = self.exposure.cast + self._tint / _RAMP
        return super().frame(index)

    def _move(self, trip: Trip, index: int) -> None:
        motion, ball = self.motion, trip.ball
        assert isinstance(motion, _Kept)
        if index >= trip.returns:
            motion.kept.discard(ball)
            if motion.phase[ball] == GONE:
                motion.wait[ball] = 0
        elif trip.leaves is not None and index >= trip.leaves and motion.phase[ball] == ON_TABLE:
            way = motion.pockets - motion.pos[ball]
            far = np.hypot(*way.T)
            nearest = int(far.argmin())
            if far[nearest] < 1.75 * motion.radius:
                motion.sink(ball, nearest)
            else:
                motion.vel[ball] = _PACE * way[nearest] / far[nearest]


def clip_of(seed: int, plan: Plot) -> tuple[list[SceneFrame], list[Scenery], list[Trip]]:
    """Render a clip."""
    clip = Returning(seed, plan)
    scenes = [clip.scene(index) for index in range(clip.length)]
    return [frame for frame, _ in scenes], [scenery for _, scenery in scenes], clip.trips


def _trips(rng: np.random.Generator, plan: Plot) -> Iterator[Trip]:
    # Evenly over the logarithm: short and long times are about as frequent.
    low, high = np.log(plan.away)
    away = np.exp(rng.uniform(low, high, 2)).round().astype(int)
    first, second = plan.leaves
    yield Trip(0, first, first + 25 + int(away[0]))
    if plan.stranger:
        # It comes when ball 0 has been away for long enough to be retired, before that returns.
        yield Trip(1, None, first + 25 + 75)
        return
    yield Trip(1, second, second + 25 + int(away[1]))


def _alike(cast: Cast, rng: np.random.Generator) -> Cast:
    """Give ball 1 the class and the look of ball 0."""
    skins = cast.skins
    colours, pattern, digit, classes = (
        each.copy() for each in (skins.colours, skins.pattern, skins.digit, cast.class_ids)
    )
    colours[1] = np.clip(colours[0] + rng.uniform(-4, 4, 3), 4, 250)
    pattern[1], digit[1], classes[1] = pattern[0], digit[0], classes[0]
    worn = replace(skins, colours=colours, pattern=pattern, digit=digit)
    return replace(cast, class_ids=classes, skins=worn)
