# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where an object is on one frame, in metres."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from detsam2_ros.results.frames import ObjectState

Point = tuple[float, float, float]  # x, y, z in the camera's optical frame, metres


class Reason(IntEnum):
    """Why an object has no position; the values are those of detsam2_msgs/Object3D."""

    VALID = 0  # it has one
    NOT_VISIBLE = 1  # no mask on this frame
    NO_DEPTH_IMAGE = 2  # none with this stamp, or near enough, came in time
    NO_CAMERA_INFO = 3  # none that can be used came
    TOO_LITTLE_DEPTH = 4  # too few pixels, too small a share, or the rim alone, have depth
    NO_SURFACE = 5  # the depth inside the mask is scattered, and agrees on no surface


@dataclass(frozen=True)
class Position:
    """The measure of an object's visible surface; zeros where it is not valid."""

    reason: Reason
    centroid: Point = (0.0, 0.0, 0.0)  # mean of the surface's points
    box_min: Point = (0.0, 0.0, 0.0)  # axis-aligned box around them
    box_max: Point = (0.0, 0.0, 0.0)
    spread: Point = (0.0, 0.0, 0.0)  # standard deviation along each axis
    points: int = 0  # that the measure is made of
    depth_share: float = 0.0  # of the pixels of the eroded mask, those with depth, 0..1

    @property
    def valid(self) -> bool:
        """Whether there is a position."""
        return self.reason is Reason.VALID


@dataclass(frozen=True)
class Object3D:
    """One physical thing on one frame, and where it is."""

    id: int  # 1..65535, as in the masks
    class_id: int
    class_name: str
    score: float  # as of the mask, 0..1
    state: ObjectState
    position: Position

    @property
    def valid(self) -> bool:
        """Whether it has a position."""
        return self.position.valid


@dataclass(frozen=True)
class SpaceFrame:
    """The objects of one frame in space, as of one revision."""

    stamp: int  # nanoseconds, of the image
    frame_id: str  # of the image
    stream: int  # greater after each restart; ids of different streams are unrelated
    index: int  # position in the stream, as of the masks
    revision: int  # 0 as first published, +1 with each correction of the positions
    mask_revision: int  # of the masks that it is made of
    final: bool  # the masks will not be revised any more
    depth_stamp: int | None  # nanoseconds, of the depth image; None without one
    objects: tuple[Object3D, ...]
    withdrawn_ids: tuple[int, ...] = ()  # of an earlier revision, which stood for nothing
