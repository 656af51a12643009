# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A frame for subscribers: its labels and its objects, as of one revision."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np

from detsam2_ros.results.frames import ObjectInfo, ObjectState


class Labels:
    """The label image of one revision, made on the first call of `get`.

    base: revision 0, uint16 [H, W], read-only. patch: uint16 [h, w], which replaces the pixels of
    base from (x, y) on, or None. gone: ids whose pixels become background after that.
    """

    def __init__(
        self,
        base: np.ndarray,
        x: int = 0,
        y: int = 0,
        patch: np.ndarray | None = None,
        gone: Collection[int] = (),
    ):
        self._base, self._patch = base, patch
        self._x, self._y = x, y
        self._gone = tuple(gone)
        self._made: np.ndarray | None = None

    def without(self, ids: Collection[int]) -> Labels:
        """Return the same without some objects; self if there are none."""
        if not ids:
            return self
        return Labels(self._base, self._x, self._y, self._patch, (*self._gone, *ids))

    def get(self) -> np.ndarray:
        """Return the label image, uint16 [H, W], read-only."""
        if self._patch is None and not self._gone:
            return self._base
        labels = self._made
        if labels is None:  # two threads at once make equal images
            labels, patch = self._base.copy(), self._patch
            if patch is not None:
                height, width = patch.shape
                labels[self._y : self._y + height, self._x : self._x + width] = patch
            for id_ in self._gone:
                labels[labels == id_] = 0
            labels.flags.writeable = False
            self._made = labels
        return labels


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
    objects: tuple[ObjectInfo, ...]  # with the state of today, also on a frame of before
    # Ids that an earlier revision of the frame showed and that stood for nothing. None of them is
    # among the objects or in the labels.
    withdrawn_ids: tuple[int, ...]
    _labels: Labels = field(repr=False, compare=False)

    @property
    def labels(self) -> np.ndarray:
        """The label image, uint16 [H, W], read-only: object ids, 0 = background."""
        return self._labels.get()

    def confirmed(self) -> TimelineFrame:
        """Return the frame without its tentative objects, whose pixels are background."""
        sure = tuple(thing for thing in self.objects if thing.state is ObjectState.CONFIRMED)
        kept = {thing.id for thing in sure}
        tentative = [thing.id for thing in self.objects if thing.id not in kept]
        return replace(self, objects=sure, _labels=self._labels.without(tentative))

    def mask(self, object_id: int) -> np.ndarray:
        """Return the mask of an object, or of the background (id 0), bool [H, W]."""
        return self.labels == object_id
