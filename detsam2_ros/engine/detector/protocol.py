# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a detector is; any detector that fits this protocol can lead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from detsam2_ros.results.detections import Detections


@runtime_checkable
class Detector(Protocol):
    """Anything that finds boxes in images: YOLO, a scripted test detector, your own."""

    class_names: dict[int, str]

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Find boxes in a batch of uint8 [H, W, 3] RGB images; one Detections an image."""
        ...
