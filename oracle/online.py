# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A stream in mode online beside two oracles: one goes forward only, one runs the passes."""

from unittest import mock

import numpy as np
import torch

from detsam2_ros.engine.tracking.forward_step import ForwardStep
from detsam2_ros.engine.tracking.frame_masks import FrameMasks
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.window_pass import WindowPass
from detsam2_ros.results.frames import FrameResult
from oracle.driver import Name, Oracle
from oracle.pair import Pair, Seen, name_of


class OnlinePair(Pair):
    """As `Pair`; `forward` compares revisions 0, `seen` what the passes found."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.forward: list[Seen] = []
        self._ahead: Oracle | None = None
        self._unread: list[Name] = []

    def push(self, image: np.ndarray) -> None:
        """Give all a frame; compare it, and the window where that closes one."""
        self._append(image)
        if self._ahead is None:
            self._ahead = Oracle(self.predictor, *image.shape[:2])
        self._ahead.append(self.engine.model.preprocess(image))
        if self._ahead.newest == 0 and self._bank is not None:
            for entry in self._bank.entries:
                self._ahead.remember(entry.object_key, [entry.memory], ahead=True)
        (result,), found = self._take(image)
        self._compare_forward(result, found)
        self.published[result.index] = result
        horizon = self.stream.horizon
        while self.stream.backlog.due:
            self._settle(self._closing(self.stream.step), horizon)

    def _run_pass(self, newest: int, oldest: int) -> None:
        # Each object that was prompted in the window is tracked back from its newest prompt.
        if not self._unread:
            return
        self.oracle.forget_tracked()
        starts = {name: max(self.oracle.conditioned(name)) for name in self._unread}
        for start in set(starts.values()):
            self.oracle.forget_tracked()
            for frame, expected in self.oracle.propagate(start - oldest + 1, start).items():
                found = {n: logits for n, logits in expected.items() if starts.get(n) == start}
                self._compare(newest, frame, found)

    def _closing(self, call, *args):
        """Make a call, and note which objects the pass of the window that it closes tracks."""
        to_be_tracked = WindowPass._to_be_tracked

        def noting(window: WindowPass) -> list[TrackedObject]:
            objects = to_be_tracked(window)
            self._unread = [name_of(obj) for obj in objects]
            return objects

        with mock.patch.object(WindowPass, '_to_be_tracked', noting):
            return super()._closing(call, *args)

    def _compare(self, newest: int, frame: int, expected: dict[Name, torch.Tensor]) -> None:
        found = {n: logits for n, logits in self._found[frame].items() if n in expected}
        result = self.published[frame]
        self.seen += self._comparison(newest, self.oracle, found, result, expected)

    def _take(self, image: np.ndarray) -> tuple[list[FrameResult], dict[Name, torch.Tensor]]:
        logits: dict[Name, torch.Tensor] = {}
        finish = ForwardStep.finish

        def noting(step: ForwardStep, frame: Frame) -> FrameMasks:
            found = finish(step, frame)
            for obj, own in found.found.items():
                logits[name_of(obj)] = own.logits
                self._name_of[obj.id] = name_of(obj)
            return found

        with mock.patch.object(ForwardStep, 'finish', noting):
            return self.stream.add(image, self.oracle.newest), logits

    def _compare_forward(self, result: FrameResult, found: dict[Name, torch.Tensor]) -> None:
        assert result.revision == 0
        interval = self.engine.config.detect_interval
        asked = interval and result.index % interval == 0
        boxes = self._script.get(result.index, {}) if asked else {}
        prompted = [shown for shown in result.objects if shown.conditioned]
        assert sorted(shown.class_id for shown in prompted) == sorted(boxes)
        for shown in prompted:
            box = boxes[shown.class_id]
            self._ahead.prompt(self._name_of[shown.id], result.index, box)
        self._attend(self._ahead)
        expected = self._ahead.track()
        self.forward += self._comparison(result.index, self._ahead, found, result, expected)
