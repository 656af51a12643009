# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A frame for subscribers: its labels and its objects, as of one revision."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from detsam2_ros.results.frames import ObjectInfo, ObjectState


class Labels:
    """The label image of one revision, made on the first call of `get`.

    base: revision 0, uint16 [H, W], read-only. patch: uint16 [h, w], which replaces the pixels of
    base from (x, y) on, or None.
    """

    def __init__(self, base: np.ndarray, x: int = 0, y: int = 0, patch: np.ndarray | None = None):
        self._base, self._patch = base, patch
        self._x, self._y = x, y

    def get(self) -> np.ndarray:
        """Return the label image, uint16 [H, W], read-only."""
        patch = self._patch
        if patch is not None:  # two threads at once make equal images
            labels = self._base.copy()
            labels[self._y : self._y + patch.shape[0], self._x : self._x + patch.shape[1]] = patch
            labels.flags.writeable = False
            self._base, self._patch = labels, None
        return self._base


@dataclass(frozen=True)
class TimelineFrame:
    """A frame as known when it was asked for; later corrections do not change this value."""

    stamp: int  # nanoseconds, of the image's header
    frame_id: str  # of the image's header
    # How often the stream had restarted before. Ids of different streams are unrelated.
    stream: int
    index: int  # position in the stream
    revision: int  # 0, or that of the correction that is applied
    final: bool  # the node makes no further revision of this frame
    objects: tuple[ObjectInfo, ...]
    _labels: Labels = field(repr=False, compare=False)

    @property
    def labels(self) -> np.ndarray:
        """The label image, uint16 [H, W], read-only: object ids, 0 = background."""
        return self._labels.get()

    def confirmed(self) -> TimelineFrame:
        """Return the frame without tentative objects, for those who rather wait than err."""
        sure = tuple(thing for thing in self.objects if thing.state is ObjectState.CONFIRMED)
        labels = np.where(np.isin(self.labels, [thing.id for thing in sure]), self.labels, 0)
        labels = labels.astype(np.uint16)
        labels.flags.writeable = False
        return replace(self, objects=sure, _labels=Labels(labels))

    def mask(self, object_id: int) -> np.ndarray:
        """Return the mask of an object, or of the background (id 0), bool [H, W]."""
        return self.labels == object_id
