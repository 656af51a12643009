# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From mask logits to masks at image size: boxes, packed masks, label images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.sam2.transfer import to_device
from detsam2_ros.results.masks import Mask, mask_box

_BIT_VALUES = (128, 64, 32, 16, 8, 4, 2, 1)


@dataclass(frozen=True)
class _Crop:
    """Logits at image size, float32 [h, w], of the part at (top, left) that can hold mask."""

    top: int
    left: int
    logits: np.ndarray


class MaskResizer:
    """Brings mask logits to one image size, bilinear as SAM 2 does, then binarises at 0.

    On a CPU only the surroundings of each mask are computed: a small object in a large image
    then costs next to nothing. On a GPU whole images are cheaper than asking where masks are; they
    come to the host a bit a pixel.
    """

    def __init__(self, height: int, width: int, mask_size: int, device: torch.device):
        self.height, self.width = height, width
        self.mask_size = mask_size
        self._on_cpu = device.type == 'cpu'
        if self._on_cpu:
            self._rows = _bilinear_weights(mask_size, height)
            self._columns = _bilinear_weights(mask_size, width)

    @property
    def size(self) -> tuple[int, int]:
        """The image size, (height, width)."""
        return self.height, self.width

    def boxes(self, logits_nss: torch.Tensor) -> np.ndarray:
        """Return the boxes of masks, float32 [n, 4] xyxy pixels; zeros where a mask is empty."""
        boxes = [mask.box or (0, 0, 0, 0) for mask in self.masks(logits_nss)]
        return np.array(boxes, np.float32).reshape(-1, 4)

    def boxes_of_rows(self, found: Mapping[int, MaskPrediction], count: int) -> np.ndarray:
        """Return the boxes of the objects that were found, float32 [count, 4]; else zeros.

        found: predictions of single objects by row.
        """
        boxes = np.zeros((count, 4), np.float32)
        if found:
            logits = torch.stack([own.logits for own in found.values()])
            boxes[list(found)] = self.boxes(logits)
        return boxes

    def masks(self, logits_nss: torch.Tensor) -> list[Mask]:
        """Return masks at image size from float32 logits [n, S/4, S/4]."""
        if self._on_cpu or not len(logits_nss):
            crops = [self._crop(logits) for logits in logits_nss.cpu().numpy()]
            return [
                Mask(self.size)
                if crop is None
                else Mask.of_crop(self.size, crop.top, crop.left, crop.logits > 0)
                for crop in crops
            ]
        bits_nhb = _packed_bits(self._resize(logits_nss) > 0).cpu().numpy()
        return [Mask.of_packed_rows(self.width, rows) for rows in bits_nhb]

    def labels(self, logits_nss: torch.Tensor, ids: Sequence[int]) -> np.ndarray:
        """Return the label image, uint16 [H, W], 0 = background.

        logits_nss: float32 [n, S/4, S/4], row i belongs to ids[i]. Where masks overlap the
        label is the id with the higher logit.
        """
        labels = np.zeros((self.height, self.width), np.uint16)
        if not len(ids):
            return labels
        if not self._on_cpu:
            best_hw, row_hw = self._resize(logits_nss).max(dim=0)
            id_n = to_device(torch.tensor(ids, dtype=torch.int32), logits_nss.device)
            labels_hw = torch.where(best_hw > 0, id_n[row_hw], 0)
            # Half the bytes to copy; ids above 32767 become negative, and are themselves again.
            return labels_hw.to(torch.int16).cpu().numpy().view(np.uint16)
        best = np.zeros((self.height, self.width), np.float32)
        for logits, id_ in zip(logits_nss.numpy(), ids, strict=True):
            crop = self._crop(logits)
            if crop is None:
                continue
            height, width = crop.logits.shape
            where = np.s_[crop.top : crop.top + height, crop.left : crop.left + width]
            wins = crop.logits > best[where]
            labels[where][wins] = id_
            np.maximum(best[where], crop.logits, out=best[where])
        return labels

    def _resize(self, logits_nss: torch.Tensor) -> torch.Tensor:
        return F.interpolate(logits_nss[None], self.size, mode='bilinear', align_corners=False)[0]

    def _crop(self, logits_ss: np.ndarray) -> _Crop | None:
        box = mask_box(logits_ss > 0)
        if box is None:
            return None
        x0, y0, x1, y1 = box
        size = len(logits_ss)
        out_y, in_y = _reach(y0, y1, size, self.height)
        out_x, in_x = _reach(x0, x1, size, self.width)
        logits = self._rows[out_y, in_y] @ logits_ss[in_y, in_x] @ self._columns[out_x, in_x].T
        return _Crop(out_y.start, out_x.start, logits)


def _packed_bits(masks_nhw: torch.Tensor) -> torch.Tensor:
    """Pack bool [n, H, W] along rows as numpy.packbits does, uint8 [n, H, ceil(W / 8)]."""
    width = masks_nhw.shape[-1]
    padded = F.pad(masks_nhw.to(torch.uint8), (0, -width % 8))
    value = to_device(torch.tensor(_BIT_VALUES, dtype=torch.uint8), padded.device)
    bits: torch.Tensor = (padded.unflatten(-1, (-1, 8)) * value).sum(-1, dtype=torch.uint8)
    return bits


def _bilinear_weights(source: int, target: int) -> np.ndarray:
    """Return the matrix [target, source] of bilinear resizing (align_corners=False)."""
    at = ((np.arange(target) + 0.5) * source / target - 0.5).clip(0, source - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, source - 1)
    weights = np.zeros((target, source), np.float32)
    rows = np.arange(target)
    np.add.at(weights, (rows, low), (1 - (at - low)).astype(np.float32))
    np.add.at(weights, (rows, high), (at - low).astype(np.float32))
    return weights


def _reach(low: int, high: int, source: int, target: int) -> tuple[slice, slice]:
    """Return which output cells can read source cells low..high-1, and all they read."""
    scale = target / source
    first = max(int(np.floor((low - 0.5) * scale - 0.5)), 0)
    last = min(int(np.ceil((high + 0.5) * scale - 0.5)) + 1, target)
    margin = 2 + int(np.ceil(1 / scale))
    return slice(first, last), slice(max(low - margin, 0), min(high + margin, source))
