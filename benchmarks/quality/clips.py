# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Clips of rendered scenes through a stream, with boxes of the truth as detections."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from detsam2_ros.engine import Detections, FrameResult, Stream, finals
from detsam2_ros.scene.scene import CLASS_NAMES, SceneFrame

# A box of a ball that is seen this little is none that a detector would find.
MIN_VISIBLE = 0.3


class TruthDetector:
    """Finds the boxes of the truth, some of them missed; asked for detection frames in order."""

    def __init__(self, film: list[SceneFrame], interval: int, missed: float, seed: int):
        self.class_names = CLASS_NAMES
        self._frames = iter(film[::interval])
        self._missed = missed
        self._seed = seed

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """Return the boxes of the next detection frames."""
        return [self._boxes(next(self._frames)) for _ in images]

    def _boxes(self, frame: SceneFrame) -> Detections:
        # Whether a ball is missed on a frame depends on neither K nor mode.
        chance = np.random.default_rng((self._seed, frame.index)).random(len(frame.ids))
        rows = np.flatnonzero((frame.visible_fraction > MIN_VISIBLE) & (chance >= self._missed))
        return Detections(frame.boxes[rows], frame.class_ids[rows], np.full(len(rows), 0.9))


@dataclass
class Played:
    """What a stream found in a clip, by place in the clip: as first published, and in the end."""

    first: dict[int, FrameResult] = field(default_factory=dict)
    final: dict[int, FrameResult] = field(default_factory=dict)
    waits: list[int] = field(default_factory=list)  # frames until revision 0


def played(stream: Stream, film: Sequence[SceneFrame]) -> Played:
    """Show a stream a clip."""
    clip, given = Played(), 0

    def shown() -> Iterator[tuple[np.ndarray, int]]:
        nonlocal given
        for frame in film:
            given += 1
            yield frame.image, frame.index

    def note(result: FrameResult) -> None:
        if result.revision == 0:
            clip.first[result.index] = result
            clip.waits.append(given - 1 - result.index)

    clip.final = {result.index: result for result in finals(stream, shown(), note)}
    return clip
