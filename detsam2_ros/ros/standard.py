# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The class table as vision_msgs/LabelInfo, where that package is installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

try:
    from vision_msgs.msg import LabelInfo, VisionClass
except ImportError:  # an optional dependency, see package.xml
    LabelInfo = VisionClass = None


def label_info(header: Any, class_names: Mapping[int, str], model: str) -> Any:
    """Make the message: class i of the detector is named class_names[i]."""
    table = [VisionClass(class_id=i, class_name=name) for i, name in sorted(class_names.items())]
    return LabelInfo(header=header, class_map=table, threshold=0.0)
