# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames: windows that close, state that stays bounded, results that come out."""

from __future__ import annotations

import numpy as np

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.detector.classes import ClassTable
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.engine.outcome import Outcome
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.prompts import Prompt
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.bank_objects import (
    check_object_count,
    classes_by_name,
    export_bank,
    joined,
    look_for_bank,
    rebanked,
)
from detsam2_ros.engine.tracking.corrections import publish_frame
from detsam2_ros.engine.tracking.edits import LateStep
from detsam2_ros.engine.tracking.forward import ForwardStep
from detsam2_ros.engine.tracking.frames import Frame, Published, check_image, check_stamp
from detsam2_ros.engine.tracking.intake import Intake
from detsam2_ros.engine.tracking.passes import Closing, Pace
from detsam2_ros.engine.tracking.state import StreamState
from detsam2_ros.results.detections import Detections, LateDetections
from detsam2_ros.results.errors import DetectorError, EngineError, PromptError
from detsam2_ros.results.frames import FrameResult, Object, Prompted


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
        classes: ClassTable,
    ):
        self.name = name
        self._model = model
        self._config = config
        self._stats = stats
        self._intake = Intake(name, model, detector, stats, classes)
        self._pace = Pace(model.device)
        self._start(StreamState())

    def _start(self, state: StreamState) -> None:
        self._state = state
        self._closing = Closing(self.name, self._model, self._intake, self._stats, state)

    @property
    def horizon(self) -> int:
        """The first frame index that is not final: all before it stay as published."""
        return self._state.horizon

    @property
    def pending(self) -> int:
        """How many frames wait for their window to close."""
        return len(self._state.window)

    @property
    def bank(self) -> MemoryBank | None:
        """The memory bank that is loaded."""
        return self._state.bank

    def push(self, image: np.ndarray, stamp: int) -> list[FrameResult]:
        """Take a frame; when it fills the window, segment the window and correct the past.

        image: uint8 [H, W, 3] RGB, all of one size; what is kept of it is copied. stamp: int
        nanoseconds. Returns results in ascending frame index, a frame's revisions in order: in
        mode window often none, in mode online always this frame's revision 0. Raises ImageError
        (the frame was not taken) or WindowError (it was, and the results are in the error).
        """
        outcome = Outcome(self.name)
        outcome.add(lambda: self.take(image, stamp))
        if len(self._state.window) >= self._config.window_size:
            self._close_all(outcome)
        return outcome.results_or_error()

    def flush(self) -> list[FrameResult]:
        """Close the unfinished window now, at the end of a video or when a camera pauses.

        Without one, run a pass for prompts that no pass has read.

        Returns and raises what `push` does. Frames that a full window would have made final
        are final after this one too.
        """
        outcome = Outcome(self.name)
        if not self._state.window and self.news:
            outcome.add(self._close)
        self._close_all(outcome)
        return outcome.results_or_error()

    def take(self, image: np.ndarray, stamp: int) -> list[FrameResult]:
        """Take a frame and leave the window that it may fill to `work`, for whoever cannot wait.

        As `push`, but returns at once: this frame's revision 0 in mode online, else nothing.
        """
        state = self._state
        composer = state.composer
        size = (composer.height, composer.width) if composer else None
        image = check_image(image, self.name, size)
        stamp = check_stamp(stamp, self.name)
        if len(state.window) >= self._config.window_size + self._config.max_propagation:
            raise EngineError(
                f"stream '{self.name}': {len(state.window)} frames wait because their window "
                f'failed each time or was not closed; call flush to see why, or reset to drop them'
            )
        if composer is None:
            size = image.shape[0], image.shape[1]
            composer = Composer(*size, self._model.mask_size, self._model.device)
        interval = self._config.detect_interval
        frame = Frame(
            index=state.next_index,
            stamp=stamp,
            image=image,
            is_detection_frame=self._intake.is_detection_frame(state.next_index, interval),
        )
        results, failure = [], None
        if self._config.mode == 'online':
            result, failure = self._track_forward(frame, composer)
            results.append(result)
        else:
            waiting = [entry for entry in state.window if entry.features is None] + [frame]
            if len(waiting) >= self._config.encode_batch:
                self._intake.encode(waiting)
            if frame.image is not None:
                frame.image = frame.image.copy()  # camera drivers reuse their buffers
        state.add(frame, composer)
        self._stats.add(frames=1)
        if failure:
            raise DetectorError(failure, results)
        return results

    @property
    def closing(self) -> int:
        """How many frames the window has that is due; 0 while none is."""
        full = len(self._state.window) >= self._config.window_size
        return self._closing.begun or (self._config.window_size if full else 0)

    @property
    def under_way(self) -> bool:
        """Whether `work` has begun with a window; what it did is lost when a bank is swapped."""
        return self._closing.begun > 0

    @property
    def due(self) -> bool:
        """Whether a window waits to be closed: it is full, or `work` has begun with it."""
        return self.closing > 0

    @property
    def news(self) -> bool:
        """Whether prompts, late detections or removals wait for a pass that corrects the past."""
        return self._state.news

    def work(self, early: bool = False) -> list[FrameResult]:
        """Do a part of closing a window that is due, about one frame of its pass.

        early: begin with a window that is not full too, when a camera pauses; without one, with
        a pass for the `news`. Returns the window's results with the last part, else nothing. Call
        it until `due` is false; frames may be taken between two parts. Raises DetectorError with
        the results, or whatever went wrong: then the next call begins with this window anew.
        """
        if not self.due and not (early and (self._state.window or self.news)):
            return []
        results = self._closing.advance(self._config)
        self._pace.keep()
        return results or []

    def reset(self) -> None:
        """Forget everything but the memory bank; frames count from 0 again.

        Frames still waiting for masks are dropped and counted as such: `flush` first to have them.
        """
        dropped = sum(frame.published is None for frame in self._state.window)
        self._stats.add(dropped_frames=dropped)
        state = StreamState(ids=self._state.ids, bank=self._state.bank)
        look_for_bank(state.bank, state.objects, self._model.device)
        self._start(state)

    def reconfigure(self, config: EngineConfig) -> None:
        """Take other parameters from the next call on; `Engine.reconfigure` checks them."""
        self._config = config

    def load_bank(self, bank: MemoryBank, replace: bool = True) -> None:
        """Use a memory bank from the next pass on, in mode online from the next frame on.

        replace: instead of the one loaded; else beside it (entries of one key add up). Objects
        of an earlier bank whose key and class come again keep their id. Classes are known by
        their name: the bank's ids give way to those of the detector and of earlier banks.
        Raises BankError, and keeps the earlier bank, when another model made it or it holds too
        many objects.
        """
        bank.check(self._model.identity)
        bank = classes_by_name(bank, self._intake.classes)
        if not replace and self._state.bank is not None:
            bank = joined(self._state.bank, bank)
        check_object_count(bank, self._config.max_objects)
        self._set_bank(bank)

    def unload_bank(self) -> None:
        """Drop the memory bank; objects that have prompts of their own are tracked on."""
        self._set_bank(None)

    def export_bank(self, max_entries_per_object: int, new_only: bool = False) -> MemoryBank:
        """Make a memory bank of what the living objects remember, their bank entries included.

        Keeps the newest and the most different entries. new_only: leave out the entries of the
        loaded bank. Raises ValueError below 1 entry.
        """
        if max_entries_per_object < 1:
            raise ValueError(f'max_entries_per_object must be >= 1, got {max_entries_per_object}')
        return export_bank(
            self._model.identity,
            self._state.objects,
            self._state.bank,
            self.name,
            max_entries_per_object,
            new_only,
        )

    # ---- by hand, and from detectors elsewhere -------------------------------------------------

    @property
    def class_names(self) -> dict[int, str]:
        """The detector's classes by id, and those that prompts and banks brought."""
        return self._intake.class_names

    def class_id(self, name: str) -> int:
        """Return the id of a class, a new one for a new name."""
        return self._intake.classes.find(name)

    def find_frame(self, stamp: int | None = None) -> int:
        """Return the index of a frame that can be prompted; PromptError when it is not there.

        stamp: nanoseconds, of a frame that is not final; None for the newest.
        """
        return self._state.find_frame(self.name, stamp)

    def prompt(
        self, index: int, prompt: Prompt, class_name: str = '', object_id: int | None = None
    ) -> Prompted:
        """Point out an object on a frame, or correct it there; returns its mask on that frame.

        index: from `find_frame`. class_name: of a new object. object_id: the object that is
        meant; points alone then correct its mask. A new object whose mask is that of one of its
        class is that one. The next pass corrects the frames around, those between this frame
        and the newest included. Raises PromptError; then nothing has changed.
        """
        frame = self._frame(index)
        late = self._late()
        prompted = late.prompt(frame, prompt, class_name, object_id)
        self._closing.begin_anew()  # what it did does not know of this
        return prompted

    def add_detections(self, index: int, detections: Detections) -> LateDetections:
        """Take what a detector elsewhere found on a frame that is here already.

        Matched with the objects as published there, or when the frame's window closes. Raises
        PromptError when the frame is not there, EngineError when the engine has a detector.
        """
        if self._intake.detects:
            raise EngineError(
                f"stream '{self.name}' has a detector of its own; make the engine without one to "
                f'take detections from elsewhere'
            )
        return self._late().detections(self._frame(index), detections)

    def remove_object(self, object_id: int) -> Object:
        """Forget an object and what the bank in use holds of it; returns what it was.

        Its masks vanish from the frames in reach with the next pass. A detector that still finds
        the thing starts a new object. Raises PromptError for an unknown id.
        """
        removed = self._late().remove(object_id)
        self._closing.begin_anew()
        return removed

    def rename_object(self, object_id: int, class_name: str) -> Object:
        """Give an object another class, on the frames to come and those that are corrected.

        What the bank in use holds of it is renamed too. Raises PromptError for an unknown id.
        """
        renamed = self._late().rename(object_id, class_name)
        self._closing.begin_anew()
        return renamed

    def _frame(self, index: int) -> Frame:
        """Return a frame that a pass can reach, encoded."""
        frame = self._state.frame(self.name, index)
        if frame.features is None:
            self._intake.encode([frame])
        return frame

    def _late(self) -> LateStep:
        if self._state.composer is None:
            raise PromptError(f"stream '{self.name}' has no frame yet; prompt when images come")
        return LateStep(
            name=self.name,
            model=self._model,
            config=self._config,
            composer=self._state.composer,
            stats=self._stats,
            classes=self._intake.classes,
            state=self._state,
        )

    def conditioned_frames(self, object_id: int) -> tuple[int, ...]:
        """Return the frames with a prompt that an object attends to, ascending."""
        for entry in self._state.objects:
            if entry.id == object_id:
                return tuple(entry.attended(self._config.max_conditioned_memories))
        raise KeyError(f"stream '{self.name}' has no object {object_id}")

    def _set_bank(self, bank: MemoryBank | None) -> None:
        state = self._state
        since = state.next_index or -1
        state.objects = rebanked(state.objects, bank, self._model.device, since)
        self._state.bank = bank
        self._closing.begin_anew()

    def _track_forward(self, frame: Frame, composer: Composer) -> tuple[FrameResult, str | None]:
        """Track a new frame forward; takes over the outcome only when all of it is there.

        Returns the frame's revision 0, and what went wrong with the detector.
        """
        self._intake.encode([frame])
        step = ForwardStep(
            model=self._model,
            config=self._config,
            composer=composer,
            stats=self._stats,
            class_names=self._intake.class_names,
            frame=frame,
            frames=self._state.frames,
            objects=self._state.objects,
            names=self._state.names(),
            cache=self._state.cache,
        )
        with self._model.inference():
            step.track()
        failure = self._intake.detect([frame], composer)
        with self._model.inference():
            found = step.finish()
            with self._stats.clock('masks'):
                result = publish_frame(
                    self.name, frame, found, set(), composer, self._config.correction_iou, False
                )
        assert result is not None
        frame.published = Published(result.revision, result.objects, result.packed)
        if self._config.early_stop_iou > 0:
            frame.settled = found.settled()
        self._state.objects, self._state.ids = step.objects, step.names.ids
        self._stats.add(published_frames=1, objects=step.names.given)
        self._stats.settle()
        return result, failure

    def _close_all(self, outcome: Outcome) -> None:
        """Close all windows that wait."""
        while self._state.window:
            outcome.add(self._close)

    def _close(self) -> list[FrameResult]:
        results = None
        while results is None:
            results = self._closing.advance(self._config)
        return results
