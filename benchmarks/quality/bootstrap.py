# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Means over clips with confidence intervals, by resampling the clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
_LEVEL = 95  # per cent


@dataclass(frozen=True)
class Interval:
    """A mean and its interval of 95 %."""

    mean: float
    low: float
    high: float

    @property
    def differs(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def interval(groups: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """Return the mean over groups of the mean over the clips of a group.

    Clips are drawn with replacement within their group. With two clips an interval says little,
    and with one nothing: it is NaN then.
    """
    rng = np.random.default_rng(seed)
    drawn = [
        np.asarray(own, float)[rng.integers(len(own), size=(RESAMPLES, len(own)))].mean(1)
        for own in groups
    ]
    mean = float(np.mean([np.mean(own) for own in groups]))
    if min(map(len, groups)) < 2:
        return Interval(mean, float('nan'), float('nan'))
    edge = (100 - _LEVEL) / 2
    low, high = np.percentile(np.mean(drawn, axis=0), [edge, 100 - edge])
    return Interval(mean, float(low), float(high))
