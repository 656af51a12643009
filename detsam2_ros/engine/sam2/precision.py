# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The number format in which SAM 2 computes where none is asked for."""

from __future__ import annotations

from pathlib import Path

import torch

# What Linux calls the instructions of an x86 processor that multiply bfloat16.
_INSTRUCTIONS = frozenset({'avx512_bf16', 'amx_bf16'})
_CPU_INFO = Path('/proc/cpuinfo')


def default_dtype(device: torch.device, quality: str) -> torch.dtype:
    """Return bfloat16 where the device computes in it, else float32.

    On a CPU bfloat16 needs quality balanced: exact is float32 there, as in sam2.
    """
    wanted = device.type == 'cuda' or quality == 'balanced'
    return torch.bfloat16 if wanted and computes_in_bfloat16(device) else torch.float32


def computes_in_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16; others are slower in it."""
    if device.type == 'cuda':
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(_INSTRUCTIONS & _processor_flags())


def _processor_flags() -> set[str]:
    """Return what Linux says that the processor can do; empty on other systems."""
    if not _CPU_INFO.is_file():
        return set()
    for line in _CPU_INFO.read_text(encoding='utf-8').splitlines():
        name, _, flags = line.partition(':')
        if name.strip() == 'flags':
            return set(flags.split())
    return set()
