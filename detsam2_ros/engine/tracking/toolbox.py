# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What every step of a stream works with, handed over as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.detector.classes import ClassTable
from detsam2_ros.engine.detector.protocol import Detector
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.stats import StatsRecorder


@dataclass(frozen=True)
class Toolbox:
    """The tools of one stream, with its parameters as of now; holds nothing of its frames."""

    stream: str  # its name, for messages
    model: Sam2Model
    detector: Detector | None
    config: EngineConfig
    resizer: MaskResizer  # to the stream's image size
    stats: StatsRecorder
    classes: ClassTable

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def class_names(self) -> Mapping[int, str]:
        """The detector's classes by id, and those that prompts and banks brought."""
        return self.classes.names
