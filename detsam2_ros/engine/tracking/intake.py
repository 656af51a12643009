# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is made of a frame's image, once: features for SAM 2, and the detector's boxes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from detsam2_ros.engine.detector.classes import ClassTable
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.sam2.steps import encode_image
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.results.detections import Detections, usable


class Intake:
    """Encodes a stream's images and shows them to the detector; then it lets go of them."""

    def __init__(
        self,
        stream: str,
        model: Sam2Model,
        detector: Detector | None,
        stats: StatsRecorder,
        classes: ClassTable,
    ):
        self._stream = stream
        self._model = model
        self._detector = detector
        self._stats = stats
        self.classes = classes

    @property
    def class_names(self) -> dict[int, str]:
        """The detector's classes, and those that were added."""
        return self.classes.names

    @property
    def detects(self) -> bool:
        """Whether there is a detector."""
        return self._detector is not None

    def is_detection_frame(self, index: int, interval: int) -> bool:
        """Tell whether the detector is to see a frame; interval 0 = never."""
        return self._detector is not None and interval > 0 and index % interval == 0

    def encode(self, frames: Sequence[Frame]) -> None:
        """Give frames their features, in one batch."""
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

    def detect(self, window: Sequence[Frame], composer: Composer) -> str | None:
        """Run the detector on detection frames it has not seen; returns what went wrong, if so.

        A detector that fails has found nothing, and is not asked again.
        """
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
                f"stream '{self._stream}': the detector failed on frames "
                f'{", ".join(str(f.index) for f in frames)} ({type(error).__name__}: {error}); '
                f'they were tracked without it'
            )
        for frame, detections in zip(frames, found, strict=True):
            frame.detections, rejected = usable(detections, composer.height, composer.width)
            frame.image = None
            self._stats.add(detections=len(detections), rejected_detections=rejected)
        self._stats.add(detector_frames=len(frames))
        return failure


def _checked(found: object, count: int) -> list[Detections]:
    """Return a detector's answer if it is one Detections an image, else raise ValueError."""
    if not isinstance(found, (list, tuple)) or not all(isinstance(d, Detections) for d in found):
        raise ValueError(f'detect must return a list of Detections, got {type(found).__name__}')
    if len(found) != count:
        raise ValueError(f'detect returned {len(found)} Detections for {count} images')
    return list(found)
