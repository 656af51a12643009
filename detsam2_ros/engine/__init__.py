# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detector-prompted video segmentation that corrects the recent past; no ROS in here.

engine = Engine(load_sam2('demo'), YoloDetector('demo'), EngineConfig(window_size=10))
stream = engine.open_stream('front')
for result in stream.push(image, stamp): ...
"""

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.engine.detector.yolo import YoloDetector
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.finals import finals
from detsam2_ros.engine.sam2.load import default_device, load_sam2
from detsam2_ros.engine.sam2.prompts import Prompt
from detsam2_ros.engine.stats import Stats
from detsam2_ros.engine.stream import Stream
from detsam2_ros.results.detections import Detections, LateDetections
from detsam2_ros.results.errors import (
    BankError,
    ConfigError,
    DetectorError,
    EngineError,
    ImageError,
    ModelError,
    PromptError,
    WindowError,
)
from detsam2_ros.results.frames import FrameResult, Object, ObjectState, Prompted

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
    'ObjectState',
    'Prompt',
    'PromptError',
    'Prompted',
    'Stats',
    'Stream',
    'WindowError',
    'YoloDetector',
    'default_device',
    'finals',
    'load_sam2',
]
