# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Holds frames until no correction can reach them, then hands them out in order."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detsam2_ros.results.frames import FrameResult

# Below this IoU of its first and last mask an object counts as corrected in pictures and reports.
# Corrections of a few edge pixels are not worth showing.
NOTABLE_IOU = 0.9


@dataclass(frozen=True)
class Settled:
    """A frame that no pass can correct any more, with its first and its last masks."""

    index: int
    stamp: int  # nanoseconds
    image: np.ndarray  # uint8 [H, W, 3] RGB
    first: FrameResult  # the lowest revision
    last: FrameResult  # the highest revision, with the states as known now; maybe `first` itself
    records: tuple[dict[str, Any], ...]  # one for each revision, ready for json
    # Ids whose last mask differs notably from the first, vanished objects included.
    corrected: tuple[int, ...]
    withdrawn: tuple[int, ...] = ()  # ids that the frame showed and that stood for nothing


@dataclass
class _Waiting:
    image: np.ndarray
    stamp: int
    first: FrameResult | None = None
    last: FrameResult | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    withdrawn: set[int] = field(default_factory=set)


class Timeline:
    """Holds the frames of a stream that can still be corrected, at most M of them.

    `Stream.horizon` is the oldest frame that the next pass can reach; older frames are handed out.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._newest = -1
        self._confirmed: set[int] = set()  # ids

    def __len__(self) -> int:
        return len(self._waiting)

    def add_frame(self, index: int, image: np.ndarray, stamp: int) -> None:
        """Take a frame, uint8 [H, W, 3] RGB, before its results come."""
        self._waiting[index] = _Waiting(image, stamp)

    def add_results(self, results: Sequence[FrameResult], horizon: int) -> list[Settled]:
        """Take what `push` or `flush` returned; returns the frames before the horizon."""
        self._newest = max([self._newest, *(result.index for result in results)])
        for result in results:
            waiting = self._waiting[result.index]
            if waiting.first is None:
                waiting.first = result
            waiting.last = result
            waiting.withdrawn |= set(result.withdrawn_ids)
            self._confirmed |= result.confirmed_ids()
            waiting.records.append(as_record(result, self._newest))
        done = [self._settle(index, True) for index in list(self._waiting) if index < horizon]
        return [settled for settled in done if settled is not None]

    def drain(self, final: bool) -> list[Settled]:
        """Hand out all frames; final: the stream has ended and was not broken off."""
        done = [self._settle(index, final) for index in list(self._waiting)]
        return [settled for settled in done if settled is not None]

    def _settle(self, index: int, final: bool) -> Settled | None:
        waiting = self._waiting.pop(index)
        if waiting.first is None or waiting.last is None:
            return None  # broken off before its window closed: there are no masks
        last = waiting.last.confirming(self._confirmed)
        waiting.records[-1]['final'] = final or last.final
        waiting.records[-1]['objects'] = _object_records(last)
        return Settled(
            index=index,
            stamp=waiting.stamp,
            image=waiting.image,
            first=waiting.first,
            last=last,
            records=tuple(waiting.records),
            corrected=notable_changes(waiting.first, waiting.last),
            withdrawn=tuple(sorted(waiting.withdrawn)),
        )


def notable_changes(first: FrameResult, last: FrameResult) -> tuple[int, ...]:
    """Return the ids whose masks differ notably (NOTABLE_IOU) between two results of a frame."""
    if first is last:
        return ()
    before = {obj.id: obj.mask for obj in first.objects if obj.visible}
    after = {obj.id: obj.mask for obj in last.objects if obj.visible}
    return tuple(
        key
        for key in sorted(before.keys() | after.keys())
        if key not in before or key not in after or before[key].iou(after[key]) < NOTABLE_IOU
    )


def as_record(result: FrameResult, newest: int) -> dict[str, Any]:
    """Return a result without its masks, ready for json; newest: the newest frame of the pass.

    Keys: frame, stamp (ns), revision, final, newest, changed_ids, withdrawn_ids, objects (id,
    class_id, class_name, score, box or null, visible, conditioned, state).
    """
    return {
        'frame': result.index,
        'stamp': int(result.stamp),
        'revision': result.revision,
        'final': result.final,
        'newest': newest,
        'changed_ids': [int(key) for key in result.changed_ids],
        'withdrawn_ids': [int(key) for key in result.withdrawn_ids],
        'objects': _object_records(result),
    }


def _object_records(result: FrameResult) -> list[dict[str, Any]]:
    return [
        {
            'id': int(obj.id),
            'class_id': int(obj.class_id),
            'class_name': obj.class_name,
            'score': round(float(obj.score), 4),
            'box': None if obj.box is None else [float(edge) for edge in obj.box],
            'visible': bool(obj.visible),
            'conditioned': bool(obj.conditioned),
            'state': obj.state.name.lower(),
        }
        for obj in result.objects
    ]
