# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detector-prompted video segmentation that corrects the recent past; no ROS in here.

engine = Engine(load_sam2('demo'), YoloDetector('demo'), EngineConfig(window_size=10))
stream = engine.open_stream('front')
for result in stream.push(image, stamp): ...
"""

from detsam2_ros.engine.bank import BankEntry, MemoryBank
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.core import Engine
from detsam2_ros.engine.detection import Detections, Detector
from detsam2_ros.engine.errors import (
    BankError,
    ConfigError,
    DetectorError,
    EngineError,
    ImageError,
    ModelError,
    PromptError,
    WindowError,
)
from detsam2_ros.engine.models import default_device, load_sam2
from detsam2_ros.engine.prompts import LateDetections, Prompt, Prompted
from detsam2_ros.engine.results import FrameResult, Object
from detsam2_ros.engine.stats import Stats
from detsam2_ros.engine.stream import Stream
from detsam2_ros.engine.yolo import YoloDetector

__all__ = [
    'BankEntry',
    'BankError',
    'ConfigError',
    'Detections',
    'Detector',
    'DetectorError',
    'Engine',
    'EngineConfig',
    'EngineError',
    'FrameResult',
    'LateDetections',
    'ImageError',
    'MemoryBank',
    'ModelError',
    'Object',
    'Prompt',
    'PromptError',
    'Prompted',
    'Stats',
    'Stream',
    'WindowError',
    'YoloDetector',
    'default_device',
    'load_sam2',
]
