# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What became of each depth image and of each frame: the counts of one camera."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum


class Unused(Enum):
    """Why a depth image served no frame; the values are keys of /diagnostics."""

    SUPERSEDED = 'superseded'  # the frames near it had a nearer one
    UNMATCHED = 'unmatched'  # no frame was near enough to it
    LATE = 'late'  # its frame is out of reach
    CROWDED_OUT = 'crowded_out'  # too many waited for their masks
    UNCALIBRATED = 'no_camera_info'  # no calibration fitted its frame while that was in reach
    RESTARTED = 'restarted'  # of a run that has ended: the stamps of the masks went back
    REPEATED_STAMP = 'repeated_stamp'  # one with this stamp is held
    UNSUPPORTED = 'unsupported_encoding'
    MALFORMED = 'malformed_image'
    OTHER_CAMERA = 'other_camera'  # another frame_id, or another aspect
    INTERNAL = 'internal_error'


@dataclass
class Books:
    """Counts; received = used + waiting + unused holds at any time."""

    received: int = 0  # depth images
    used: int = 0  # by a frame at least
    waiting: int = 0  # for a frame that they may serve
    unused: Counter[Unused] = field(default_factory=Counter)
    frames: int = 0  # that were published
    corrections: int = 0  # that were published
    without_depth: int = 0  # of the frames, those first published without any depth
    without_camera: int = 0  # of those with depth, those first published without a calibration
    pushed_out: int = 0  # of the frames, those that left the reach while they waited for depth
    out_of_reach: int = 0  # corrections of frames whose depth is gone
    objects: int = 0  # visible ones of the published frames
    valid_objects: int = 0  # of these, those with a position
    seconds: float = 0.0  # of measuring

    def copy(self) -> Books:
        """Return the counts as they are now."""
        return Books(**{**vars(self), 'unused': Counter(self.unused)})
