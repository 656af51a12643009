# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Joins images of a camera with frames of a timeline for a screen; no ROS, no rerun in here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.results.frames import ObjectInfo, ObjectState
from detsam2_ros.results.masks import mask_box


@dataclass(frozen=True)
class Picture:
    """An image that arrived."""

    jpeg: bytes
    width: int
    height: int
    stamp: int  # nanoseconds
    received: int  # nanoseconds, time of arrival


@dataclass(frozen=True)
class Change:
    """The difference between two revisions of a frame."""

    box: tuple[int, int, int, int]  # around all changed pixels, xyxy, exclusive
    ids: tuple[int, ...]  # objects with changed pixels, ascending
    withdrawn: tuple[int, ...] = ()  # those of them that stood for nothing


class Screen(Protocol):
    """Shows images and masks; times are nanoseconds, `now` is the time of arrival."""

    def picture(self, picture: Picture) -> None:
        """A new image."""
        ...

    def masks(self, frame: TimelineFrame, picture: Picture | None, now: int) -> None:
        """First masks of a frame; picture: its image if it is there."""
        ...

    def correction(
        self, frame: TimelineFrame, picture: Picture | None, change: Change | None, now: int
    ) -> None:
        """Better masks of a past frame; picture: its image if it is still there."""
        ...

    def latency(self, what: str, milliseconds: float, now: int) -> None:
        """How long something took after its image had arrived."""
        ...


class Follower:
    """Joins images with frames of a timeline and shows them; any thread may call it.

    length: past images that are kept for corrections; at least M + K of the node.
    """

    def __init__(
        self,
        screen: Screen,
        length: int = 200,
        quality: int = 80,
        clock: Callable[[], int] = time.time_ns,
    ):
        self._screen = screen
        self._length = length
        self._quality = quality
        self._clock = clock
        self._lock = threading.Lock()
        self._pictures: dict[int, Picture] = {}
        self._shown: dict[int, TimelineFrame] = {}
        self._stream = 0

    def add_image(self, image: np.ndarray, stamp: int) -> None:
        """Take an image, uint8 [H, W, 3] RGB, when it arrives."""
        now = self._clock()
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1].tobytes()
        picture = Picture(data, image.shape[1], image.shape[0], stamp, now)
        with self._lock:
            self._pictures[stamp] = picture
            while len(self._pictures) > self._length:
                del self._pictures[next(iter(self._pictures))]
            self._screen.picture(picture)

    def add_frame(self, frame: TimelineFrame) -> None:
        """Take a frame that is newly known or changed, the on_change of `client.subscribe`."""
        now = self._clock()
        with self._lock:
            if frame.stream != self._stream:
                self._stream, self._shown = frame.stream, {}
            before = self._shown.get(frame.stamp)
            self._shown[frame.stamp] = frame
            while len(self._shown) > self._length:
                del self._shown[next(iter(self._shown))]
            picture = self._pictures.get(frame.stamp)
            if frame.revision == 0 or before is None:
                self._screen.masks(frame, picture, now)
            if frame.revision > 0:
                change = None if before is None else _change(before, frame)
                self._screen.correction(frame, picture, change, now)
            if picture is not None:
                what = 'corrections' if frame.revision else 'masks'
                self._screen.latency(what, (now - picture.received) / 1e6, now)


def tag(thing: ObjectInfo) -> str:
    """Return the text beside an object; one that is tentative has a question mark."""
    mark = '?' if thing.state is ObjectState.TENTATIVE else ''
    return f'{thing.id} {thing.class_name}'.strip() + mark


def _change(before: TimelineFrame, after: TimelineFrame) -> Change | None:
    """Compare the labels of two revisions; None when no pixel differs."""
    old, new = before.labels, after.labels
    if old.shape != new.shape:
        return None
    differs = old != new
    box = mask_box(differs)
    if box is None:
        return None
    ids = np.union1d(old[differs], new[differs])
    found = tuple(int(key) for key in ids if key)
    return Change(box, found, tuple(key for key in found if key in after.withdrawn_ids))
