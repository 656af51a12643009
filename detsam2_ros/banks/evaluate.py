# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a memory bank alone finds in a video, compared with the truth or with the detector."""

from __future__ import annotations

import time
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.finals import finals
from detsam2_ros.quality import scoring
from detsam2_ros.quality.overlap import label_iou_table
from detsam2_ros.results.errors import BankError
from detsam2_ros.results.frames import FrameResult


@dataclass(frozen=True)
class Truth:
    """The true objects of a frame."""

    labels: np.ndarray  # integer [H, W], 0 = no object
    # Class names by label; an object without a name may be found under any class name.
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FrameImage:
    """A frame to segment, with its truth where that is known."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    stamp: int  # nanoseconds
    truth: Truth | None = None


@dataclass
class Tally:
    """What one run found, summed over frames."""

    frames: int = 0
    seconds: float = 0.0  # CPU time of this process
    # By class name or label of the true object: its best IoU on each frame.
    ious: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    objects: scoring.Tally = field(default_factory=scoring.Tally)
    keys: dict[int, str] = field(default_factory=dict)  # class names by object id
    scored: bool = True  # False: there was nothing to compare with

    def add(self, result: FrameResult, truth: Truth | None) -> None:
        """Score a frame by one-to-one pairs of a true object and a mask of its class name."""
        self.frames += 1
        visible = {obj.id: obj.class_name for obj in result.objects if obj.visible}
        self.keys |= visible
        if truth is None:
            self.objects.shown.update(visible.keys())
            self.scored = False
            return
        labels = [int(label) for label in np.unique(truth.labels) if label]
        ids = list(visible)
        table = label_iou_table(truth.labels, labels, result.labels, ids)
        for row, label in enumerate(labels):
            for column, id_ in enumerate(ids):
                if truth.names.get(label, visible[id_]) != visible[id_]:
                    table[row, column] = 0.0
        pairing = scoring.pair(table, labels, ids)
        self.objects.add_frame(pairing)
        for label, iou in pairing.ious.items():
            self.ious[truth.names.get(label, f'label {label}')].append(iou)

    def summary(self) -> dict[str, Any]:
        """Return the figures; None where there was nothing to compare with."""
        objects = self.objects
        shown, known = objects.shown.total(), self.scored and bool(objects.ious)
        return {
            'frames': self.frames,
            'objects_shown': len(objects.shown),
            'iou': objects.mean if known else None,
            'found': objects.found if known else None,
            'false_objects': len(objects.false_objects) if self.scored else None,
            'stray': objects.stray.total() / shown if self.scored and shown else None,
            'seconds_per_frame': self.seconds / max(self.frames, 1),
            'classes': {
                name: {
                    'frames': len(ious),
                    'iou': float(np.mean(ious)),
                    'found': scoring.count_found(ious) / len(ious),
                }
                for name, ious in sorted(self.ious.items())
            },
        }


def final_results(
    engine: Engine, frames: Iterable[FrameImage], bank: MemoryBank | None
) -> Iterator[tuple[FrameResult, Truth | None]]:
    """Segment a video in a new stream; yields each frame's final masks, in order.

    Only frames that a pass can still correct are held back. Raises what the engine raises, and
    BankError for a bank of another model.
    """
    stream = engine.open_stream('evaluate')
    truths: deque[Truth | None] = deque()

    def given() -> Iterator[tuple[np.ndarray, int]]:
        for frame in frames:
            truths.append(frame.truth)
            yield frame.image, frame.stamp

    try:
        if bank is not None:
            stream.load_bank(bank)
        for result in finals(stream, given()):
            yield result, truths.popleft()
    finally:
        engine.close_stream('evaluate')


def measure(
    engine: Engine,
    frames: Iterable[FrameImage],
    bank: MemoryBank | None,
    reference: Iterable[Truth] | None = None,
    watch: Callable[[FrameResult], None] | None = None,
) -> Tally:
    """Run a video through an engine and score its final masks.

    reference: stands in for the truth on frames without one. watch: called with each frame's
    final result.
    """
    tally = Tally()
    others = iter(reference) if reference is not None else None
    begin = time.process_time()
    for result, truth in final_results(engine, frames, bank):
        other = next(others, None) if others is not None else None
        tally.add(result, other if truth is None else truth)
        if watch is not None:
            watch(result)
    tally.seconds = time.process_time() - begin
    return tally


class Recorder:
    """Keeps the final masks of a run, compressed, as a reference for other runs."""

    def __init__(self) -> None:
        self._frames: list[tuple[bytes, tuple[int, ...], dict[int, str]]] = []

    def __call__(self, result: FrameResult) -> None:
        """Keep a frame."""
        names = {obj.id: obj.class_name for obj in result.objects if obj.visible}
        packed = zlib.compress(np.ascontiguousarray(result.labels).tobytes(), 1)
        self._frames.append((packed, result.labels.shape, names))

    def __iter__(self) -> Iterator[Truth]:
        for packed, shape, names in self._frames:
            labels = np.frombuffer(zlib.decompress(packed), np.uint16).reshape(shape)
            yield Truth(labels, names)


def random_bank(like: MemoryBank, pool: MemoryBank, seed: int) -> MemoryBank:
    """Draw a bank of the same size, object by object, from the entries of a pool.

    An object's entries come from the pool's object of the same key and class, and without such
    an object from all of its class. Raises BankError, naming the object, when the pool has too
    few entries, and when another model made the pool.
    """
    pool.check(like.model)
    rng = np.random.default_rng(seed)
    drawn = []
    for key, banked in like.objects().items():
        of_class = [entry for entry in pool.entries if entry.class_name == banked.class_name]
        own = [entry for entry in of_class if entry.object_key == key] or of_class
        count = len(banked.entries)
        if len(own) < count:
            raise BankError(
                f"the pool has {len(own)} entries of '{key}' ({banked.class_name}), the bank has "
                f'{count}: give a pool that it could have been chosen from'
            )
        rows = sorted(rng.permutation(len(own))[:count])
        drawn += [replace(own[i], object_key=key, class_id=banked.class_id) for i in rows]
    return MemoryBank(like.model, tuple(drawn), source=f'random, seed {seed}')
