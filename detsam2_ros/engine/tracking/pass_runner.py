# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Closing the windows of a stream, part by part, so that frames may come in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.tracking.bank_objects import look_for_bank
from detsam2_ros.engine.tracking.corrections import Vanished, revise
from detsam2_ros.engine.tracking.dormant import asleep
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.ids import IdAssigner
from detsam2_ros.engine.tracking.intake import detect, encode
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.reverse_pass import Steps
from detsam2_ros.engine.tracking.state import StateHolder, StreamState
from detsam2_ros.engine.tracking.tentative import decides_in_time, seen_to_decide
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.engine.tracking.window_pass import WindowPass
from detsam2_ros.results.errors import DetectorError, EngineError
from detsam2_ros.results.frames import FrameResult


class Pace:
    """Keeps a GPU from lagging by many parts behind the thread that asks for them.

    Kernels are queued at once and run later: a frame that comes would wait for all of a pass.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._last: torch.cuda.Event | None = None

    def keep(self) -> None:
        """Wait for the end of what was queued before the last call; a CPU never lags."""
        if self._device.type != 'cuda':
            return
        now = torch.cuda.Event()
        now.record(torch.cuda.current_stream(self._device))
        if self._last is not None:
            self._last.synchronize()
        self._last = now


def full(stream: str, waiting: int, reason: str = 'or was not closed') -> EngineError:
    """Return the error of a stream that takes no frame, as too many wait for their window."""
    return EngineError(
        f"stream '{stream}': {waiting} frames wait because their window failed each time "
        f'{reason}; step until nothing is due, flush to see why, or reset to drop them'
    )


def first_window(waiting: Sequence[int], config: EngineConfig) -> tuple[int, ...]:
    """Return the frames of the first window that is full, () where none is.

    waiting: indices, ascending. An aligned window ends with a frame whose index is a multiple of
    K: the first has one frame, each other has K, and fewer after one that was closed early.
    """
    if not waiting:
        return ()
    count = config.window_size
    if config.windows == 'aligned':
        count = -waiting[0] % count + 1
    return tuple(waiting[:count]) if len(waiting) >= count else ()


@dataclass(frozen=True)
class Backlog:
    """What a stream has still to do."""

    tags: tuple[Any, ...]  # of the frames whose window is not closed, oldest first
    due: bool  # a window is full, or `step` has begun with one
    begun: bool  # `step` has begun with a window; what it did is lost when a bank is swapped
    must_close_first: bool  # with the next frame K would wait behind the window that is closed
    corrections: bool  # prompts, late detections or removals wait for a pass

    @property
    def frames(self) -> int:
        """How many frames wait for their window to close."""
        return len(self.tags)


class PassRunner:
    """Closes one window after the other, the oldest first."""

    def __init__(self, holder: StateHolder):
        self._holder = holder
        self._steps: Steps[list[FrameResult]] | None = None
        self.window: tuple[int, ...] = ()  # the frames of the window that is being closed

    def backlog(self, config: EngineConfig) -> Backlog:
        """Return what is still to do."""
        state, begun = self._holder.state, len(self.window)
        closing = begun or len(first_window(state.window, config))
        left = len(state.window) + 1 - closing  # with the next frame
        return Backlog(
            tags=tuple(state.frames[index].tag for index in state.window),
            due=closing > 0,
            begun=begun > 0,
            must_close_first=closing > 0 and left >= config.window_size,
            corrections=state.has_unread_prompts,
        )

    def advance(self, tools: Toolbox, pace: Pace | None = None) -> list[FrameResult] | None:
        """Do a part, about one frame of a pass; returns the window's results after its last part.

        The stream's objects and masks are as before until then. Raises DetectorError with the
        results, or anything else: then the window was not closed, and the next call begins with
        it anew. tools: hold for the window that begins. pace: kept between the parts.
        """
        if self._steps is None:
            # More than K wait only when one failed, or frames came meanwhile; each closes alone.
            waiting = self._holder.state.window
            window = first_window(waiting, tools.config) or waiting
            self._steps, self.window = self._close(window, tools), window
        try:
            next(self._steps)
            # Not after the last part: a GPU may report a failed kernel here, and results that are
            # committed must come out.
            if pace is not None:
                pace.keep()
        except StopIteration as end:
            self.restart()
            results: list[FrameResult] = end.value
            return results
        except BaseException:
            self.restart()
            raise
        return None

    def run(self, tools: Toolbox) -> list[FrameResult]:
        """Do all parts of a window's pass; returns and raises what `advance` does."""
        results = None
        while results is None:
            results = self.advance(tools)
        return results

    def make_room(self, tools: Toolbox) -> list[FrameResult]:
        """Close the oldest window; EngineError, with the reason, where that fails once more."""
        try:
            return self.run(tools)
        except DetectorError:
            raise
        except Exception as error:
            reason = f'({type(error).__name__}: {error})'
            raise full(tools.stream, len(self._holder.state.window), reason) from error

    def restart(self) -> None:
        """Drop what was done of a window."""
        self._steps, self.window = None, ()

    def _close(self, window: tuple[int, ...], tools: Toolbox) -> Steps[list[FrameResult]]:
        frames, failure = self._prepare(window, tools)
        state = self._holder.state
        newest = frames[-1].index
        run = WindowPass(
            tools=tools,
            frames=state.frames,
            window=frames,
            objects=list(state.objects),
            dormant=list(state.dormant),
            # Frames promised to be final stay so, also when this window closed early.
            oldest=max(newest - tools.config.max_propagation + 1, state.horizon, 0),
        )
        yield from _inside_inference(tools, run.steps())
        results = self._finish(run, len(window), tools)
        if failure:
            raise DetectorError(failure, results)
        return results

    def _prepare(self, window: tuple[int, ...], tools: Toolbox) -> tuple[list[Frame], str | None]:
        """Return the window's frames, encoded and detected on, and what the detector failed at.

        What was computed of a frame is kept when the pass fails, so that it is computed once.
        """
        state = self._holder.state
        if not window:  # a pass for what came late, from the newest frame of the last window
            return [state.frames[max(state.frames)]], None
        frames = encode(tools.model, tools.stats, [state.frames[index] for index in window])
        self._holder.commit(state.with_frames(frames))
        frames, failure = detect(tools, frames)
        self._holder.commit(self._holder.state.with_frames(frames))
        return frames, failure

    def _finish(self, run: WindowPass, closed: int, tools: Toolbox) -> list[FrameResult]:
        """Bring a pass together with what came meanwhile, and commit both.

        closed: how many frames of the window have masks now.
        """
        state, config = self._holder.state, tools.config
        ids = state.id_assigner()
        horizon = max(state.horizon, run.newest + config.window_size - config.max_propagation + 1)
        results, frames = {}, []
        if tools.detector is not None:
            decides = decides_in_time(config, config.detect_interval)
        else:
            searched = [index for index in sorted(run.masks) if state.frames[index].searched]
            decides = seen_to_decide(config, searched, run.newest)
        with tools.stats.clock('masks'), tools.model.inference():
            run.finish(state.objects, ids)
            if decides:
                run.withdraw_retired()
            sure = run.confirmed_ids() | {obj.id for obj in state.dormant}
            for index, masks in run.masks.items():
                frame, final = state.frames[index], index < horizon
                gone = self._vanished(run, index, final and decides)
                result = revise(tools, frame, masks, gone, final, sure)
                if result is not None:
                    results[index] = result
                settled = masks.published_masks() if config.early_stop_iou > 0 else {}
                frames.append(frame.with_result(result, settled))
        tools.stats.settle()  # before the commit: a GPU may report a failed kernel here
        self._holder.commit(
            self._taken_over(state.with_frames(frames), run, ids, max(horizon, 0), closed)
        )
        first = sum(result.revision == 0 for result in results.values())
        tools.stats.add(
            published_frames=first,
            corrections=len(results) - first,
            objects=ids.given,
            recalled_objects=ids.recalled,
            withdrawn_objects=len(run.withdrawn_ids),
        )
        return list(results.values())

    def _dormant(self, run: WindowPass) -> tuple[TrackedObject, ...]:
        """Return who is dormant after a pass; other steps may have recalled some meanwhile."""
        left = {obj.serial for obj in run.dormant}
        dormant = [obj for obj in self._holder.state.dormant if obj.serial in left]
        return asleep(dormant, run.retired, run.tools.config)

    def _vanished(self, run: WindowPass, index: int, decided: bool) -> Vanished:
        """Return which ids vanish from frame `index`; decided: tentative ones do.

        No later pass can take these back, and the next one may find that they stand for nothing.
        """
        state, other = self._holder.state, set(run.merged_ids)
        other |= {id_ for id_, first in run.lost_since.items() if index >= first}
        other |= {id_ for id_, span in state.lost.items() if index in span}
        if decided:
            other |= {obj.id for obj in run.objects if obj.id is not None and not obj.confirmed}
        return Vanished(
            withdrawn=run.withdrawn_ids | state.withdrawn_ids,
            other=other | state.merged_or_removed_ids,
        )

    def _taken_over(
        self, state: StreamState, run: WindowPass, ids: IdAssigner, horizon: int, closed: int
    ) -> StreamState:
        """Return a state with a window's outcome, and without what is out of reach."""
        config, model = run.tools.config, run.tools.model
        reach = horizon
        if config.mode == 'online':  # forward tracking reads non-conditioning memories too
            reach = min(reach, run.newest + 2 - model.module.max_obj_ptrs_in_encoder)
        for obj in run.objects:
            obj.forget(config.max_conditioned_memories, reach, run.newest)
        former = run.retired if config.max_dormant_objects else ()
        state = replace(
            state,
            ids=ids.ids,
            horizon=horizon,
            frames={index: f for index, f in state.frames.items() if index >= horizon},
            window=state.window[closed:],
            objects=look_for_bank(state.bank, run.objects, model.device, former=former),
            dormant=self._dormant(run),
        )
        # Ids that went into others still show on frames that came since; the next pass cleans up.
        shown = state.shown_ids()
        # A lost object still shows on those; and a pass that follows it back from where it returns
        # is lost there again.
        end = max((i for i, frame in state.frames.items() if frame.published), default=-1) + 1
        lost = {**state.lost, **{id_: range(at, end) for id_, at in run.lost_since.items()}}
        return replace(
            state,
            lost={id_: span for id_, span in lost.items() if span.stop > horizon},
            merged_or_removed_ids=(state.merged_or_removed_ids | run.merged_ids) & shown,
            withdrawn_ids=(state.withdrawn_ids | run.withdrawn_ids) & shown,
        )


def _inside_inference(tools: Toolbox, steps: Steps[None]) -> Steps[None]:
    """Do each part inside `Sam2Model.inference()`, and nothing that happens between them."""
    while True:
        with tools.model.inference():
            try:
                next(steps)
            except StopIteration:
                return
        yield
