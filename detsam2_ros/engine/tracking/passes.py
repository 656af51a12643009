# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Closing the windows of a stream, part by part, so that frames may come in between."""

from __future__ import annotations

import torch

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.bank_objects import look_for_bank
from detsam2_ros.engine.tracking.corrections import publish_frame
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.identity import Names
from detsam2_ros.engine.tracking.intake import Intake
from detsam2_ros.engine.tracking.reverse import Steps
from detsam2_ros.engine.tracking.state import StreamState
from detsam2_ros.engine.tracking.window import WindowRun
from detsam2_ros.results.errors import DetectorError
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


class Closing:
    """Closes one window after the other, the oldest first."""

    def __init__(
        self, name: str, model: Sam2Model, intake: Intake, stats: StatsRecorder, state: StreamState
    ):
        self._name = name
        self._model = model
        self._intake = intake
        self._stats = stats
        self._state = state
        self._steps: Steps[list[FrameResult]] | None = None
        self._begun: list[Frame] = []  # the frames of the window that they close

    @property
    def begun(self) -> int:
        """How many frames the window has that is being closed, 0 between two windows."""
        return len(self._begun)

    def advance(self, config: EngineConfig) -> list[FrameResult] | None:
        """Do a part, about one frame of a pass; returns the window's results after its last part.

        The state is as before until then. Raises DetectorError with the results, or anything
        else: then the window was not closed, and the next call begins with it anew. config:
        holds for the window that begins.
        """
        if self._steps is None:
            # More than K wait only when one failed, or frames came meanwhile; each closes alone.
            self._begun = self._state.window[: config.window_size]
            self._steps = self._close(self._begun, config)
        try:
            next(self._steps)
        except StopIteration as end:
            self.begin_anew()
            results: list[FrameResult] = end.value
            return results
        except BaseException:
            self.begin_anew()
            raise
        return None

    def begin_anew(self) -> None:
        """Drop what was done of a window."""
        self._steps, self._begun = None, []

    def _close(self, window: list[Frame], config: EngineConfig) -> Steps[list[FrameResult]]:
        state = self._state
        if not window:  # a pass for what came late, from the newest frame of the last window
            window = [state.frames[max(state.frames)]]
        newest = window[-1].index
        assert state.composer is not None
        self._intake.encode([frame for frame in window if frame.features is None])
        failure = self._intake.detect(window, state.composer)
        run = WindowRun(
            model=self._model,
            config=config,
            composer=state.composer,
            stats=self._stats,
            class_names=self._intake.class_names,
            frames=dict(state.frames),
            window=window,
            objects=state.objects,
            frames_seen=newest + 1,
            # Frames promised to be final stay so, also when this window closed early.
            oldest=max(newest - config.max_propagation + 1, state.horizon, 0),
        )
        yield from self._inside(run.steps())
        names = state.names()
        horizon = max(state.horizon, newest + config.window_size - config.max_propagation + 1, 0)
        with self._stats.clock('masks'), self._model.inference():
            run.finish(state.objects, names)
            published = [
                publish_frame(
                    self._name,
                    state.frames[index],
                    found,
                    run.merged_ids | state.gone,
                    state.composer,
                    config.correction_iou,
                    final=index < horizon,
                )
                for index, found in run.masks.items()
            ]
        results = [result for result in published if result is not None]
        self._take_over(run, names, results, horizon)
        if failure:
            raise DetectorError(failure, results)
        return results

    def _inside(self, steps: Steps[None]) -> Steps[None]:
        """Do each part inside `Sam2Model.inference()`, and nothing that happens between them."""
        while True:
            with self._model.inference():
                try:
                    next(steps)
                except StopIteration:
                    return
            yield

    def _take_over(
        self, run: WindowRun, names: Names, results: list[FrameResult], horizon: int
    ) -> None:
        """Make a window's outcome the state of the stream, and drop what is out of reach."""
        state = self._state
        for result in results:
            state.note(result)
        if run.config.early_stop_iou > 0:
            for index, found in run.masks.items():
                state.frames[index].settled |= found.settled()
        state.objects = run.objects
        state.ids = names.ids
        state.horizon = horizon
        state.window = state.window[len(self._begun) :]
        state.frames = {index: f for index, f in state.frames.items() if index >= horizon}
        # Ids that went into others still show on frames that came since; the next pass cleans up.
        state.gone = (state.gone | run.merged_ids) & state.shown_ids()
        reach = horizon
        if run.config.mode == 'online':  # forward tracking reads passing memories too
            reach = min(reach, run.newest + 2 - self._model.module.max_obj_ptrs_in_encoder)
        for entry in state.objects:
            entry.forget(run.config.max_conditioned_memories, reach, run.newest)
        look_for_bank(state.bank, state.objects, self._model.device)
        first = sum(result.revision == 0 for result in results)
        self._stats.add(
            published_frames=first, corrections=len(results) - first, objects=names.given
        )
        self._stats.settle()
