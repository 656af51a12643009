# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What is made of a frame's image, once: features for SAM 2, and the detector's boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import encode_image
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.detections import Detections, usable


def encode(model: Sam2Model, stats: StatsRecorder, frames: Sequence[Frame]) -> list[Frame]:
    """Return frames with their features, which are made in one batch where they are missing."""
    images = [frame.image for frame in frames if frame.features is None]
    if not images:
        return list(frames)
    with model.inference(), stats.clock('encode'):
        batch = torch.stack([model.preprocess(image) for image in images if image is not None])
        features = iter(encode_image(model, batch))
    stats.add(encodings=len(images))
    return [
        frame
        if frame.features is not None
        else replace(
            frame, features=next(features), image=frame.image if frame.is_detection_frame else None
        )
        for frame in frames
    ]


def detect(tools: Toolbox, frames: Sequence[Frame]) -> tuple[list[Frame], str | None]:
    """Run the detector on the detection frames that it has not seen, as one batch.

    Returns the frames with their detections, and what went wrong, if something did. A detector
    that fails has found nothing, and is not asked again.
    """
    new = [frame for frame in frames if frame.is_detection_frame and frame.detections is None]
    if not new or tools.detector is None:
        return list(frames), None
    stats, failure, answered = tools.stats, None, len(new)
    images = [frame.image for frame in new if frame.image is not None]
    try:
        with stats.clock('detect'):
            found = _checked(tools.detector.detect(images), len(images))
    except Exception as error:  # any detector may be used, and none may stop the stream
        found, answered = [Detections.empty() for _ in new], 0
        stats.add(detector_failures=1)
        text = ' '.join(str(error).split())  # on one line: runtimes put the sizes on later ones
        failure = (
            f"stream '{tools.stream}': the detector failed on frames "
            f'{", ".join(str(f.index) for f in new)} ({type(error).__name__}: {text:.400}); '
            f'they were tracked without it'
        )
    seen: dict[int, Frame] = {}
    for frame, detections in zip(new, found, strict=True):
        kept, rejected = usable(detections, *tools.resizer.size)
        seen[frame.index] = replace(frame, detections=kept, image=None, searched=failure is None)
        stats.add(detections=len(detections), rejected_detections=rejected)
    stats.add(detector_frames=answered)
    return [seen.get(frame.index, frame) for frame in frames], failure


def _checked(found: object, count: int) -> list[Detections]:
    """Return a detector's answer if it is one Detections an image, else raise ValueError."""
    if not isinstance(found, (list, tuple)) or not all(isinstance(d, Detections) for d in found):
        raise ValueError(f'detect must return a list of Detections, got {type(found).__name__}')
    if len(found) != count:
        raise ValueError(f'detect returned {len(found)} Detections for {count} images')
    return list(found)
