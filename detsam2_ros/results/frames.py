# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the engine returns for a frame: its objects, their masks and what changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detsam2_ros.results.masks import PackedMasks


@dataclass(frozen=True)
class Object:
    """One physical thing on one frame.

    id: 1..65535, stable over the stream. class_id, class_name: as the detector or the memory
    bank names it. score: SAM 2's presence probability on this frame, 0..1. box: (x0, y0, x1,
    y1) around the mask in pixels, x1 and y1 exclusive, or None without a mask. visible: the
    mask has pixels. conditioned: this frame's mask came from a prompt, not from memory.
    """

    id: int
    class_id: int
    class_name: str
    score: float
    box: tuple[float, float, float, float] | None
    visible: bool
    conditioned: bool


@dataclass(frozen=True)
class FrameResult:
    """The masks of one frame, as of one revision.

    index counts the frames of the stream from 0; stamp is the one given to `push`,
    nanoseconds. revision is 0 at first publication and +1 with each correction; final says
    that no later pass can reach the frame. packed holds the masks bit-packed, row i belongs to
    objects[i]. labels: uint16 [H, W], object ids, 0 = background; where masks overlap the
    higher logit wins. changed_ids: ids whose mask differs from the revision before (all
    visible ones at revision 0), ids that vanished included.
    """

    stream: str
    index: int
    stamp: int
    revision: int
    final: bool
    objects: tuple[Object, ...]
    packed: PackedMasks
    labels: np.ndarray
    changed_ids: tuple[int, ...]

    @property
    def masks(self) -> np.ndarray:
        """The masks, bool [n, H, W], row i = objects[i]; unpacked anew on each call."""
        return self.packed.unpack()


@dataclass(frozen=True)
class Prompted:
    """What a prompt led to: the object on its frame, and its mask there, bool [H, W]."""

    index: int
    stamp: int
    object: Object
    mask: np.ndarray
