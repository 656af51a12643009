# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From images with marked objects to the entries of a memory bank."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.prompts import decode_boxes, mask_prompts
from detsam2_ros.engine.sam2.steps import (
    ImageFeatures,
    MaskPrediction,
    decode_masks,
    encode_image,
    encode_memory,
)
from detsam2_ros.results.errors import BankError

_BATCH = 16  # marks at once, so that a crowded image does not need more memory


@dataclass(frozen=True)
class Mark:
    """One object in one image: a mask, or a box from which SAM 2 makes a mask.

    Raises ValueError unless exactly one of mask and box is given, and for a box without area.
    """

    key: str  # of the bank object that the mark shows
    class_id: int
    class_name: str
    mask: np.ndarray | None = None  # bool [H, W]
    box: tuple[float, float, float, float] | None = None  # (x0, y0, x1, y1) pixels

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.box is None):
            raise ValueError(f'{self.key}: a mark is a mask or a box')
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (all(map(math.isfinite, self.box)) and x0 < x1 and y0 < y1):
                raise ValueError(f'{self.key}: a box is x0 < x1, y0 < y1, not {self.box}')


@dataclass(frozen=True)
class View:
    """An image and its marks."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    marks: tuple[Mark, ...]
    stamp: int = 0  # nanoseconds


def build_bank(model: Sam2Model, views: Iterable[View], source: str) -> MemoryBank:
    """Make a bank with an entry for each mark; raises BankError as `remember` does.

    source: free text that the file keeps.
    """
    entries = [entry for view in views for entry in remember(model, view)]
    return MemoryBank(model.identity, tuple(entries), source=source)


def remember(
    model: Sam2Model, view: View, absent: Callable[[Mark], None] | None = None
) -> Iterator[BankEntry]:
    """Make an entry of each mark of a view, as SAM 2 remembers a frame with prompts.

    absent: called with each mark in which SAM 2 finds nothing; the mark then has no entry. Raises
    BankError for such a mark when absent is None, and for a mask of another size than the image.
    """
    for mark in view.marks:
        if mark.mask is not None and mark.mask.shape != view.image.shape[:2]:
            raise BankError(
                f'{mark.key}: its mask is {mark.mask.shape[:2]}, the image at stamp {view.stamp} '
                f'{view.image.shape[:2]}'
            )
    memories: dict[int, Memory] = {}
    with model.inference():
        features = encode_image(model, model.preprocess(view.image)[None])[0]
        for rows, decoded in _decoded(model, features, view):
            made = encode_memory(model, features, decoded, prompted=True)
            memories.update(zip(rows, made, strict=True))
    for row, mark in enumerate(view.marks):
        memory = memories[row].to(torch.device('cpu'))
        if memory.score <= 0:
            if absent is None:
                raise BankError(
                    f'{mark.key}: nothing is found in what is marked at stamp {view.stamp}; mark '
                    f'it again or leave it out'
                )
            absent(mark)
            continue
        # A slice without a copy would keep the memories of the whole image alive.
        memory = Memory(memory.spatial.clone(), memory.pointer.clone(), memory.score.clone())
        yield BankEntry(mark.key, mark.class_id, mark.class_name, view.stamp, memory)


def _decoded(
    model: Sam2Model, features: ImageFeatures, view: View
) -> Iterator[tuple[list[int], MaskPrediction]]:
    """Yield rows of marks and their decoded masks: the marks with masks first, then the boxes."""
    for rows in _batches([row for row, mark in enumerate(view.marks) if mark.mask is not None]):
        masks = np.stack([np.asarray(view.marks[row].mask, bool) for row in rows])
        yield rows, decode_masks(model, features, mask_prompts(model, masks))
    height, width = view.image.shape[:2]
    for rows in _batches([row for row, mark in enumerate(view.marks) if mark.box is not None]):
        boxes = np.array([view.marks[row].box for row in rows], np.float64)
        yield rows, decode_boxes(model, features, boxes, (height, width))


def _batches(rows: list[int]) -> Iterator[list[int]]:
    for first in range(0, len(rows), _BATCH):
        yield rows[first : first + _BATCH]
