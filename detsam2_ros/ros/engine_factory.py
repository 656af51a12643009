# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine that the node's parameters ask for; no ROS in here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from detsam2_ros.engine import Engine, YoloDetector, default_device, load_sam2
from detsam2_ros.ros.parameters.declare import NodeParameters
from detsam2_ros.ros.threads import use_threads

_log = logging.getLogger(__name__)

EngineFactory = Callable[[NodeParameters], Engine]


def build_engine(parameters: NodeParameters) -> Engine:
    """Load the models and make the engine; logs what is loaded and how long that took.

    Call it on the thread that will run the engine. Raises EngineError with one sentence.
    """
    device = default_device() if parameters.device == 'auto' else parameters.device
    begin = time.monotonic()
    _log.info("loading SAM 2 '%s' on %s", parameters.sam2_model, device)
    model = load_sam2(
        parameters.sam2_model,
        parameters.sam2_config or None,
        device,
        None if parameters.dtype == 'auto' else parameters.dtype,
        parameters.quality,
    )
    _log.info(
        "SAM 2 '%s' is loaded: %d x %d pixels, %s, %.1f s",
        parameters.sam2_model, model.image_size, model.image_size,
        str(model.dtype).removeprefix('torch.'), time.monotonic() - begin,
    )
    threads = use_threads(parameters.cpu_threads, model.image_size)
    _log.info('the CPU computes on %d thread%s (cpu_threads)', threads, 's' * (threads > 1))
    detector = None
    if parameters.detector == 'yolo' and parameters.detector_model:
        begin = time.monotonic()
        _log.info("loading the detector '%s' on %s", parameters.detector_model, device)
        detector = YoloDetector(
            parameters.detector_model,
            classes=parameters.detector_classes or None,
            confidence=parameters.detector_confidence,
            iou=parameters.detector_iou,
            image_size=parameters.detector_image_size or None,
            device=device,
            half=parameters.detector_half and device != 'cpu',
        )
        _log.info(
            "the detector '%s' is loaded: %d classes, %.1f s",
            parameters.detector_model, len(detector.class_names), time.monotonic() - begin,
        )
    elif parameters.detector == 'topic':
        _log.info('detections come from another node (detector is topic)')
    else:
        why = 'detector is none' if parameters.detector == 'none' else 'detector_model is empty'
        _log.info('no detector (%s): memory banks and prompts alone are followed', why)
    return Engine(model, detector, parameters.engine)
