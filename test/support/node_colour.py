# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The node with an engine that segments by colour, exactly and fast; run it like the real one.

SAM 2 is fakes.colour_sam2, the detector finds the colours of COLOURS, each with its score. The
test that starts it can hold it, slow it down and make it fail: see node_control.
"""

import faulthandler
import sys
from collections.abc import Sequence
from typing import Any

import fakes
import numpy as np
from node_control import COMPRESSING, DETECTING, DRAWING, ENCODING, LOADING, PASSING, Control

from detsam2_ros.engine import Detections, Engine, EngineConfig
from detsam2_ros.engine.sam2.model import ModelIdentity, Sam2Model

# Score with which each colour is found: all but the last two start objects by default.
SCORES = {'red': 0.9, 'green': 0.9, 'blue': 0.8, 'yellow': 0.7, 'cyan': 0.4, 'magenta': 0.3}
COLOURS = tuple(SCORES)


class ScoredColourDetector:
    """Finds a box around each colour, class i = i-th colour, unless its score is too low."""

    def __init__(self, confidence: float, control: Control | None = None):
        self.class_names = dict(enumerate(COLOURS))
        self.confidence = confidence
        self._control = control

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        if self._control is not None:
            self._control.reach(DETECTING)
        return [
            fakes.detections([
                (i, box, SCORES[name]) for i, name in self.class_names.items()
                if SCORES[name] >= self.confidence
                and (box := fakes.colour_box(image, name)) is not None
            ])
            for image in images
        ]


class _ControlledModel(Sam2Model):
    """A Sam2Model whose images are encoded when the test lets them be."""

    control: Control | None = None

    def preprocess(self, image: np.ndarray) -> Any:
        if self.control is not None:
            self.control.reach(ENCODING)
        return super().preprocess(image)


def colour_engine(
    config: EngineConfig, confidence: float = 0.25, detecting: bool = True,
    control: Control | None = None,
) -> Engine:
    """Make the engine that the node below runs, to compare with: the same frames, same masks."""
    made = fakes.colour_sam2()
    model = _ControlledModel(made.module, made.name, made.device, made.dtype)
    model.control = control
    detector = ScoredColourDetector(confidence, control) if detecting else None
    return Engine(model, detector, config)


def identity() -> ModelIdentity:
    """Return the identity of the model, for banks made without a node."""
    return fakes.colour_sam2().identity


def engine_factory(parameters: Any) -> Engine:
    control = Control.of_environment()
    if control is not None:
        control.reach(LOADING)
    return colour_engine(
        parameters.engine,
        parameters.detector_confidence,
        parameters.detector == 'yolo' and bool(parameters.detector_model),
        control,
    )


def count_drawings(control: Control) -> None:
    """Let the control count the overlays that are drawn and the masks that are compressed."""
    from detsam2_ros.ros import camera

    def counted(place: str, work: Any) -> Any:
        def counting(*arguments: Any) -> Any:
            control.count(place)
            return work(*arguments)

        return counting

    camera.draw_overlay = counted(DRAWING, camera.draw_overlay)
    camera.compressed_labels = counted(COMPRESSING, camera.compressed_labels)
    camera.compressed_correction = counted(COMPRESSING, camera.compressed_correction)


def control_passes(control: Control) -> None:
    """Let the test hold and slow down each part of closing a window."""
    from detsam2_ros.engine.tracking.pass_runner import PassRunner

    advance = PassRunner.advance

    def controlled(runner: PassRunner, *arguments: Any) -> Any:
        control.reach(PASSING)
        return advance(runner, *arguments)

    PassRunner.advance = controlled  # type: ignore[method-assign]


def skip_cv_bridge_trial() -> None:
    """Take cv_bridge for usable: the trial, tested elsewhere, is half a second of each start."""
    from detsam2_ros.ros import images

    images._cv_bridge_problem = str  # as a function without arguments: ''


if __name__ == '__main__':
    from detsam2_ros.ros.node import run

    faulthandler.enable()
    skip_cv_bridge_trial()
    if (ordered := Control.of_environment()) is not None:
        count_drawings(ordered)
        control_passes(ordered)
    run(sys.argv[1:], engine_factory)
