# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The masks that tracking and prompts found on one frame, by object."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch

from detsam2_ros.engine.sam2.resize import MaskResizer
from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.masks import Mask


@dataclass(frozen=True)
class FoundMask:
    """An object's mask on a frame, as a pass or forward tracking found it."""

    logits: torch.Tensor  # float32 [S/4, S/4]
    score: float  # presence probability, 0..1
    mask: Mask


@dataclass(frozen=True)
class FrameMasks:
    """The masks that were found for one frame, by object."""

    found: Mapping[TrackedObject, FoundMask] = field(default_factory=dict)

    @classmethod
    def gather(
        cls,
        index: int,
        tracked: Mapping[TrackedObject, MaskPrediction | None],
        resizer: MaskResizer,
    ) -> FrameMasks:
        """Gather a frame's masks: prompted ones where there are prompts, else tracked ones.

        Objects that were neither prompted nor tracked there are left out.
        """
        logits, scores = {}, []
        for obj, own in tracked.items():
            prompt = obj.prompts.get(index)
            if prompt is not None:
                logits[obj] = prompt.logits
                scores.append(prompt.memory.score)
            elif own is not None:
                logits[obj] = own.logits
                scores.append(own.score)
        if not logits:
            return cls()
        masks = resizer.masks(torch.stack(list(logits.values())))
        probabilities = torch.stack(scores).sigmoid().tolist()
        parts = zip(logits.values(), probabilities, masks, strict=True)
        return cls({obj: FoundMask(*part) for obj, part in zip(logits, parts, strict=True)})

    def without(self, objects: Collection[TrackedObject]) -> FrameMasks:
        """Return the masks of the other objects: what was published of these stays."""
        if not objects:
            return self
        return FrameMasks({obj: own for obj, own in self.found.items() if obj not in objects})

    def mask(self, obj: TrackedObject) -> Mask | None:
        """Return an object's mask, None where it was not looked for."""
        found = self.found.get(obj)
        return None if found is None else found.mask

    def published_masks(self) -> dict[int, torch.Tensor]:
        """Return the masks by object id, bool [S/4, S/4], copied."""
        return {
            obj.id: found.logits > 0 for obj, found in self.found.items() if obj.id is not None
        }

    def surely_visible(self, obj: TrackedObject, min_score: float) -> bool:
        """Tell whether the object is visible here with at least this presence probability."""
        return self.visible(obj) and self.found[obj].score >= min_score

    def visible(self, obj: TrackedObject) -> bool:
        """Tell whether the object has a mask with pixels here."""
        return bool(self.mask(obj))
