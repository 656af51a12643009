# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The last frames of one camera in space, with the best positions known, for any order."""

from __future__ import annotations

from bisect import insort
from dataclasses import replace
from typing import Any

from detsam2_ros.client.fates import ObjectFates
from detsam2_ros.client.space_decode import decode_space
from detsam2_ros.client.stamped import StampedFrames
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.results.space import Object3D, SpaceFrame

# New frames of a smaller stream, one after the other, from which on it is no straggler: the node
# was restarted after its clock, which numbers the streams, was set back.
_RESTART_FRAMES = 10


class SpaceTimeline(StampedFrames[SpaceFrame]):
    """The last frames of objects in space, ascending in stamp; several threads may use it.

    length: frames that are kept; the oldest are dropped. max_propagation, window_size: as in
    MaskTimeline; with them, frames more than M + K behind the newest are final. What a message
    says of a state or a withdrawal holds for every frame that is kept.
    """

    def __init__(
        self, length: int = 100, max_propagation: int | None = None, window_size: int = 0
    ):
        super().__init__(length, max_propagation, window_size)
        self._known: dict[int, SpaceFrame] = {}
        self._stream = -1
        self._stragglers = 0  # new frames of a smaller stream since the last one of this
        self._newest = 0  # index
        self._fates = ObjectFates(length)

    def add(self, msg: Any) -> SpaceFrame | None:
        """Take a message of objects_3d or of corrections_3d, in any order.

        Returns the frame if it is new or better known now. Messages of a stream that has ended, of
        frames no longer kept, and of no higher revision than known, are ignored. Raises
        ValueError, and changes nothing, when the message does not follow its definition.
        """
        frame = decode_space(msg)
        with self._lock:
            if frame.stream < self._stream:
                self._stragglers += frame.revision == 0
                if self._stragglers < _RESTART_FRAMES:
                    return None
            self._stragglers = 0
            if frame.stream != self._stream:
                self._known, self._stamps, self._newest = {}, [], 0
                self._stream, self._fates = frame.stream, ObjectFates(self._length)
            self._newest = max(self._newest, frame.index)
            self._fates.note(frame.index, frame.objects, frame.withdrawn_ids, self._newest)
            held = self._known.get(frame.stamp)
            if held is not None and held.revision >= frame.revision:
                return None
            if held is None:
                if len(self._stamps) == self._length and frame.stamp < self._stamps[0]:
                    return None
                insort(self._stamps, frame.stamp)
            self._known[frame.stamp] = frame
            if len(self._stamps) > self._length:
                del self._known[self._stamps.pop(0)]
            return self._frame(frame.stamp)

    def track(self, object_id: int, confirmed: bool = False) -> list[tuple[int, Object3D]]:
        """Return stamp and object wherever an id has a position, ascending in stamp.

        confirmed: nothing while the object is tentative.
        """
        return [
            (frame.stamp, thing)
            for frame in self.frames()
            for thing in frame.objects
            if thing.id == object_id
            and thing.valid
            and (thing.state is ObjectState.CONFIRMED or not confirmed)
        ]

    def _frame(self, stamp: int) -> SpaceFrame:
        """Return a frame as known now: without objects withdrawn since, with today's states."""
        frame = self._known[stamp]
        final = frame.final
        if self._reach is not None:
            final = final or self._newest - frame.index > self._reach
        gone = self._fates.withdrawn(thing.id for thing in frame.objects)
        return replace(
            frame,
            final=final,
            objects=self._fates.of(frame.objects),
            withdrawn_ids=tuple(sorted({*frame.withdrawn_ids, *gone})),
        )
