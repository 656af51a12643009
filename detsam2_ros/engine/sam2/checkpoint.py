# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as SAM 2 and trainers write them, read as data: nothing in a file is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from detsam2_ros.results.errors import ModelError

# Where trainers keep the weights: SAM 2, Lightning and others, the guide of PyTorch.
_PLACES = ('model', 'state_dict', 'model_state_dict')
# What wrappers put before the name of every weight: DistributedDataParallel, torch.compile, and
# a trainer's class that holds the model.
_PREFIXES = ('module.', '_orig_mod.', 'model.')
_FOREIGN = re.compile(r'GLOBAL (\S+)')
_ESCAPES = re.compile(r'\x1b\[[0-9;]*m')


class _Left:
    """Stands for a value that is not read."""

    def __init__(self, *_: object) -> None:
        """Take what the value would have been made of."""

    def __setstate__(self, _: object) -> None:
        """Take no state."""


# numpy's numbers and arrays, such as a best score, beside the weights. Under numpy's own names a
# file could reach into numpy (the state of a dtype is not checked), so `_Left` takes their place.
_NUMPY: list[Any] = [
    type(name, (_Left,), {'__module__': module})
    for module, name in (
        *((f'numpy.{core}.multiarray', 'scalar') for core in ('core', '_core')),
        *((f'numpy.{core}.multiarray', '_reconstruct') for core in ('core', '_core')),
        ('numpy', 'dtype'),
        ('numpy', 'ndarray'),
    )
]


def read_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint by name, without a prefix that all have in common.

    Raises ModelError with one sentence.
    """
    try:
        # weights_only: a checkpoint is data, it must not be able to run code.
        with torch.serialization.safe_globals(_NUMPY):
            loaded = torch.load(checkpoint, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises anything from RuntimeError to UnpicklingError
        raise ModelError(f'SAM 2 checkpoint {checkpoint} {_why(error)}') from error
    state: Any = loaded
    if isinstance(loaded, dict):
        state = next((loaded[p] for p in _PLACES if _are_weights(loaded.get(p))), loaded)
    if not _are_weights(state):
        raise ModelError(
            f'SAM 2 checkpoint {checkpoint} holds no weights under {", ".join(map(repr, _PLACES))}'
            f"; save {{'model': model.state_dict()}}, as SAM 2's own do"
        )
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in state)), ''):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return dict(state)


def _are_weights(state: object) -> bool:
    return (
        isinstance(state, dict)
        and bool(state)
        and all(isinstance(key, str) for key in state)
        and all(isinstance(value, torch.Tensor) for value in state.values())
    )


def _why(error: Exception) -> str:
    """Return why a file could not be read, as the end of a sentence."""
    text = ' '.join(_ESCAPES.sub('', str(error)).split())
    if foreign := _FOREIGN.search(text):
        return (
            f"holds more than weights ({foreign[1]}); save {{'model': model.state_dict()}} alone"
        )
    reason = text.partition('. ')[0] or repr(error)
    return f'is cut off or not a PyTorch checkpoint: {reason}'
