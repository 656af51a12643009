# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Procedural top-view billiards video with exact masks, ids and boxes.

A clip is simulated in table units, so a seed gives the same motion at any size of the same aspect.
Labels are computed from the balls' discs in the picture; they are never warped or thresholded from
colours.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detsam2_ros.scene.cast import draw_cast, start_motion
from detsam2_ros.scene.options import CLASS_NAMES, SceneOptions
from detsam2_ros.scene.render import Clip, SceneFrame
from detsam2_ros.scene.table import layout

__all__ = ['CLASS_NAMES', 'Scene', 'SceneFrame', 'SceneOptions', 'render']

SMALLEST = 64


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
        self._cast = draw_cast(seed, self._plan, options)
        start_motion(seed, self._plan, self._cast, options)  # refuses balls that do not fit

    @property
    def class_ids(self) -> np.ndarray:
        """Classes of the balls, int32 [n]."""
        return self._cast.class_ids.copy()

    @property
    def cloth(self) -> str:
        """Name of the cloth's colour."""
        return self._cast.cloth

    @property
    def radius(self) -> float:
        """Ball radius as a fraction of the short side, before the camera's zoom."""
        return self._cast.radius

    @property
    def ids(self) -> np.ndarray:
        """Ball ids, int32 [n]: 1..n."""
        return np.arange(1, len(self._cast.class_ids) + 1, dtype=np.int32)

    def __len__(self) -> int:
        if self.length is None:
            raise TypeError('an endless scene has no length')
        return self.length

    def __iter__(self) -> Iterator[SceneFrame]:
        size_wh = (self.width, self.height)
        clip = Clip(self.seed, size_wh, self._plan, self._cast, self.options)
        index = 0
        while self.length is None or index < self.length:
            yield clip.frame(index)
            index += 1


def render(
    seed: int,
    length: int,
    width: int = 256,
    height: int = 256,
    options: SceneOptions = SceneOptions(),  # noqa: B008 - frozen
) -> list[SceneFrame]:
    """Return all frames of a clip."""
    return list(Scene(seed, width, height, length, options))
