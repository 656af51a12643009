# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From detections to prompts: which object each one is, and what SAM 2 makes of its box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.sam2.context import Context, select_context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.prompts import decode_boxes
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.sam2.steps import Decoded, memories_of, memorise, same_layout, track
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.association import assign, assign_by_class, new_objects
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import Conditioning, TrackedObject
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.masks import box_iou

# A detection that overlaps a matched one of its class this much is the same thing seen twice.
_DUPLICATE_IOU = 0.5


@dataclass(frozen=True)
class Prompter:
    """Turns the detections of a window, or of a frame, into conditioned memories.

    It works on drafts of the objects: `objects` is changed in place, new ones are appended, and
    get their id when it is known that they are new. frames_seen: frames of the stream.
    """

    model: Sam2Model
    config: EngineConfig
    composer: Composer
    stats: StatsRecorder
    class_names: Mapping[int, str]
    objects: list[TrackedObject]
    frames_seen: int

    def condition_window(self, window: Sequence[Frame]) -> None:
        """Find every object on, match and condition each frame of the window with detections."""
        frames = [frame for frame in window if frame.detections]
        for frame in frames:
            boxes = np.zeros((len(self.objects), 4), np.float32)
            if self.config.association == 'instance':
                with self.stats.clock('associate'):
                    boxes = self._locate(frame, remember=frame is not frames[-1])
                for row, entry in enumerate(self.objects):
                    prompt = entry.conditioned.get(frame.index)
                    if prompt is not None:  # by hand, before the window closed
                        boxes[row] = self.composer.boxes(prompt.logits[None])[0]
            self.condition_frame(frame, boxes)

    def condition_frame(self, frame: Frame, boxes: np.ndarray) -> None:
        """Match and condition on one frame.

        boxes: float32 [m, 4] xyxy, where the objects are on it, zeros unseen; by class they do
        not matter.
        """
        if not frame.detections:
            return
        if self.config.association == 'class':
            rows, starts = self._match_classes(frame.detections)
        else:
            rows, starts = self._match_instances(frame.detections, boxes)
        rows = self._confirm(frame, frame.detections, rows, boxes)
        self._condition(frame, frame.detections, rows, starts)

    def _confirm(
        self, frame: Frame, detections: Detections, rows: np.ndarray, boxes: np.ndarray
    ) -> np.ndarray:
        """Take out the detections that are to condition nothing; returns the rows left.

        Those that tracking knew already only say that the object is there. (SAM 3 and DAM4SAM,
        too, let not every detection or frame in.)
        """
        left = rows.copy()
        for i in np.flatnonzero(rows >= 0):
            entry = self.objects[rows[i]]
            agreement = box_iou(detections.boxes[i : i + 1], boxes[rows[i]][None])[0, 0]
            confirmed = entry.is_known and agreement >= self.config.confirm_iou < 1
            # A frame keeps its first prompt: somebody may have set it.
            if confirmed or frame.index in entry.conditioned:
                entry.last_seen = max(entry.last_seen, frame.index)
                left[i] = -1
        self.stats.add(confirmed_detections=int((left != rows).sum()))
        return left

    def _match_classes(self, detections: Detections) -> tuple[np.ndarray, list[int]]:
        known = {entry.class_id: row for row, entry in reversed(list(enumerate(self.objects)))}
        return assign_by_class(detections, known, self.config.new_object_score)

    def _match_instances(
        self, detections: Detections, boxes: np.ndarray
    ) -> tuple[np.ndarray, list[int]]:
        classes = np.array([entry.class_id for entry in self.objects], np.int64)
        rows = assign(detections, boxes, classes, self.config.match_iou)
        starts = new_objects(
            detections, rows, boxes, classes, self.config.new_object_score, _DUPLICATE_IOU
        )
        return rows, starts

    def _locate(self, frame: Frame, remember: bool) -> np.ndarray:
        """Track every object forward to a frame; returns boxes, float32 [m, 4], zeros unseen.

        remember: keep what was tracked for the next detection frame of this window.
        """
        assert frame.features is not None
        boxes = np.zeros((len(self.objects), 4), np.float32)
        contexts = {
            row: self._forward_context(entry, frame.index)
            for row, entry in enumerate(self.objects)
            if entry.remembers
        }
        for rows in same_layout(contexts):
            decoded = track(self.model, frame.features, [contexts[row] for row in rows])
            boxes[rows] = self.composer.boxes(decoded.logits)
            if remember:
                spatial = memorise(self.model, frame.features, decoded, prompted=False)
                for row, memory in zip(rows, memories_of(decoded, spatial), strict=True):
                    self._remember(self.objects[row], frame.index, memory)
        self.stats.add(associated_frames=len(contexts))
        return boxes

    def _forward_context(self, entry: TrackedObject, frame: int) -> Context:
        """Choose what an object attends to when it is looked for ahead of the last pass.

        Frames between are not tracked, so the nearest memories there are stand in for the
        nearest frames: they are numbered by rank instead of by distance, as SAM 2 does with
        memory_temporal_stride_for_eval.
        """
        newest_first = sorted((at for at in entry.recent if at < frame), reverse=True)
        ranked = {frame - rank: entry.recent[at] for rank, at in enumerate(newest_first, start=1)}
        recall = replace(entry.recall(self.config), passing={})
        return select_context(self.model, recall, ranked, frame, self.frames_seen, reverse=False)

    def _remember(self, entry: TrackedObject, frame: int, memory: Memory) -> None:
        entry.recent[frame] = memory
        for at in sorted(entry.recent)[: -(self.model.module.num_maskmem - 1)]:
            del entry.recent[at]

    def _condition(
        self, frame: Frame, detections: Detections, rows: np.ndarray, starts: Sequence[int]
    ) -> None:
        prompted = [(int(i), self.objects[rows[i]]) for i in np.flatnonzero(rows >= 0)]
        for i in starts:
            if sum(entry.is_known for entry in self.objects) >= self.config.max_objects:
                self.stats.add(ignored_detections=1)
                continue
            entry = self._new_object(int(detections.class_ids[i]), frame.index)
            self.objects.append(entry)
            prompted.append((i, entry))
        if not prompted:
            return
        with self.stats.clock('condition'):
            decoded, spatial = self._prompt(frame, detections.boxes[[i for i, _ in prompted]])
        memories = memories_of(decoded, spatial)
        for row, ((_, entry), memory) in enumerate(zip(prompted, memories, strict=True)):
            if not entry.is_known:  # a bank object, detected before it was seen
                entry.born = frame.index
            entry.conditioned[frame.index] = Conditioning.of(
                memory, decoded.logits[row], frame.stamp
            )
            entry.recent.pop(frame.index, None)
            entry.last_seen = max(entry.last_seen, frame.index)
        self.stats.add(conditioned_frames=len(prompted))

    def _prompt(self, frame: Frame, boxes: np.ndarray) -> tuple[Decoded, torch.Tensor]:
        assert frame.features is not None
        size = self.composer.height, self.composer.width
        decoded = decode_boxes(self.model, frame.features, boxes, size)
        return decoded, memorise(self.model, frame.features, decoded, prompted=True)

    def _new_object(self, class_id: int, frame: int) -> TrackedObject:
        return TrackedObject(
            id=None,
            class_id=class_id,
            class_name=self.class_names.get(class_id, str(class_id)),
            born=frame,
            last_seen=frame,
        )
