# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which model made a memory; memories of one model mean nothing to another."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelIdentity:
    """What must agree between a model and a memory bank.

    name: as given to `load_sam2`, for people. sha256: of the weights, hex. image_size: pixels.
    memory_shape: (channels, height, width) of a spatial memory. pointer_dim: length of an
    object pointer.
    """

    name: str
    sha256: str
    image_size: int
    memory_shape: tuple[int, int, int]
    pointer_dim: int
