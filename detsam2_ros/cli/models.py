# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The engine for the options of a command line."""

from __future__ import annotations

import argparse

from detsam2_ros.cli.options import wanted_classes
from detsam2_ros.engine import Engine, EngineConfig, YoloDetector, default_device, load_sam2


def build_engine(given: argparse.Namespace, config: EngineConfig) -> Engine:
    """Load the models named by the options of `options.add_models`; raises EngineError."""
    device = given.device or default_device()
    model = load_sam2(given.sam2, config=given.sam2_config, device=device, dtype=given.dtype)
    detector = None
    if not given.no_detector:
        detector = YoloDetector(
            given.yolo,
            classes=wanted_classes(given.classes),
            confidence=given.confidence,
            device=device,
        )
    return Engine(model, detector, config)
