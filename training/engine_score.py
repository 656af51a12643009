# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Score the engine's final masks, detector in the loop, against the scene's truth."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np
from scipy.optimize import linear_sum_assignment

from detsam2_ros.engine import Engine, FrameResult, finals
from detsam2_ros.scene.scene import SceneFrame

MATCH = 0.3  # least IoU at which a mask is taken to show a ball


def iou_table(masks_nhw: np.ndarray, truths_mhw: np.ndarray) -> np.ndarray:
    """Return the IoU of every mask with every truth, [n, m]."""
    pixels = int(np.prod(truths_mhw.shape[1:]))  # -1 would not do for no masks at all
    a = masks_nhw.reshape(len(masks_nhw), pixels).astype(np.float32)
    b = truths_mhw.reshape(len(truths_mhw), pixels).astype(np.float32)
    both = a @ b.T
    return both / np.maximum(a.sum(1)[:, None] + b.sum(1)[None] - both, 1)


@dataclass
class Tally:
    """Counts over frames of one clip, added up over clips."""

    ious: list[float] = field(default_factory=list)  # of every visible ball on every frame
    found: int = 0  # of those, how many have a mask with IoU >= MATCH
    switches: int = 0
    stray_frames: int = 0  # (object, frame) pairs: visible without a ball
    shown_frames: int = 0  # (object, frame) pairs: visible at all
    false_objects: int = 0
    objects: int = 0
    hidden: int = 0  # balls hidden completely
    ghosts: int = 0  # of those, how many are still shown under the id they had

    def add_clip(self, frames: Iterable[SceneFrame], results: dict[int, FrameResult]) -> None:
        """Match per frame by IoU, one to one, and follow which id each ball has.

        An id switch: a ball is matched to another id than at its previous match. A false object:
        an id without a ball on more than half of the frames that show it.
        """
        id_of: dict[int, int] = {}
        shown: dict[int, int] = {}
        stray: dict[int, int] = {}
        for frame in frames:
            result = results[frame.index]
            rows = [i for i, o in enumerate(result.objects) if o.visible]
            ids = [result.objects[i].id for i in rows]
            masks = np.asarray(result.masks, bool).reshape(-1, *frame.labels.shape)[rows]
            balls = [int(b) for b, v in zip(frame.ids, frame.visible, strict=True) if v]
            truths = frame.labels == np.array(balls, int).reshape(-1, 1, 1)
            table = iou_table(masks, truths)
            best = dict.fromkeys(balls, 0.0)
            taken: dict[int, int] = {}
            for i, j in zip(*linear_sum_assignment(-table), strict=True):
                best[balls[j]] = float(table[i, j])
                if table[i, j] >= MATCH:
                    taken[ids[i]] = balls[j]
            self.ious += best.values()
            self.found += len(taken)
            for object_id in ids:
                shown[object_id] = shown.get(object_id, 0) + 1
                stray[object_id] = stray.get(object_id, 0) + (object_id not in taken)
            for ball in set(id_of) - set(balls):
                self.hidden += 1
                self.ghosts += id_of[ball] in ids and id_of[ball] not in taken
            for object_id, ball in taken.items():
                self.switches += id_of.get(ball, object_id) != object_id
                id_of[ball] = object_id
        self.objects += len(shown)
        self.shown_frames += sum(shown.values())
        self.stray_frames += sum(stray.values())
        self.false_objects += sum(stray[i] > shown[i] / 2 for i in shown)

    def __iadd__(self, other: Tally) -> Tally:
        for item in fields(self):
            added = getattr(self, item.name) + getattr(other, item.name)
            setattr(self, item.name, added)
        return self

    def summary(self) -> dict[str, float]:
        """Return what evaluate.py prints."""
        return {
            'engine_j': float(np.mean(self.ious)),
            'engine_found': self.found / max(len(self.ious), 1),
            'id_switches': self.switches,
            'false_objects': self.false_objects,
            'objects': self.objects,
            'stray_share': self.stray_frames / max(self.shown_frames, 1),
            'hidden_still_shown': self.ghosts / max(self.hidden, 1),
        }


def run_clip(engine: Engine, frames: list[SceneFrame], tally: Tally) -> None:
    """Push a clip through a fresh stream and add its final revisions to the tally."""
    shown = ((frame.image, frame.index * 33_333_333) for frame in frames)
    results = {result.index: result for result in finals(engine.open_stream('clip'), shown)}
    tally.add_clip(frames, results)
