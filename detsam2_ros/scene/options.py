# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Class names and colours of a billiards scene, and its validated options."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

CLASS_NAMES: dict[int, str] = {
    0: 'white',
    1: 'yellow',
    2: 'blue',
    3: 'red',
    4: 'purple',
    5: 'orange',
    6: 'green',
    7: 'brown',
    8: 'black',
}

CLASS_COLOURS: dict[int, tuple[int, int, int]] = {
    0: (240, 238, 226),
    1: (244, 204, 34),
    2: (28, 72, 200),
    3: (206, 22, 30),
    4: (124, 46, 168),
    5: (246, 118, 18),
    6: (22, 140, 62),
    7: (112, 62, 30),
    8: (24, 24, 27),
}

# Classes that people, and small networks, mix up under a tinted light.
LOOK_ALIKES: tuple[tuple[int, ...], ...] = ((3, 5, 7), (0, 1, 5), (2, 4, 8), (1, 5, 3), (7, 8, 4))

CLOTHS: dict[str, tuple[int, int, int]] = {
    'green': (24, 112, 62),
    'blue': (36, 98, 158),
    'burgundy': (118, 26, 44),
    'grey': (112, 117, 122),
    'teal': (18, 112, 116),
    'tan': (176, 148, 108),
}

# Balls that would vanish on a cloth are never dealt onto it.
CLOTH_CONFLICTS: dict[str, frozenset[int]] = {
    'green': frozenset({6}),
    'blue': frozenset({2}),
    'burgundy': frozenset({3, 7}),
    'grey': frozenset(),
    'teal': frozenset({6}),
    'tan': frozenset({7}),
}

MAX_BALLS = 9


@dataclass(frozen=True)
class SceneOptions:
    """The options of a scene; raises ValueError naming the field that is out of range.

    Lengths are fractions of the image's short side. Probabilities are per clip. A factor of 1.0 is
    the usual strength, 0.0 is off.
    """

    balls: int | None = None  # 1..9; None draws 3..9 from the seed
    # Ball radius; None draws about 0.04..0.07, less when many balls share the table.
    radius: float | None = None
    cloth: str | None = None  # a key of CLOTHS; None draws one
    # Mean passes of a hand, arm or cue per 100 frames; 0 keeps the balls uncovered.
    occluders: float = 2.0
    # 0..1; passes come up to five times as often, start at once and aim at balls.
    occlusion_boost: float = 0.0
    shake: float = 1.0  # factor of the camera's subpixel shift, rotation and zoom
    light_change: float = 1.0  # factor of drifting gain, gamma and tint, of flicker and dimming
    noise: float = 1.0  # factor of sensor noise
    blur: float = 1.0  # factor of lens softness
    # Factor of the exposure time, for colours only; labels are those of mid-exposure.
    motion_blur: float = 1.0
    duplicate_colours: float = 0.25  # probability that two balls share one class
    look_alikes: float = 0.15  # probability of classes that are easily confused
    late_ball: float = 0.25  # probability (or bool) that one ball rolls in later
    # Earliest and latest frame (inclusive) at which the late ball starts to roll in.
    late_ball_frames: tuple[int, int] = (8, 40)
    speed: float = 1.0  # factor of ball speed
    # Probability that a ball at a pocket falls in, and is hidden for a while.
    pocketing: float = 0.5
    markings: float = 0.6  # probability that balls carry rolling spots, numbers or stripes
    distractors: float = 0.5  # probability of each of chalk, logo, flat discs and cloth lines

    def __post_init__(self) -> None:
        ranges = {
            'radius': (0.02, 0.1),
            'occluders': (0.0, 50.0),
            'shake': (0.0, 5.0),
            'light_change': (0.0, 3.0),
            'noise': (0.0, 10.0),
            'blur': (0.0, 5.0),
            'motion_blur': (0.0, 2.0),
            'speed': (0.05, 5.0),
        }
        for field in fields(self):
            if field.name in ('balls', 'cloth', 'late_ball_frames'):
                continue
            value = getattr(self, field.name)
            if value is None and field.name == 'radius':
                continue
            low, high = ranges.get(field.name, (0.0, 1.0))
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ValueError(f'{field.name} must be a finite number, not {value!r}')
            if not low <= value <= high:
                raise ValueError(f'{field.name} must be within {low}..{high}, not {value!r}')
        if self.balls is not None and (
            isinstance(self.balls, bool)
            or not isinstance(self.balls, int)
            or not 1 <= self.balls <= MAX_BALLS
        ):
            raise ValueError(f'balls must be None or within 1..{MAX_BALLS}, not {self.balls!r}')
        if self.cloth is not None and self.cloth not in CLOTHS:
            raise ValueError(f'cloth must be None or one of {sorted(CLOTHS)}, not {self.cloth!r}')
        frames = self.late_ball_frames
        if (
            not isinstance(frames, tuple)
            or len(frames) != 2
            or not all(isinstance(f, int) for f in frames)
            or not 0 < frames[0] <= frames[1]
        ):
            raise ValueError(f'late_ball_frames must be (first, last) >= 1, not {frames!r}')


# What the demo's camera shows: a slow game of three different balls, with hands above. Corrections
# restore the hidden balls.
DEMO = SceneOptions(
    balls=3, speed=0.5, occluders=3.0, duplicate_colours=0.0, look_alikes=0.0, late_ball=0.0,
    pocketing=0.0,
)  # fmt: skip
