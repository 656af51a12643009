# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a subscriber knows of a frame: its labels and its objects, as of one revision."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from detsam2_ros.results.frames import ObjectInfo


class Labels:
    """The label image of one revision, made when it is first asked for.

    base: revision 0, uint16 [H, W], read-only, never changed. patch: uint16 [h, w] to put in
    place of its pixels from (x, y) on, or None.
    """

    def __init__(self, base: np.ndarray, x: int = 0, y: int = 0, patch: np.ndarray | None = None):
        self._base, self._patch = base, patch
        self._x, self._y = x, y

    def get(self) -> np.ndarray:
        """Return it, uint16 [H, W], read-only."""
        patch = self._patch
        if patch is not None:  # two threads at once do the same work, with the same outcome
            labels = self._base.copy()
            labels[self._y : self._y + patch.shape[0], self._x : self._x + patch.shape[1]] = patch
            labels.flags.writeable = False
            self._base, self._patch = labels, None
        return self._base


@dataclass(frozen=True)
class TimelineFrame:
    """A frame as it was known at the time of asking; later corrections do not change it.

    stamp: nanoseconds, from the image's header, like frame_id. stream: how often the stream had
    started over before; object ids of different streams have nothing in common. index: position
    in the stream. revision: 0, or that of the correction that is applied. final: the node makes
    no further revision of this frame.
    """

    stamp: int
    frame_id: str
    stream: int
    index: int
    revision: int
    final: bool
    objects: tuple[ObjectInfo, ...]
    _labels: Labels = field(repr=False, compare=False)

    @property
    def labels(self) -> np.ndarray:
        """The label image, uint16 [H, W], read-only: object ids, 0 = background."""
        return self._labels.get()

    def mask(self, object_id: int) -> np.ndarray:
        """Return the pixels that show an object (0: none), bool [H, W]; all False if none do."""
        return self.labels == object_id
