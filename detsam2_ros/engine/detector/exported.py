# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an exported YOLO model says of the images that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detsam2_ros.results.errors import ConfigError


def fixed_shape(path: Path) -> tuple[int, list[int] | None]:
    """Return the images of a call and their (height, width) that the graph of an ONNX file fixes.

    For files without the metadata that Ultralytics writes. 1 and None where nothing is fixed, and
    for other files. Raises whatever ONNX Runtime does.
    """
    if path.suffix.lower() != '.onnx':
        return 1, None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    shape = session.get_inputs()[0].shape  # [N, 3, H, W]; a name in the place of a free number
    size = [side for side in shape[2:] if isinstance(side, int)]
    return shape[0] if isinstance(shape[0], int) else 1, size if len(size) == 2 else None


def exported_size(backend: Any) -> list[int] | None:
    """Return the height and width of a model's export, where its metadata has them.

    backend: ultralytics' AutoBackend; of a `.pt` file it has no size, as that takes any.
    """
    size = getattr(backend, 'imgsz', None)
    if isinstance(size, int):
        return [size, size]
    return [int(side) for side in size] if size is not None and len(size) == 2 else None


def check_size(backend: Any, wanted: int | None, name: str) -> None:
    """Raise ConfigError when a size is wanted that an export cannot take.

    ultralytics would take the size of the export without a word.
    """
    size = exported_size(backend)
    if wanted is None or size is None or getattr(backend, 'dynamic', False):
        return
    if max(size) != wanted:
        raise ConfigError(
            f'image_size {wanted} cannot be: {name} was exported for {size[1]}x{size[0]} pixels '
            f'and takes nothing else; leave image_size out, or export with dynamic=True'
        )
