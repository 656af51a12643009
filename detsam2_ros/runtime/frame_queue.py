# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames of one camera that wait for inference; the oldest is dropped where too many wait."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from detsam2_ros.runtime.accounting import FrameAccounts

# Why frames are dropped here; `CameraStream` and `ImageRefused` have other reasons.
QUEUE_FULL = 'queue_full'
INACTIVE = 'inactive'


@dataclass
class QueuedFrame:
    """A frame on its way; it travels through the engine as the tag of its results."""

    image: np.ndarray | None  # uint8 [H, W, 3] RGB
    stamp: int  # nanoseconds
    received: float  # seconds (monotonic) of its arrival
    header: Any  # what its masks are published with
    keep_image: bool = False  # keep the image until the first masks


class FrameQueue:
    """At most `size` frames in the order of their arrival; its user guards it by a lock.

    freshest: once a frame had to be dropped, the newest one is taken and all before it are
    dropped, until a turn finds a single frame: its camera does not send too many any more.
    """

    def __init__(self, size: int, accounts: FrameAccounts, freshest: bool = False):
        # Since when the camera waits for a turn, seconds (monotonic): its first frame came then,
        # or its last turn began. A frame that is dropped does not count: the frames of a fast
        # camera are always fresh, and those of a slow one would always go first.
        self.waiting_since = 0.0
        # With freshest: the last turn dropped frames, and no turn was given away since.
        self.owes_turn = False
        self._frames: deque[QueuedFrame] = deque()
        self._size = size
        self._accounts = accounts
        self._freshest = freshest
        self._overflows = False  # with freshest

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: QueuedFrame) -> bool:
        """Append a frame; returns whether the oldest one had to be dropped for it."""
        if not self._frames:
            self.waiting_since = frame.received
        self._frames.append(frame)
        full = len(self._frames) > self._size
        if full:
            self._frames.popleft()
            self._accounts.drop(QUEUE_FULL)
            self._overflows = self._freshest
        return full

    def pop(self) -> QueuedFrame:
        """Take out the frame that is next: a turn of this camera begins."""
        self.waiting_since = time.monotonic()
        self._overflows &= len(self._frames) > 1
        self.owes_turn = self._overflows
        while self._overflows and len(self._frames) > 1:
            self._frames.popleft()
            self._accounts.drop(QUEUE_FULL)
        return self._frames.popleft()

    def give_turn(self) -> None:
        """Let something else be done in a turn of this camera."""
        self.waiting_since = time.monotonic()
        self.owes_turn = False

    def drop_all(self) -> None:
        """Drop what waits, because nobody will look at it."""
        self._accounts.drop(INACTIVE, len(self._frames))
        self._frames.clear()
