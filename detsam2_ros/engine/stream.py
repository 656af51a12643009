# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames: windows that close, state that stays bounded, results that come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from detsam2_ros.engine.association import IdAllocator
from detsam2_ros.engine.bank import MemoryBank
from detsam2_ros.engine.banking import bank_objects, check_object_count, export_bank, joined
from detsam2_ros.engine.compose import Composer
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.detection import Detections, Detector, usable
from detsam2_ros.engine.errors import DetectorError, EngineError, WindowError
from detsam2_ros.engine.frames import Frame, Published, check_image, check_stamp
from detsam2_ros.engine.memory import Memory
from detsam2_ros.engine.objects import TrackedObject
from detsam2_ros.engine.publish import publish_frame
from detsam2_ros.engine.results import FrameResult
from detsam2_ros.engine.sam2_model import Sam2Model
from detsam2_ros.engine.stages import encode_image
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.window import WindowRun


class Stream:
    """The frames of one camera; made by `Engine.open_stream`. Use it from one thread at a time.

    Held between two calls, and nothing else: the frames that a later pass can reach (image
    features, published masks), the unfinished window, per object at most
    max_conditioned_memories plus its prompts on those frames, and the memory bank.
    """

    def __init__(
        self,
        name: str,
        model: Sam2Model,
        detector: Detector | None,
        config: EngineConfig,
        stats: StatsRecorder,
    ):
        self.name = name
        self._model = model
        self._detector = detector
        self._config = config
        self._stats = stats
        self._bank: MemoryBank | None = None
        self._ids = IdAllocator()
        self._start()

    def _start(self) -> None:
        self._next_index = 0
        self._horizon = 0
        self._composer: Composer | None = None
        self._frames: dict[int, Frame] = {}
        self._window: list[Frame] = []
        self._objects: list[TrackedObject] = []
        self._look_for_bank()

    @property
    def horizon(self) -> int:
        """The first frame index that is not final: all before it stay as published."""
        return self._horizon

    @property
    def pending(self) -> int:
        """How many frames wait for their window to close."""
        return len(self._window)

    @property
    def bank(self) -> MemoryBank | None:
        """The memory bank that is loaded."""
        return self._bank

    def push(self, image: np.ndarray, stamp: int) -> list[FrameResult]:
        """Take a frame; when it fills the window, segment the window and correct the past.

        image: uint8 [H, W, 3] RGB, all of one size; what is kept of it is copied. stamp: int
        nanoseconds. Returns results in ascending frame index, often none. Raises ImageError (the
        frame was not taken) or DetectorError (it was, and the results are in the error).
        """
        size = (self._composer.height, self._composer.width) if self._composer else None
        image = check_image(image, self.name, size)
        stamp = check_stamp(stamp, self.name)
        if len(self._window) >= self._config.window_size + self._config.max_propagation:
            raise EngineError(
                f"stream '{self.name}': {len(self._window)} frames wait because their window "
                f'failed each time; call flush to see why, or reset to drop them'
            )
        index = self._next_index
        interval = self._config.detect_interval
        frame = Frame(
            index=index,
            stamp=stamp,
            image=image,
            is_detection_frame=(
                self._detector is not None and interval > 0 and index % interval == 0
            ),
        )
        waiting = [entry for entry in self._window if entry.features is None] + [frame]
        if len(waiting) >= self._config.encode_batch:
            self._encode(waiting)
        if self._composer is None:
            height, width = image.shape[:2]
            self._composer = Composer(height, width, self._model.mask_size, self._model.device)
        if frame.image is not None:
            frame.image = frame.image.copy()  # camera drivers reuse their buffers
        self._next_index += 1
        self._frames[index] = frame
        self._window.append(frame)
        self._stats.add(frames=1)
        if len(self._window) < self._config.window_size:
            return []
        return self.flush()

    def flush(self) -> list[FrameResult]:
        """Close the unfinished window now, at the end of a video or when a camera pauses.

        Returns and raises what `push` does. Frames that a full window would have made final
        are final after this one too.
        """
        results: list[FrameResult] = []
        failures: list[str] = []
        while self._window:
            # More than K wait only after a window that failed; each closes as its own.
            window = self._window[: self._config.window_size]
            try:
                self._encode([frame for frame in window if frame.features is None])
                failure = self._detect(window)
                if failure:
                    failures.append(failure)
                results += self._close(window)
            except Exception as error:
                if not results:
                    raise
                failures.append(f"stream '{self.name}': a later window failed: {error}")
                raise WindowError('; '.join(failures), results) from error
        if failures:
            raise DetectorError('; '.join(failures), results)
        return results

    def reset(self) -> None:
        """Forget everything but the memory bank; frames count from 0 again.

        Frames still waiting are dropped and counted as such: `flush` first to have them.
        """
        self._stats.add(dropped_frames=len(self._window))
        self._start()

    def reconfigure(self, config: EngineConfig) -> None:
        """Take other parameters from the next call on; `Engine.reconfigure` checks them."""
        self._config = config

    def load_bank(self, bank: MemoryBank, replace: bool = True) -> None:
        """Use a memory bank from the next pass on.

        replace: instead of the one loaded; else beside it (entries of one key add up). Objects
        of an earlier bank whose key and class come again keep their id. Raises BankError, and
        keeps the earlier bank, when another model made it or it holds too many objects.
        """
        bank.check(self._model.identity)
        if not replace and self._bank is not None:
            bank = joined(self._bank, bank)
        check_object_count(bank, self._config.max_objects)
        self._set_bank(bank)

    def unload_bank(self) -> None:
        """Drop the memory bank; objects that have prompts of their own are tracked on."""
        self._set_bank(None)

    def export_bank(self, max_entries_per_object: int) -> MemoryBank:
        """Make a memory bank of what the living objects remember, their bank entries included.

        Keeps the newest and the most different entries. Raises ValueError below 1 entry.
        """
        if max_entries_per_object < 1:
            raise ValueError(f'max_entries_per_object must be >= 1, got {max_entries_per_object}')
        return export_bank(
            self._model.identity, self._objects, self._bank, self.name, max_entries_per_object
        )

    def conditioned_frames(self, object_id: int) -> tuple[int, ...]:
        """Return the frames with a prompt that an object attends to, ascending."""
        for entry in self._objects:
            if entry.id == object_id:
                return tuple(entry.attended(self._config.max_conditioned_memories))
        raise KeyError(f"stream '{self.name}' has no object {object_id}")

    def _set_bank(self, bank: MemoryBank | None) -> None:
        memories: dict[tuple[str, int], tuple[Memory, ...]] = {}
        if bank is not None:
            for given in bank_objects(bank, self._model.device):
                memories[given.keys[0], given.class_id] = given.bank
        kept = []
        for entry in self._objects:
            again = [memories.get((key, entry.class_id), ()) for key in entry.keys]
            entry = replace(entry, bank=tuple(memory for part in again for memory in part))
            if entry.remembers:
                kept.append(entry)
        self._objects = kept
        self._bank = bank
        self._look_for_bank()

    def _look_for_bank(self) -> None:
        """Add an object to look for, for each object of the bank that no object stands for."""
        if self._bank is None:
            return
        held = {(key, e.class_id) for e in self._objects if e.bank for key in e.keys}
        missing = [
            key
            for key, (class_id, _, _) in self._bank.objects().items()
            if (key, class_id) not in held
        ]
        if missing:
            self._objects += bank_objects(self._bank, self._model.device, missing)

    def _encode(self, frames: Sequence[Frame]) -> None:
        if not frames:
            return
        images = [frame.image for frame in frames]
        with self._model.inference(), self._stats.clock('encode'):
            batch = torch.stack([self._model.preprocess(i) for i in images if i is not None])
            features = encode_image(self._model, batch)
        for frame, own in zip(frames, features, strict=True):
            frame.features = own
            if not frame.is_detection_frame:
                frame.image = None
        self._stats.add(encodings=len(frames))

    def _detect(self, window: list[Frame]) -> str | None:
        """Run the detector on the window's detection frames; returns what went wrong, if so."""
        frames = [f for f in window if f.is_detection_frame and f.detections is None]
        if not frames or self._detector is None:
            return None
        images = [frame.image for frame in frames if frame.image is not None]
        failure = None
        try:
            with self._stats.clock('detect'):
                found = _checked(self._detector.detect(images), len(images))
        except Exception as error:  # any detector may lead, and none may stop the stream
            found = [Detections.empty() for _ in frames]
            self._stats.add(detector_failures=1)
            failure = (
                f"stream '{self.name}': the detector failed on frames "
                f'{", ".join(str(f.index) for f in frames)} ({type(error).__name__}: {error}); '
                f'they were tracked without it'
            )
        assert self._composer is not None
        for frame, detections in zip(frames, found, strict=True):
            frame.detections, rejected = usable(
                detections, self._composer.height, self._composer.width
            )
            frame.image = None
            self._stats.add(detections=len(detections), rejected_detections=rejected)
        self._stats.add(detector_frames=len(frames))
        return failure

    def _close(self, window: list[Frame]) -> list[FrameResult]:
        """Segment a window; takes over its outcome only when all of it is there."""
        config, composer = self._config, self._composer
        assert composer is not None
        newest = window[-1].index
        run = WindowRun(
            model=self._model,
            config=config,
            composer=composer,
            stats=self._stats,
            class_names=self._class_names(),
            frames=self._frames,
            window=window,
            objects=self._objects,
            ids=self._ids,
            ids_in_use=self._ids_in_use(),
            frames_seen=newest + 1,
            # Frames promised to be final stay so, also when this window closed early.
            oldest=max(newest - config.max_propagation + 1, self._horizon, 0),
        )
        with self._model.inference():
            run.run()
        horizon = max(self._horizon, newest + config.window_size - config.max_propagation + 1, 0)
        with self._stats.clock('masks'), self._model.inference():
            published = [
                publish_frame(
                    self.name,
                    self._frames[index],
                    found,
                    run.merged_ids,
                    composer,
                    config.correction_iou,
                    final=index < horizon,
                )
                for index, found in run.masks.items()
            ]
        results = [result for result in published if result is not None]
        self._take_over(run, results, horizon)
        return results

    def _take_over(self, run: WindowRun, results: list[FrameResult], horizon: int) -> None:
        """Make a window's outcome the state of the stream, and drop what is out of reach."""
        for result in results:
            self._frames[result.index].published = Published(
                result.revision, result.objects, result.packed
            )
        if self._config.early_stop_iou > 0:
            for index, found in run.masks.items():
                self._frames[index].settled |= found.settled()
        self._objects = run.objects
        self._ids = run.ids
        self._horizon = horizon
        self._window = self._window[len(run.window) :]
        self._frames = {index: frame for index, frame in self._frames.items() if index >= horizon}
        for entry in self._objects:
            entry.forget(self._config.max_conditioned_memories, horizon)
        self._look_for_bank()
        first = sum(result.revision == 0 for result in results)
        self._stats.add(
            published_frames=first, corrections=len(results) - first, objects=run.new_ids
        )
        self._stats.settle()

    def _ids_in_use(self) -> set[int]:
        """Ids of living objects, and of retired ones that are still seen on frames in reach."""
        living = {entry.id for entry in self._objects if entry.id is not None}
        shown = {
            entry.id
            for frame in self._frames.values()
            if frame.published is not None
            for entry in frame.published.objects
        }
        return living | shown

    def _class_names(self) -> Mapping[int, str]:
        return {} if self._detector is None else self._detector.class_names


def _checked(found: object, count: int) -> list[Detections]:
    """Return a detector's answer if it is one Detections an image, else raise ValueError."""
    if not isinstance(found, (list, tuple)) or not all(isinstance(d, Detections) for d in found):
        raise ValueError(f'detect must return a list of Detections, got {type(found).__name__}')
    if len(found) != count:
        raise ValueError(f'detect returned {len(found)} Detections for {count} images')
    return list(found)
