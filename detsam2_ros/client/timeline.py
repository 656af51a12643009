# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The last frames of one camera with the best masks known, for any order of messages."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from detsam2_ros.client.decode import (
    Correction,
    Record,
    decode_correction,
    decode_labels,
    decode_objects,
)
from detsam2_ros.client.fates import ObjectFates
from detsam2_ros.client.frame import Labels, TimelineFrame
from detsam2_ros.client.mask_order import MaskOrder
from detsam2_ros.client.stamped import StampedFrames
from detsam2_ros.messages.stamps import nanoseconds


@dataclass
class _FrameParts:
    """The parts of a frame that have arrived, and the labels made from them."""

    labels: np.ndarray | None = None  # revision 0
    frame_id: str = ''
    arrival: int = 0  # of the labels
    first: Record | None = None  # revision 0
    correction: Correction | None = None  # the highest revision
    best: Labels | None = None

    @property
    def record(self) -> Record | None:
        return self.correction.record if self.correction is not None else self.first


class MaskTimeline(StampedFrames[TimelineFrame]):
    """The last frames of one camera with the best masks known, ascending in stamp.

    A frame is known once its masks and its objects (or a correction, which has objects too) have
    arrived. length: known frames that are kept; the oldest are dropped. max_propagation: the
    node's parameter M. window_size: in mode online the node's parameter K, since corrections may
    lag by a window there; 0 in mode window. With M, frames more than M + window_size behind the
    newest are final; without M, only those that a message calls final. max_lag: frames by which
    a message may come late, or a topic lag behind another; at least M + K. An index further back
    means that the stream restarted. Several threads may use a timeline.
    """

    def __init__(
        self,
        length: int = 100,
        max_propagation: int | None = None,
        max_lag: int = 50,
        window_size: int = 0,
    ):
        super().__init__(length, max_propagation, window_size)
        if max_lag < 1:
            raise ValueError(f'max_lag must be >= 1, got {max_lag}')
        if window_size < 0:
            raise ValueError(f'window_size must be >= 0, got {window_size}')
        if max_propagation is not None and max_propagation < 1:
            raise ValueError(f'max_propagation must be >= 1 or None, got {max_propagation}')
        self._max_lag = max_lag
        self.late_corrections = 0  # of frames that were no longer kept
        self._known: dict[int, _FrameParts] = {}
        self._pending: dict[int, _FrameParts] = {}  # incomplete frames, in the order of arrival
        self._stream = 0
        self._newest: tuple[int, int] | None = None  # stamp and index, from the topic objects
        self._before: tuple[int, int] | None = None  # the newest of the last stream
        self._masks = MaskOrder()
        self._other_masks: int | None = None  # newest index when masks of another stream arrived
        self._fates = ObjectFates(max_lag)

    def add_masks(self, msg: Any) -> TimelineFrame | None:
        """Take an Image of the topic masks, or a CompressedImage of masks/compressed.

        Like the other two, returns the frame if it is newly known or changed. Raises ValueError,
        and changes nothing, when the message does not follow its definition.
        """
        labels = decode_labels(msg, 'masks')
        stamp = nanoseconds(msg.header.stamp)
        with self._lock:
            newest = self._newest[0] if self._newest is not None else None
            if self._masks.is_of_stream_before(stamp, newest):
                return None
            parts = self._parts(stamp)
            if parts.labels is not None and np.array_equal(labels, parts.labels):
                parts.arrival = self._masks.arrivals
                return None
            if parts.labels is not None or self._is_too_late(parts.record):
                # Masks of two streams: the other parts of the frame belong to the older stream.
                if parts.record is not None and self._newest is not None:
                    self._other_masks = self._newest[1]
                self._forget(stamp)
                parts = self._parts(stamp)
            parts.arrival = self._masks.arrivals
            parts.labels, parts.frame_id = labels, msg.header.frame_id
            return self._changed(stamp)

    def add_objects(self, msg: Any) -> TimelineFrame | None:
        """Take a detsam2_msgs/ObjectArray of the topic objects; see add_masks."""
        record = decode_objects(msg, 'objects')
        if record.revision != 0:
            raise ValueError(
                f'objects of frame {record.index}: revision is {record.revision}, not 0; '
                f'objects of later revisions come within corrections'
            )
        stamp = nanoseconds(msg.header.stamp)
        with self._lock:
            if self._starts_over(stamp, record):
                self._start_over(stamp)
            if self._newest is None or stamp > self._newest[0]:
                self._newest = (stamp, record.index)
            if self._is_forgotten(stamp):
                return None
            parts = self._parts(stamp)
            if parts.first is not None:
                return None
            parts.first = record
            self._note(record)
            if parts.correction is not None and parts.correction.record.index != record.index:
                parts.correction = None  # of the stream before
            return self._changed(stamp) if parts.correction is None else None

    def add_correction(self, msg: Any) -> TimelineFrame | None:
        """Take a MaskCorrection, or CompressedMaskCorrection, of detsam2_msgs; see add_masks.

        The correction waits for masks that have not arrived yet. It is ignored when a newer one
        is known, when its frame is no longer kept, or when its stream has ended.
        """
        correction = decode_correction(msg)
        record = correction.record
        stamp = nanoseconds(msg.header.stamp)
        with self._lock:
            if self._correction_is_of_stream_before(stamp, record.index):
                return None
            parts = self._find(stamp)
            if (parts is None or parts.labels is None) and self._stamps:
                parts = self._known[self._stamps[-1]]  # images of a stream have one size
            if parts is not None and parts.labels is not None:
                misfit = correction.misfit(parts.labels.shape)
                if misfit:
                    raise ValueError(misfit)
            if stamp not in self._known and self._is_too_late(record):
                self.late_corrections += 1
                return None
            self._note(record, correction.withdrawn_ids)
            if self._is_forgotten(stamp):
                self.late_corrections += 1
                return None
            parts = self._parts(stamp)
            held = parts.correction.record if parts.correction is not None else None
            if held and held.index == record.index and held.revision >= record.revision:
                return None
            parts.correction = correction
            return self._changed(stamp)

    def _frame(self, stamp: int) -> TimelineFrame:
        parts = self._known[stamp]
        record = parts.record
        assert record is not None and parts.best is not None
        final = record.final
        if self._reach is not None and self._newest is not None:
            final = final or self._newest[1] - record.index > self._reach
        shown = record.objects if parts.first is None else (*parts.first.objects, *record.objects)
        withdrawn = self._fates.withdrawn(thing.id for thing in shown)
        return TimelineFrame(
            stamp=stamp,
            frame_id=parts.frame_id,
            stream=self._stream,
            index=record.index,
            revision=record.revision,
            final=final,
            objects=self._fates.of(record.objects),
            withdrawn_ids=withdrawn,
            _labels=parts.best,
        )

    def _note(self, record: Record, withdrawn: Collection[int] = ()) -> None:
        """Note what a message says of objects, and take withdrawn ones out of every frame."""
        newest = record.index if self._newest is None else self._newest[1]
        self._fates.note(record.index, record.objects, withdrawn, newest)
        for parts in self._known.values() if withdrawn else ():
            if parts.record is not None and any(o.id in withdrawn for o in parts.record.objects):
                self._make_best(parts)

    def _find(self, stamp: int) -> _FrameParts | None:
        return self._known.get(stamp) or self._pending.get(stamp)

    def _all_parts(self) -> Iterator[tuple[int, _FrameParts]]:
        return chain(self._known.items(), self._pending.items())

    def _parts(self, stamp: int) -> _FrameParts:
        """Return the parts of a frame, new ones if none has arrived."""
        parts = self._find(stamp)
        if parts is None:
            parts = self._pending[stamp] = _FrameParts()
            # The other messages of the oldest ones were lost.
            while len(self._pending) > max(self._length, self._max_lag):
                del self._pending[next(iter(self._pending))]
        return parts

    def _is_forgotten(self, stamp: int) -> bool:
        return len(self._stamps) == self._length and stamp < self._stamps[0]

    def _forget(self, stamp: int) -> None:
        self._pending.pop(stamp, None)
        if self._known.pop(stamp, None) is not None:
            del self._stamps[bisect_left(self._stamps, stamp)]

    def _changed(self, stamp: int) -> TimelineFrame | None:
        """Return a frame that got a new part, if it is known now; drops frames over the length."""
        parts = self._parts(stamp)
        held = parts.correction
        if parts.labels is not None and held is not None and held.misfit(parts.labels.shape):
            parts.correction = held = None  # it arrived first, for images of another size
        if parts.labels is None or parts.record is None:
            return None
        self._make_best(parts)
        if self._pending.pop(stamp, None) is not None:
            self._known[stamp] = parts
            insort(self._stamps, stamp)
            if len(self._stamps) > self._length:
                self._forget(self._stamps[0])
        return self._frame(stamp) if stamp in self._known else None

    def _make_best(self, parts: _FrameParts) -> None:
        """Make the labels of a frame that is known, without the objects that are withdrawn."""
        assert parts.labels is not None and parts.record is not None
        gone = self._fates.withdrawn(thing.id for thing in parts.record.objects)
        held = parts.correction
        if held is None:
            parts.best = Labels(parts.labels, gone=gone)
        else:
            parts.best = Labels(parts.labels, held.x, held.y, held.patch, gone)

    # Streams. A message does not name its stream. But within a stream, stamps and indices rise
    # together, and the messages of one topic stay in order. Objects decide when a stream restarts.
    # Masks and corrections may then be ahead of the objects, or still be of the last stream.

    def _starts_over(self, stamp: int, record: Record) -> bool:
        if self._newest is None:
            return False
        if stamp > self._newest[0]:
            return record.index <= self._newest[1]
        parts = self._find(stamp)
        if parts is not None and parts.first is not None:
            return parts.first != record or self._is_too_late(record)
        masks_did = self._other_masks
        if masks_did is not None and self._newest[1] - masks_did <= self._max_lag:
            return True
        return self._is_too_late(record) or not self._fits(stamp, record.index)

    def _is_too_late(self, record: Record | None) -> bool:
        if record is None or self._newest is None:
            return False
        return self._newest[1] - record.index > self._max_lag

    def _fits(self, stamp: int, index: int) -> bool:
        """Return whether a frame may be of the same stream as the others."""
        for other, first in self._neighbours(stamp):
            later, further = stamp - other, index - first.index
            if (later > 0) != (further > 0) or (later < 0) != (further < 0):
                return False
        return True

    def _neighbours(self, stamp: int) -> Iterator[tuple[int, Record]]:
        """Yield frames with objects: all incomplete ones, and the known ones next to a stamp."""
        place = bisect_left(self._stamps, stamp)
        for side in (reversed(range(place)), range(place, len(self._stamps))):
            for i in side:
                first = self._known[self._stamps[i]].first
                if first is not None:
                    yield self._stamps[i], first
                    break
        for other, parts in self._pending.items():
            if parts.first is not None:
                yield other, parts.first

    def _start_over(self, stamp: int) -> None:
        """Forget all but the labels of the new stream that came before its first objects."""
        assert self._newest is not None
        before = self._newest[0]
        if stamp <= before:
            since = self._masks.goes_back(before)
            ahead = {
                s: e for s, e in self._all_parts() if since is not None and e.arrival >= since}
        else:
            ahead = {s: e for s, e in self._all_parts() if s > before}
        self._pending = {
            s: _FrameParts(e.labels, e.frame_id, e.arrival)
            for s, e in ahead.items()
            if e.labels is not None
        }
        self._known, self._stamps = {}, []
        self._before, self._newest, self._other_masks = self._newest, None, None
        self._fates = ObjectFates(self._max_lag)
        self._stream += 1

    def _correction_is_of_stream_before(self, stamp: int, index: int) -> bool:
        is_one_of_its_last = False
        if self._before is not None and self._newest is not None:
            ahead = self._newest[0] < stamp <= self._before[0]
            is_one_of_its_last = ahead and self._before[1] - index <= self._max_lag
        return is_one_of_its_last or not self._fits(stamp, index)
