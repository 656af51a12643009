# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The frames that a stream holds, and what a stream takes for an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from detsam2_ros.engine.sam2.steps import ImageFeatures
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.errors import ImageError
from detsam2_ros.results.frames import FrameResult, Object
from detsam2_ros.results.masks import Mask


@dataclass(frozen=True)
class Published:
    """What subscribers know of a frame: the last revision sent."""

    revision: int
    objects: Mapping[int, Object]  # by id, in the order of the result


@dataclass(frozen=True)
class Frame:
    """One frame of a stream, from its arrival until no pass can reach it; a value."""

    index: int
    stamp: int  # nanoseconds
    image: np.ndarray | None  # until it is encoded; on detection frames until it was detected on
    tag: Any = None  # given with the image; results bring it back
    is_detection_frame: bool = False
    features: ImageFeatures | None = None  # None until the image is encoded
    detections: Detections | None = None  # None before detection, and on all other frames
    searched: bool = False  # a detector looked for all that it knows, and did not fail
    published: Published | None = None
    # By object id: bool [S/4, S/4], the published mask as decoded; where passes may stop early.
    published_masks: Mapping[int, torch.Tensor] = field(default_factory=dict)

    @property
    def encoded(self) -> ImageFeatures:
        """The features of an encoded frame."""
        if self.features is None:
            raise RuntimeError(f'frame {self.index} is not encoded yet')
        return self.features

    def mask_of(self, object_id: int | None) -> Mask | None:
        """Return an object's mask as published; None where it was not shown."""
        if self.published is None or object_id is None:
            return None
        shown = self.published.objects.get(object_id)
        return None if shown is None else shown.mask

    def with_result(self, result: FrameResult | None, masks: Mapping[int, torch.Tensor]) -> Frame:
        """Return the frame after a pass; result: None where its masks stay as published.

        masks: as published_masks, of objects that the pass found.
        """
        published = self.published
        if result is not None:
            objects = {thing.id: thing for thing in result.objects}
            published = Published(result.revision, objects)
        masks = {**self.published_masks, **masks}
        return replace(self, published=published, published_masks=masks)


def check_image(image: object, stream: str, size: tuple[int, int] | None) -> np.ndarray:
    """Return the image if a stream can take it, else raise ImageError.

    size: (height, width) of the stream's earlier frames, or None before the first.
    """
    if not isinstance(image, np.ndarray):
        raise ImageError(
            f"stream '{stream}': an image must be a numpy array uint8 [H, W, 3] RGB, "
            f'got {type(image).__name__}'
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(
            f"stream '{stream}': an image must be uint8 [H, W, 3] RGB, "
            f'got {image.dtype} {list(image.shape)}'
        )
    height, width = image.shape[:2]
    if height < 1 or width < 1:
        raise ImageError(f"stream '{stream}': the image is empty ({width}x{height})")
    if size is not None and size != (height, width):
        raise ImageError(
            f"stream '{stream}': the image is {width}x{height} but the stream's frames are "
            f'{size[1]}x{size[0]}; flush and reset the stream to change the size'
        )
    return image


def check_stamp(stamp: object, stream: str) -> int:
    """Return the stamp, int nanoseconds, or raise ImageError."""
    if isinstance(stamp, bool) or not isinstance(stamp, (int, np.integer)):
        raise ImageError(
            f"stream '{stream}': a stamp must be int nanoseconds, got {type(stamp).__name__}"
        )
    if not -(2**63) <= stamp < 2**63:
        raise ImageError(f"stream '{stream}': stamp {stamp} ns is beyond 64 bits")
    return int(stamp)
