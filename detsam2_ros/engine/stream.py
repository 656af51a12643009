# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera's frames: windows that close, state that stays bounded, results that come out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.detector.classes import ClassTable
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.prompts import Prompt
from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.bank_objects import check_places, export_bank, loadable
from detsam2_ros.engine.tracking.collector import ResultCollector
from detsam2_ros.engine.tracking.corrections import Vanished, revise
from detsam2_ros.engine.tracking.edits import StreamEdit
from detsam2_ros.engine.tracking.forward_step import ForwardStep
from detsam2_ros.engine.tracking.frames import Frame, check_image, check_stamp
from detsam2_ros.engine.tracking.intake import detect, encode
from detsam2_ros.engine.tracking.pass_runner import Backlog, Pace, PassRunner, full
from detsam2_ros.engine.tracking.state import StateHolder, StreamState
from detsam2_ros.engine.tracking.toolbox import Toolbox
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
        self._detector = detector
        self._config = config
        self._stats = stats
        self._classes = classes
        self._pace = Pace(model.device)
        self._holder = StateHolder(StreamState())
        self._runner = PassRunner(self._holder)

    @property
    def _state(self) -> StreamState:
        return self._holder.state

    @property
    def horizon(self) -> int:
        """The first frame index that is not final: all before it stay as published."""
        return self._state.horizon

    @property
    def backlog(self) -> Backlog:
        """What is still to do, and in which order."""
        return self._runner.backlog(self._config)

    @property
    def stamps(self) -> dict[int, int]:
        """The frames that can still change: index by stamp in nanoseconds."""
        return {frame.stamp: index for index, frame in self._state.frames.items()}

    @property
    def objects(self) -> tuple[Object, ...]:
        """The living objects, as they were shown last, by id."""
        if self._state.resizer is None:
            return ()
        edit = self._edit()
        known = [obj for obj in self._state.objects if obj.id is not None]
        return tuple(sorted((edit.describe(obj) for obj in known), key=lambda thing: thing.id))

    @property
    def dormant_ids(self) -> tuple[int, ...]:
        """The ids of the objects that are gone and may return, the longest unseen first."""
        return tuple(obj.id for obj in self._state.dormant if obj.id is not None)

    @property
    def bank(self) -> MemoryBank | None:
        """The memory bank that is loaded."""
        return self._state.bank

    # ---- frames --------------------------------------------------------------------------------

    def push(self, image: np.ndarray, stamp: int, tag: Any = None) -> list[FrameResult]:
        """Take a frame; when it fills the window, segment the window and correct the past.

        `add`, and `step` until nothing is due. Returns results in ascending frame index, a
        frame's revisions in order: in mode window often none, in mode online always this
        frame's revision 0. Raises ImageError (the frame was not taken) or WindowError (it was,
        and the results are in the error).
        """
        collector = ResultCollector(self.name)
        if self._is_full:  # of frames that came by `add`, or whose window failed
            self._checked(image, stamp)
            collector.add(lambda: self._runner.make_room(self._tools()))
        collector.add(lambda: self.add(image, stamp, tag))
        while self.backlog.due:
            collector.add(self._run_pass)
        return collector.results_or_error()

    def flush(self) -> list[FrameResult]:
        """Close the unfinished window now, at the end of a video or when a camera pauses.

        Without one, run a pass for prompts that no pass has read. Returns and raises what `push`
        does. Frames that a full window would have made final are final after this one too.
        """
        collector = ResultCollector(self.name)
        if not self._state.window and self._state.has_unread_prompts:
            collector.add(self._run_pass)
        while self._state.window:
            collector.add(self._run_pass)
        return collector.results_or_error()

    def add(self, image: np.ndarray, stamp: int, tag: Any = None) -> list[FrameResult]:
        """Take a frame and leave the window that it may fill to `step`.

        image: uint8 [H, W, 3] RGB, all of one size; what is kept of it is copied. stamp: int
        nanoseconds. tag: anything; it comes back with each result of the frame. Returns what is
        ready now: this frame's revision 0 in mode online, else nothing. Raises ImageError.
        """
        state = self._state
        image, stamp = self._checked(image, stamp)
        if self._is_full:
            raise full(self.name, len(state.window))
        resizer = state.resizer
        if resizer is None:
            height, width = image.shape[:2]
            resizer = MaskResizer(height, width, self._model.mask_size, self._model.device)
        index, interval = state.next_index, self._config.detect_interval
        looks = self._detector is not None and interval > 0
        frame = Frame(
            index=index,
            stamp=stamp,
            image=image,
            tag=tag,
            is_detection_frame=looks and index % interval == 0,
        )
        window = *state.window, index
        state = replace(state, resizer=resizer, next_index=index + 1, window=window)
        if self._config.mode == 'online':
            return self._track_forward(frame, state)
        self._commit_waiting(frame, state)
        self._stats.add(frames=1)
        return []

    def step(self, early: bool = False) -> list[FrameResult]:
        """Do a part of closing a window that is due, about one frame of its pass.

        early: begin with a window that is not full too, when a camera pauses; without one, with
        a pass for the `backlog.corrections`. Returns the window's results with the last part,
        else nothing. Call it until nothing is due; frames may be added between two parts. Raises
        DetectorError with the results, or what went wrong: then the next call restarts this
        window.
        """
        backlog = self.backlog
        if not backlog.due and not (early and (backlog.frames or backlog.corrections)):
            return []
        return self._runner.advance(self._tools(), self._pace) or []

    def reset(self) -> int:
        """Forget everything but the memory bank; frames count from 0 again.

        Frames still waiting for masks are dropped and counted as such: `flush` first to have
        them. Returns how many these are.
        """
        state = self._state
        dropped = sum(state.frames[index].published is None for index in state.window)
        self._stats.add(dropped_frames=dropped)
        self._commit_edit(state.restarted(self._model.device))
        return dropped

    def close(self) -> None:
        """Let everything go, the models included; `Engine.close_stream` calls it."""
        self.reset()
        self._runner.restart()
        self._holder.close(f"stream '{self.name}' is closed; open a new one")
        del self._model, self._detector

    def reconfigure(self, config: EngineConfig) -> None:
        """Take other parameters from the next call on; `Engine.reconfigure` checks them."""
        self._config = config

    # ---- memory banks --------------------------------------------------------------------------

    def load_bank(self, bank: MemoryBank, replace: bool = True) -> None:
        """Use a memory bank from the next pass on, in mode online from the next frame on.

        replace: instead of the one loaded; else beside it (entries of one key add up). Objects
        of an earlier bank whose key and class come again keep their id. Classes are known by
        their name: the bank's ids give way to those of the detector and of earlier banks.
        Raises BankError, and keeps the earlier bank, when another model made it or it holds too
        many objects, by itself or with those that are alive.
        """
        state, classes, most = self._state, self._classes.copy(), self._config.max_objects
        earlier = None if replace else state.bank
        bank = loadable(bank, self._model.identity, classes, earlier, most)
        state = state.with_bank(bank, self._model.device)
        check_places(state.objects, most)
        self._commit_edit(state, classes)

    def unload_bank(self) -> None:
        """Drop the memory bank; objects that have prompts of their own are tracked on."""
        self._commit_edit(self._state.with_bank(None, self._model.device))

    def export_bank(
        self, max_entries_per_object: int, new_only: bool = False, dormant: bool = False
    ) -> MemoryBank:
        """Make a memory bank of what the living objects remember, their bank entries included.

        Keeps the newest and the most different entries. new_only: leave out the entries of the
        loaded bank. dormant: those that may return, too. Raises ValueError below 1 entry.
        """
        if max_entries_per_object < 1:
            raise ValueError(f'max_entries_per_object must be >= 1, got {max_entries_per_object}')
        state = self._state
        return export_bank(
            self._model.identity,
            (*state.objects, *state.dormant) if dormant else state.objects,
            state.bank, self.name, max_entries_per_object, new_only,
        )  # fmt: skip

    # ---- by hand, and from detectors elsewhere -------------------------------------------------

    @property
    def class_names(self) -> dict[int, str]:
        """The detector's classes by id, and those that prompts and banks brought."""
        return self._classes.names

    def class_id(self, name: str) -> int:
        """Return the id of a class, a new one for a new name."""
        return self._classes.find(name)

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
        meant, a dormant one is back; points alone then correct its mask. A new object whose mask
        is that of one of its class is that one. The next pass corrects the frames around, those up
        to the newest included. Raises PromptError; then nothing has changed.
        """
        frame = self._encoded(index)
        edit = self._edit()
        state, prompted = edit.prompt(frame, prompt, class_name, object_id)
        self._commit_edit(state, edit.tools.classes)
        return prompted

    def add_detections(self, index: int, detections: Detections) -> LateDetections:
        """Take what a detector elsewhere found on a frame that is here already.

        Matched with the objects as published there, or when the frame's window closes. Raises
        PromptError when the frame is not there, EngineError when the engine has a detector.
        """
        frame = self._encoded(index)
        if self._detector is not None:
            raise EngineError(
                f"stream '{self.name}' has a detector of its own; make the engine without one to "
                f'take detections from elsewhere'
            )
        state, late = self._edit().detections(frame, detections)
        if late.waiting and index in self._runner.window:
            self._runner.restart()  # what it did does not know of this
        self._holder.commit(state)
        return late

    def remove_object(self, object_id: int) -> Object:
        """Forget an object and what the bank in use holds of it; returns what it was.

        Its masks vanish from the frames in reach with the next pass. A detector that still finds
        the thing starts a new object. Raises PromptError for the id of no living or dormant one.
        """
        state, removed = self._edit().remove(object_id)
        self._commit_edit(state)
        return removed

    def rename_object(self, object_id: int, class_name: str) -> Object:
        """Give an object another class, on the frames to come and those that are corrected.

        What the bank in use holds of it is renamed too. Raises PromptError for an unknown id.
        """
        edit = self._edit()
        state, renamed = edit.rename(object_id, class_name)
        self._commit_edit(state, edit.tools.classes)
        return renamed

    def conditioned_frames(self, object_id: int) -> tuple[int, ...]:
        """Return the frames with a prompt that an object attends to, ascending."""
        for obj in self._state.objects:
            if obj.id == object_id:
                return tuple(obj.attended(self._config.max_conditioned_memories))
        raise KeyError(f"stream '{self.name}' has no object {object_id}")

    # ---- inside --------------------------------------------------------------------------------

    @property
    def _is_full(self) -> bool:
        """Whether as many frames wait for a window to close as may."""
        return len(self._state.window) >= self._config.window_size + self._config.max_propagation

    def _checked(self, image: object, stamp: object) -> tuple[np.ndarray, int]:
        """Return an image and a stamp that the stream can take; raises ImageError."""
        resizer = self._state.resizer
        size = None if resizer is None else resizer.size
        return check_image(image, self.name, size), check_stamp(stamp, self.name)

    def _tools(self, resizer: MaskResizer | None = None) -> Toolbox:
        """Return the tools; resizer: that of a first frame."""
        resizer = resizer or self._state.resizer
        if resizer is None:
            raise PromptError(f"stream '{self.name}' has no frame yet; prompt when images come")
        return Toolbox(
            self.name, self._model, self._detector, self._config, resizer, self._stats,
            self._classes,
        )  # fmt: skip

    def _edit(self) -> StreamEdit:
        tools = replace(self._tools(), classes=self._classes.copy())
        return StreamEdit(tools, self._state)

    def _encoded(self, index: int) -> Frame:
        """Return a frame that a pass can reach, encoded."""
        frame = self._state.frame(self.name, index)
        if frame.features is None:
            frame = encode(self._model, self._stats, [frame])[0]
            self._holder.commit(self._state.with_frames([frame]))
        return frame

    def _commit_edit(self, state: StreamState, classes: ClassTable | None = None) -> None:
        """Take over a change that a pass under way does not know of; that pass restarts."""
        self._holder.commit(state)
        if classes is not None:
            self._classes.take_over(classes)
        self._runner.restart()

    def _commit_waiting(self, frame: Frame, state: StreamState) -> None:
        """Take over a frame that waits for its window; encode it with others if it is time."""
        waiting = [state.frames[i] for i in state.window[:-1] if state.frames[i].features is None]
        waiting.append(frame)
        if len(waiting) >= self._config.encode_batch:
            waiting = encode(self._model, self._stats, waiting)
        frame = waiting[-1]
        if frame.image is not None:
            waiting[-1] = replace(frame, image=frame.image.copy())  # cameras reuse their buffers
        self._holder.commit(state.with_frames(waiting))

    def _track_forward(self, frame: Frame, state: StreamState) -> list[FrameResult]:
        """Track a new frame forward; takes over the outcome only when all of it is there."""
        assert state.resizer is not None
        tools = self._tools(state.resizer)
        frame = encode(self._model, self._stats, [frame])[0]
        step = ForwardStep(tools, state, frame)
        with self._model.inference():
            step.track()
        [frame], failure = detect(tools, [frame])
        with self._model.inference():
            found = step.finish(frame)
            with self._stats.clock('masks'):
                result = revise(tools, frame, found, Vanished(), final=False)
        assert result is not None
        masks = found.published_masks() if self._config.early_stop_iou > 0 else {}
        state = state.with_frames([frame.with_result(result, masks)])
        self._stats.settle()  # before the commit: a GPU may report a failed kernel here
        ids, objects, dormant = step.ids, tuple(step.objects), tuple(step.dormant)
        self._holder.commit(replace(state, objects=objects, dormant=dormant, ids=ids.ids))
        self._stats.add(
            frames=1, published_frames=1, objects=ids.given, recalled_objects=ids.recalled)
        if failure:
            raise DetectorError(failure, [result])
        return [result]

    def _run_pass(self) -> list[FrameResult]:
        """Close a window, in one go."""
        return self._runner.run(self._tools())
