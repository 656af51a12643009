# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What SAM 2 remembers of one frame of one object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Memory:
    """What SAM 2 remembers of one frame of one object.

    spatial: bfloat16 [C, h, w], from the memory encoder (SAM 2 stores it so, and so do banks).
    pointer: float32 [D], the object pointer of the mask decoder. score: float32 [], the object
    score logit; > 0 means that the object was there.
    """

    spatial: torch.Tensor
    pointer: torch.Tensor
    score: torch.Tensor

    @cached_property
    def summary(self) -> torch.Tensor:
        """A short unit vector on the CPU that tells different memories apart.

        The first use waits for the device.
        """
        pooled = F.adaptive_avg_pool2d(self.spatial.float()[None], 4).flatten()
        return F.normalize(torch.cat([pooled, self.pointer]), dim=0).cpu()

    def to(self, device: torch.device) -> Memory:
        """Return the same memory on a device."""
        return Memory(self.spatial.to(device), self.pointer.to(device), self.score.to(device))

    def pointer_only(self) -> Memory:
        """Return it without its spatial memory, for frames that are too far away to read that."""
        if not self.spatial.numel():
            return self
        return Memory(self.spatial.new_empty(0), self.pointer, self.score)
