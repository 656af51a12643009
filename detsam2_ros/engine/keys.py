# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memories as attention reads them, made once for all frames that do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from detsam2_ros.engine.memory import Memory

POOL = 2  # tokens that become one, in each direction


@dataclass(frozen=True)
class Keys:
    """A spatial memory as the layers read it.

    tokens: [L, C]. keys: one a layer, [L, D], rotated, without a code of time.
    """

    tokens: torch.Tensor
    keys: tuple[torch.Tensor, ...]

    @cached_property
    def pooled(self) -> Keys:
        """The same in a quarter of the tokens, means of two by two neighbours."""
        return Keys(pool(self.tokens), tuple(pool(layer) for layer in self.keys))


class KeyCache:
    """Keys of the memories that are read at present.

    Call `advance` after each frame: what two frames in a row did not read is dropped.
    """

    def __init__(self) -> None:
        self._now: dict[int, tuple[Memory, Keys]] = {}
        self._before: dict[int, tuple[Memory, Keys]] = {}

    def __len__(self) -> int:
        return len(self._now.keys() | self._before.keys())

    def advance(self) -> None:
        """Tell that the next frame begins."""
        self._now, self._before = {}, self._now

    def take(
        self, memories: Sequence[Memory], make: Callable[[list[Memory]], list[Keys]]
    ) -> list[Keys]:
        """Return the keys of memories; makes those that are missing, all at once."""
        missing: dict[int, Memory] = {}
        for memory in memories:
            name = id(memory)
            if name not in self._now and name in self._before:
                self._now[name] = self._before[name]
            elif name not in self._now:
                missing[name] = memory
        if missing:
            made = make(list(missing.values()))
            for (name, memory), keys in zip(missing.items(), made, strict=True):
                self._now[name] = memory, keys  # held, so that its id names nothing else
        return [self._now[id(memory)][1] for memory in memories]


def pool(x: torch.Tensor) -> torch.Tensor:
    """Return the means of two by two neighbours of a square image of tokens, [..., L, C]."""
    side = math.isqrt(x.shape[-2])
    image = x.float().unflatten(-2, (side // POOL, POOL, side // POOL, POOL))
    return image.mean(dim=(-4, -2)).flatten(-3, -2).to(x.dtype)
