# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From the host to the device, without a wait for what the device still has to do."""

from __future__ import annotations

import torch


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the host on the device; the host may go on before it is there."""
    if device.type == 'cuda':
        # From other memory the copy would wait for all work that the device has queued.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
