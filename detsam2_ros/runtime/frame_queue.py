# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames of one camera that wait for inference; the oldest is dropped where too many wait."""

from __future__ import annotations

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
    """At most `size` frames in the order of their arrival; its user guards it by a lock."""

    def __init__(self, size: int, accounts: FrameAccounts):
        self._frames: deque[QueuedFrame] = deque()
        self._size = size
        self._accounts = accounts

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def oldest(self) -> float:
        """When the first frame arrived, seconds (monotonic)."""
        return self._frames[0].received

    def put(self, frame: QueuedFrame) -> bool:
        """Append a frame; returns whether the oldest one had to be dropped for it."""
        self._frames.append(frame)
        full = len(self._frames) > self._size
        if full:
            self._frames.popleft()
            self._accounts.drop(QUEUE_FULL)
        return full

    def pop(self) -> QueuedFrame:
        """Take out the first frame."""
        return self._frames.popleft()

    def drop_all(self) -> None:
        """Drop what waits, because nobody will look at it."""
        self._accounts.drop(INACTIVE, len(self._frames))
        self._frames.clear()
