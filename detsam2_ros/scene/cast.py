# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The constant parts of a clip: classes and looks of the balls, the cloth, the late ball."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from detsam2_ros.scene.balls import DOTS, PLAIN, SPOT, STRIPE, Skins
from detsam2_ros.scene.motion import Motion
from detsam2_ros.scene.options import (
    CLASS_COLOURS,
    CLASS_NAMES,
    CLOTH_CONFLICTS,
    CLOTHS,
    LOOK_ALIKES,
    SceneOptions,
)
from detsam2_ros.scene.table import Layout


@dataclass(frozen=True)
class Cast:
    """The constant parts of a clip."""

    class_ids: np.ndarray  # int32 [n]
    radius: float  # of the balls, units
    cloth: str  # key of CLOTHS
    skins: Skins  # looks of the balls
    late: tuple[int, int] | None  # index of a ball, and the frame at which it rolls in


def topic_rng(seed: int, topic: int) -> np.random.Generator:
    """Return a generator for one topic, so that an option never shifts another topic's draws."""
    return np.random.default_rng([seed, topic])


def start_motion(seed: int, plan: Layout, cast: Cast, options: SceneOptions) -> Motion:
    """Return the balls before the first frame; raises ValueError if they do not fit the table."""
    return Motion(
        topic_rng(seed, 1),
        len(cast.class_ids),
        cast.radius,
        plan.half,
        options.speed,
        options.pocketing,
        cast.late,
    )


def draw_cast(seed: int, plan: Layout, options: SceneOptions) -> Cast:
    """Draw the balls of a clip."""
    rng = topic_rng(seed, 0)
    draws = rng.random(8)
    drawn = int(rng.integers(3, 10))
    count = options.balls if options.balls is not None else drawn
    twins = count > 1 and draws[0] < options.duplicate_colours
    # A cloth that rules out too many classes would force twins.
    cloths = [c for c in CLOTHS if len(CLASS_NAMES) - len(CLOTH_CONFLICTS[c]) >= count - twins]
    cloth = options.cloth or cloths[int(draws[1] * len(cloths))]
    usable = [int(c) for c in rng.permutation(9) if c not in CLOTH_CONFLICTS[cloth]]
    if draws[2] < options.look_alikes:
        alike = LOOK_ALIKES[int(draws[3] * len(LOOK_ALIKES))]
        usable.sort(key=lambda c: c not in alike)
    distinct = min(count - twins, len(usable))
    classes = usable[:distinct]
    classes += [classes[int(k)] for k in rng.integers(0, distinct, count - distinct)]
    class_ids = rng.permutation(np.array(classes)).astype(np.int32)
    area = 4 * plan.half[0] * plan.half[1]
    roomy = min(0.07, 0.2 * math.sqrt(area / count))
    radius = options.radius or float(0.04 + (max(roomy, 0.041) - 0.04) * draws[4])
    first, last = options.late_ball_frames
    late = None
    if count > 1 and draws[5] < options.late_ball:
        late = (int(rng.integers(count)), int(rng.integers(first, last + 1)))
    skins = _dress(rng, class_ids, cloth, bool(draws[6] < options.markings))
    return Cast(class_ids, radius, cloth, skins, late)


def _dress(rng: np.random.Generator, class_ids: np.ndarray, cloth: str, marked: bool) -> Skins:
    colours = np.array([CLASS_COLOURS[int(c)] for c in class_ids], np.float32)
    colours += rng.uniform(-8, 8, colours.shape).astype(np.float32)
    pattern = np.full(len(colours), PLAIN)
    kinds = rng.choice((PLAIN, SPOT, STRIPE), len(colours), p=(0.25, 0.45, 0.3))
    if marked:
        # White caps and spots on white would not show; black stays mostly black.
        pattern = np.where(class_ids == 0, DOTS, kinds)
        pattern[(class_ids == 8) & (kinds == STRIPE)] = SPOT
    felt = np.array(CLOTHS[cloth], np.float32)
    return Skins(np.clip(colours, 4, 250), pattern, class_ids, felt)
