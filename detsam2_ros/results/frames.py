# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is known of a frame: its objects, their masks and what changed."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import numpy as np

from detsam2_ros.results.masks import Mask

FloatBox = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels; x1 and y1 exclusive


class ObjectState(IntEnum):
    """How sure it is that an object is there; the values are those of detsam2_msgs."""

    TENTATIVE = 1  # a detection started it, and later ones have neither confirmed nor refuted it
    CONFIRMED = 2


@dataclass(frozen=True)
class ObjectInfo:
    """One physical thing on one frame, without its pixels: what a message says of it."""

    id: int  # 1..65535, stable over the stream; its pixels in a label image
    class_id: int  # as the detector or the memory bank numbers it
    class_name: str
    score: float  # SAM 2's presence probability on this frame, 0..1
    box: FloatBox | None  # around the mask; None without one
    visible: bool  # the mask has pixels
    conditioned: bool  # this frame's mask came from a prompt, not from memory
    state: ObjectState = ObjectState.CONFIRMED


@dataclass(frozen=True)
class Object:
    """One physical thing on one frame, with its mask; see ObjectInfo."""

    id: int
    class_id: int
    class_name: str
    score: float
    conditioned: bool
    mask: Mask
    state: ObjectState = ObjectState.CONFIRMED

    @property
    def visible(self) -> bool:
        """Whether the mask has pixels."""
        return bool(self.mask)

    @property
    def box(self) -> FloatBox | None:
        """The box around the mask, xyxy in pixels; None without a mask."""
        if self.mask.box is None:
            return None
        x0, y0, x1, y1 = self.mask.box
        return float(x0), float(y0), float(x1), float(y1)


@dataclass(frozen=True)
class FrameResult:
    """The masks of one frame, as of one revision."""

    stream: str
    index: int  # counts the frames of the stream from 0
    stamp: int  # nanoseconds, as given with the image
    revision: int  # 0 at first publication, +1 with each correction
    final: bool  # no later pass can reach the frame
    objects: tuple[Object, ...]
    labels: np.ndarray  # uint16 [H, W], object ids, 0 = background; the higher logit wins
    # Ids whose mask differs from the revision before, vanished ones included; all visible ones
    # at revision 0.
    changed_ids: tuple[int, ...]
    # Ids shown before that are taken back: a detector erred, and they stood for nothing.
    withdrawn_ids: tuple[int, ...] = ()
    tag: Any = field(default=None, repr=False, compare=False)  # as given with the image

    @property
    def masks(self) -> np.ndarray:
        """The masks, bool [n, H, W], row i = objects[i]; unpacked on each call."""
        masks = [thing.mask.pixels() for thing in self.objects]
        return np.stack(masks) if masks else np.zeros((0, *self.labels.shape), bool)

    def confirming(self, ids: Set[int]) -> FrameResult:
        """Return the result with objects confirmed that later frames have shown to be there.

        The result itself where that changes nothing.
        """
        if self.confirmed_ids() >= ids & {thing.id for thing in self.objects}:
            return self
        objects = tuple(
            replace(thing, state=ObjectState.CONFIRMED) if thing.id in ids else thing
            for thing in self.objects
        )
        return replace(self, objects=objects)

    def confirmed_ids(self) -> set[int]:
        """Return the ids of the confirmed objects."""
        return {thing.id for thing in self.objects if thing.state is ObjectState.CONFIRMED}

    def to_supervision(self) -> Any:
        """Return the visible objects as `supervision.Detections`, for its annotators.

        xyxy: float32 [n, 4] pixels. mask: bool [n, H, W]. class_id, tracker_id: int [n].
        confidence: float32 [n]. data['class_name'], data['state']: str [n], the state
        'tentative' or 'confirmed'. Raises ImportError where the package supervision is not
        installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise ImportError(
                'to_supervision needs the package supervision: pip install supervision'
            ) from error
        shown = [thing for thing in self.objects if thing.visible]
        masks = [thing.mask.pixels() for thing in shown]
        return supervision.Detections(
            xyxy=np.array([thing.box for thing in shown], np.float32).reshape(-1, 4),
            mask=np.stack(masks) if masks else np.zeros((0, *self.labels.shape), bool),
            confidence=np.array([thing.score for thing in shown], np.float32),
            class_id=np.array([thing.class_id for thing in shown], int),
            tracker_id=np.array([thing.id for thing in shown], int),
            data={
                'class_name': np.array([thing.class_name for thing in shown], str),
                'state': np.array([thing.state.name.lower() for thing in shown], str),
            },
        )


@dataclass(frozen=True)
class Prompted:
    """What a prompt led to: the object, with its mask, on the frame that was prompted."""

    index: int
    stamp: int  # nanoseconds
    object: Object
    tag: Any = field(default=None, repr=False, compare=False)  # of the frame
