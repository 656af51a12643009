# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The depth images of one camera, from when they come until no frame can use them any more."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from detsam2_ros.space.books import Books, Unused
from detsam2_ros.space.depth import DepthImage

# Nanoseconds. An image with a stamp farther ahead is of another clock: frames do not hurry for it.
_FAR = 10 * 10**9


@dataclass
class KeptDepth:
    """A depth image, and what became of it."""

    image: DepthImage
    used: bool = False
    unused: Unused | None = None  # as counted; None while it waits
    uncalibrated: bool = False  # it served a frame, but no calibration did


class KeptDepths:
    """Depth images by stamp; each of them is counted in the books.

    waiting: images that wait for their frame at most. max_difference: nanoseconds from the stamp
    of a frame to that of an image that may serve it.
    """

    def __init__(self, books: Books, waiting: int, max_difference: int):
        self._books, self._waiting, self._max_difference = books, waiting, max_difference
        self._kept: dict[int, KeptDepth] = {}  # by stamp, in the order of arrival
        # Those since time last went back: if masks restart, they are of the new run.
        self._ahead: dict[int, KeptDepth] = {}
        self._newest: int | None = None  # stamp, of the last one that came

    def __contains__(self, stamp: int) -> bool:
        return stamp in self._kept

    @property
    def held_bytes(self) -> int:
        """How much memory the images take."""
        held = {id(d): d.image for d in (*self._kept.values(), *self._ahead.values())}
        return sum(image.held_bytes for image in held.values())

    def add(self, image: DepthImage, is_late: bool) -> bool:
        """Take an image; returns whether it is kept. is_late: no frame in reach may use it."""
        depth, stamp = KeptDepth(image), image.stamp
        self._books.waiting += 1
        self._note_ahead(depth)
        self._newest = stamp
        if stamp in self._kept:
            self._discard(depth, Unused.REPEATED_STAMP)
        elif is_late:
            self._discard(depth, Unused.LATE)
        else:
            self._kept[stamp] = depth
            return True
        return False

    def use(self, stamp: int) -> DepthImage:
        """Return the image with a stamp for a frame that is measured with it."""
        depth = self._kept[stamp]
        if not depth.used:
            depth.used = True
            self._books.used += 1
            self._books.waiting -= 1
        return depth.image

    def note_uncalibrated(self, stamp: int) -> None:
        """Note that a frame was to be measured with an image, but has no calibration."""
        self._kept[stamp].uncalibrated = True

    def is_overtaken(self, stamp: int) -> bool:
        """Return whether an image came that is newer than a stamp, by the same clock."""
        return any(stamp < other <= stamp + _FAR for other in self._kept)

    def nearest(self, stamp: int, fits: Callable[[DepthImage], bool]) -> int | None:
        """Return the stamp of the nearest image that may serve a frame with a stamp, or None."""
        near = [
            other
            for other, depth in self._kept.items()
            if abs(other - stamp) <= self._max_difference and fits(depth.image)
        ]
        return min(near, key=lambda other: abs(other - stamp), default=None)

    # ---- what goes -----------------------------------------------------------------------------

    def refuse_misfits(self, misfit: Callable[[DepthImage], str | None]) -> str:
        """Refuse unused images that do not fit the first masks; returns why, '' of none."""
        refusal = ''
        for stamp, depth in list(self._kept.items()):
            if not depth.used and (why := misfit(depth.image)):
                refusal = why
                self._discard(depth, Unused.OTHER_CAMERA)
                del self._kept[stamp]
                self._ahead.pop(stamp, None)
        return refusal

    def restart(self, stamp: int) -> None:
        """Drop the images of a run that has ended: time went back to a stamp."""
        ahead, self._ahead = self._ahead, {}
        if ahead and next(iter(ahead)) > stamp + self._max_difference:
            ahead = {}  # from before: the first depth of the new run is about as old as its frame
        for depth in self._kept.values():
            if ahead.get(depth.image.stamp) is not depth:
                self._discard(depth, Unused.RESTARTED)
        for depth in ahead.values():
            if depth.unused is not None:
                self._books.unused[depth.unused] -= 1
                self._books.waiting += 1
                depth.unused = None
        self._kept, self._newest = ahead, next(reversed(ahead), None)

    def drop_idle(
        self, serving: Collection[int | None], frames: Collection[int], decided: int | None,
        pending: bool,
    ) -> None:  # fmt: skip
        """Drop images that no frame in reach uses, and none to come can use.

        serving: stamps of the images that frames in reach use. frames: stamps of these frames.
        decided: stamp of the newest published frame. pending: whether a frame waits for its image.
        """
        idle = [stamp for stamp in self._kept if stamp not in serving]
        for number, stamp in enumerate(idle, 1):
            depth = self._kept[stamp]
            passed = decided is not None and stamp + self._max_difference < decided
            too_many = len(idle) - number >= self._waiting
            if (passed and not pending) or (depth.used and passed):
                self._drop(depth, frames)
            elif too_many:
                self._discard(depth, Unused.CROWDED_OUT)
            else:
                continue
            del self._kept[stamp]

    def end(self, frames: Collection[int]) -> None:
        """Drop all images; frames: stamps of the frames in reach."""
        for depth in self._kept.values():
            self._drop(depth, frames)
        self._kept, self._ahead, self._newest = {}, {}, None

    def _drop(self, depth: KeptDepth, frames: Collection[int]) -> None:
        if depth.uncalibrated:
            self._discard(depth, Unused.UNCALIBRATED)
            return
        near = any(abs(depth.image.stamp - other) <= self._max_difference for other in frames)
        self._discard(depth, Unused.SUPERSEDED if near else Unused.UNMATCHED)

    def _discard(self, depth: KeptDepth, reason: Unused) -> None:
        if not depth.used and depth.unused is None:
            depth.unused = reason
            self._books.waiting -= 1
            self._books.unused[reason] += 1

    def _note_ahead(self, depth: KeptDepth) -> None:
        """Note an image that may be of a new run, whose masks have not come yet."""
        stamp, newest = depth.image.stamp, self._newest
        if newest is not None and stamp < newest:
            self._ahead = {stamp: depth}
        elif self._ahead and stamp != newest:
            self._ahead[stamp] = depth
            if len(self._ahead) > self._waiting:
                self._ahead = {}  # one image came out of order, no more
