# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What makes a training step on a CPU about twice as fast; never needed for inference."""

from __future__ import annotations

import os
import sys
import types

import torch
import torch.nn.functional as F

# Freed tensors are otherwise unmapped and faulted in again, page by page, at every step.
_MALLOC = ':'.join((
    'glibc.malloc.hugetlb=1',
    'glibc.malloc.mmap_threshold=8000000000',
    'glibc.malloc.trim_threshold=16000000000',
    'glibc.malloc.top_pad=500000000',
))


def restart_with_fast_malloc() -> None:
    """Re-execute this process once with allocator settings that only the loader reads."""
    if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
        os.environ['GLIBC_TUNABLES'] = _MALLOC
        os.execv(sys.executable, [sys.executable, *sys.argv])


def attention_weights(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Return the weights of queries [..., n, d] over keys [..., m, d], [..., n, m]."""
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), -1)


def _attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **_: object) -> torch.Tensor:
    return attention_weights(q, k) @ v


def _pointwise(self: torch.nn.Conv2d, x_bchw: torch.Tensor) -> torch.Tensor:
    x = F.linear(x_bchw.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
    return x.permute(0, 3, 1, 2)


def speed_up(model: torch.nn.Module) -> None:
    """Use plain bfloat16 matrix products where the fused kernels are slower (backward above all).

    Replaces the process's scaled_dot_product_attention: call it in training processes only.
    """
    F.scaled_dot_product_attention = _attention
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1):
            module.forward = types.MethodType(_pointwise, module)
