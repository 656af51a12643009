# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Label images as PNG, the way image_transport's compressed plugin writes and reads `mono16`.

The plugin appends '; png compressed ' and, for colours alone, the encoding that the picture has
after a conversion. So the name of a label image ends in a space.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from detsam2_ros.messages.pixels import MAX_SIDE

FORMAT = 'mono16; png compressed '
_MAGIC, _END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'


def png_fields(labels: np.ndarray) -> dict[str, Any]:
    """Return the fields of a sensor_msgs/CompressedImage; labels: uint16 [H, W], any strides."""
    if labels.dtype != np.uint16 or labels.ndim != 2:
        raise TypeError(f'labels are uint16 [H, W], not {labels.dtype} {list(labels.shape)}')
    # Without the plugin's level (3): OpenCV then packs runs of equal pixels alone, which takes a
    # third of the time and half of the bytes for labels.
    done, data = cv2.imencode('.png', np.ascontiguousarray(labels))
    if not done:
        raise ValueError(f'labels of {labels.shape[1]}x{labels.shape[0]} cannot be encoded as PNG')
    return {'format': FORMAT, 'data': data.reshape(-1)}


def read_png(message: Any, what: str, size_wh: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a CompressedImage to labels, uint16 [H, W], read-only.

    size_wh: that it must have. Raises ValueError naming `what` for anything else than a whole
    PNG of one channel with 16 bits, before memory is taken for its pixels.
    """
    original, _, codec = message.format.lower().partition(';')
    if original.strip() != 'mono16' or not codec.strip().startswith('png '):
        raise ValueError(
            f"{what}: format is '{message.format[:60]}', not '{FORMAT}'; only PNG keeps the ids")
    data = bytes(message.data)
    if not data.startswith(_MAGIC) or not data.endswith(_END) or len(data) < 45:
        raise ValueError(f'{what}: {len(data)} bytes of data are no whole PNG')
    found = int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    if size_wh is not None and found != size_wh:
        raise ValueError(
            f'{what} is {found[0]}x{found[1]}, but roi {size_wh[0]}x{size_wh[1]}')
    if not 1 <= min(found) <= max(found) <= MAX_SIDE or data[24:26] != b'\x10\x00':
        raise ValueError(
            f'{what}: a PNG of {found[0]}x{found[1]} with {data[24]} bits, kind {data[25]}, is no '
            f'label image, which has 16 bits of grey and sides of 1 to {MAX_SIDE}')
    try:
        labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        labels = None
    if labels is None or labels.dtype != np.uint16 or labels.shape != found[::-1]:
        raise ValueError(f'{what}: the PNG of {len(data)} bytes is damaged')
    labels.flags.writeable = False
    return labels
