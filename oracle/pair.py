# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine and the reference side by side, window by window."""

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from detsam2_ros.engine.bank.bank import MemoryBank
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.sam2.load import load_sam2
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.window_pass import WindowPass
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.frames import FrameResult
from oracle import configs, random_sam2
from oracle.driver import Name, Oracle, build_predictor

# Boxes by class, by detection frame: one object per class makes every prompt known.
Script = Mapping[int, Mapping[int, Sequence[float]]]


@functools.cache
def random_models(
    kind: str, seed: int, image_size: int = 128
) -> tuple[Sam2Model, SAM2VideoPredictor]:
    """Return a random model as the engine loads it, and the predictor of the same weights."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, _ = random_sam2.save(Path(folder), kind, seed, image_size)
        model = load_sam2(checkpoint)
        weights = torch.load(checkpoint, weights_only=True)['model']
    return model, build_predictor(configs.config(kind, image_size), weights)


class ScriptedDetector:
    """A detector that knows the boxes; it must be shown every detection frame, in order."""

    def __init__(self, script: Script, interval: int):
        classes = sorted({class_id for boxes in script.values() for class_id in boxes})
        self.class_names = {class_id: f'class {class_id}' for class_id in classes}
        self.shown = 0
        self._script = script
        self._interval = interval

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return the boxes of the next detection frames."""
        found = []
        for _ in images:
            boxes = self._script.get(self.shown * self._interval, {})
            self.shown += 1
            found.append(Detections(list(boxes.values()), list(boxes), [0.9] * len(boxes)))
        return found


@dataclass(frozen=True)
class Seen:
    """One object on one frame after one window, by the engine and by the oracle.

    logits: float32 [S/4, S/4]. iou: of the published mask with the oracle's.
    """

    newest: int
    frame: int
    name: Name
    prompted: bool
    engine: torch.Tensor
    oracle: torch.Tensor
    iou: float

    @property
    def visible(self) -> bool:
        """Whether the oracle says that the object is there."""
        return bool((self.oracle > -1000).any())


class Pair:
    """A stream and the oracle side by side, compared after every window.

    Objects are named by their id, those of a memory bank by their first key. left_out: how often
    a pass that stopped early did not track an object that the oracle tracked.
    """

    def __init__(self, engine: Engine, predictor: SAM2VideoPredictor, script: Script):
        self.engine = engine
        self.stream = engine.open_stream('pair')
        self.predictor = predictor
        self.oracle: Oracle | None = None
        self.seen: list[Seen] = []
        self.left_out = 0
        self.published: dict[int, FrameResult] = {}
        self._script = script
        self._window: list[int] = []
        self._bank: MemoryBank | None = None
        self._name_of: dict[int, Name] = {}
        self._found: dict[int, dict[Name, torch.Tensor]] = {}

    def load_bank(self, bank: MemoryBank) -> None:
        """Give both a memory bank, before the first frame."""
        self.stream.load_bank(bank)
        self._bank = bank

    def push(self, image: np.ndarray) -> None:
        """Give both a frame; where that closes a window, compare."""
        self._append(image)
        horizon = self.stream.horizon
        self._settle(self._closing(self.stream.push, image, self.oracle.newest), horizon)

    def _append(self, image: np.ndarray) -> None:
        first = self.oracle is None
        if first:
            self.oracle = Oracle(self.predictor, *image.shape[:2])
        self.oracle.append(self.engine.model.preprocess(image))
        if first and self._bank is not None:
            for entry in self._bank.entries:
                self.oracle.remember(entry.object_key, [entry.memory])
        self._window.append(self.oracle.newest)

    def flush(self) -> None:
        horizon = self.stream.horizon
        self._settle(self._closing(self.stream.flush), horizon)

    def _closing(self, call: Callable[..., list[FrameResult]], *args: Any) -> list[FrameResult]:
        """Make a call, and note the logits of the window that it closes."""
        finish = WindowPass.finish

        def noting(window: WindowPass, *args: Any) -> None:
            finish(window, *args)
            self._found = {
                frame: {name_of(obj): own.logits for obj, own in masks.found.items()}
                for frame, masks in window.masks.items()
            }
            for obj in window.objects:
                self._name_of[obj.id] = name_of(obj)

        self._found = {}
        with mock.patch.object(WindowPass, 'finish', noting):
            return call(*args)

    def _settle(self, results: list[FrameResult], horizon: int) -> None:
        self.published.update({result.index: result for result in results})
        if not self._found:
            return
        interval = self.engine.config.detect_interval
        for frame in self._window:
            boxes = self._script.get(frame, {}) if interval and frame % interval == 0 else {}
            prompted = [o for o in self.published[frame].objects if o.conditioned]
            assert sorted(o.class_id for o in prompted) == sorted(boxes), (frame, prompted)
            for shown in prompted:
                self.oracle.prompt(self._name_of[shown.id], frame, boxes[shown.class_id])
        self._window.clear()
        self._attend(self.oracle)
        newest = self.oracle.newest
        # Frames that the engine promised to be final are out of reach, however short the window.
        oldest = max(newest - self.engine.config.max_propagation + 1, horizon, 0)
        self._run_pass(newest, oldest)

    def _run_pass(self, newest: int, oldest: int) -> None:
        for frame, expected in self.oracle.propagate(newest - oldest + 1).items():
            self._compare(newest, frame, expected)

    def _attend(self, oracle: Oracle) -> None:
        """Let an oracle attend to the conditioned frames that the engine chose."""
        for object_id, name in self._name_of.items():
            if object_id is not None:
                oracle.attended[name] = set(self.stream.conditioned_frames(object_id))

    def _compare(self, newest: int, frame: int, expected: dict[Name, torch.Tensor]) -> None:
        """Compare a frame after the window that ends with `newest`."""
        self.seen += self._comparison(
            newest, self.oracle, self._found[frame], self.published[frame], expected)

    def _comparison(
        self, newest: int, oracle: Oracle, found: dict[Name, torch.Tensor],
        result: FrameResult, expected: dict[Name, torch.Tensor],
    ) -> list[Seen]:
        frame = result.index
        if self.engine.config.early_stop_iou:  # then passes leave out what they need not track
            self.left_out += len(expected.keys() - found.keys())
            expected = {name: logits for name, logits in expected.items() if name in found}
        elif self.engine.config.mode == 'online':  # a pass that finds nothing may leave a mask
            expected = {
                name: logits for name, logits in expected.items()
                if name in found or (logits > 0).any()
            }  # fmt: skip
        assert found.keys() == expected.keys(), (newest, frame, found.keys(), expected.keys())
        masks = {self._name_of[shown.id]: shown.mask.pixels() for shown in result.objects}
        seen = []
        for name, logits in expected.items():
            mask = oracle.masks(logits).cpu().numpy()
            seen.append(Seen(
                newest=newest, frame=frame, name=name,
                prompted=frame in oracle.conditioned(name),
                engine=found[name].float().cpu(), oracle=logits.cpu(),
                iou=mask_iou(masks.get(name, np.zeros_like(mask)), mask),
            ))
        return seen


def name_of(obj: TrackedObject) -> Name | None:
    """Return what an object is called: its key in a memory bank, else its id."""
    return obj.bank.keys[0] if obj.bank.keys else obj.id


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return the IoU of two masks, bool [H, W]; two empty ones agree."""
    either = np.count_nonzero(a | b)
    return 1.0 if not either else np.count_nonzero(a & b) / either
