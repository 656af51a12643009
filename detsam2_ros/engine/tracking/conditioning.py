# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From detections to prompts: which object each one is, and what SAM 2 makes of its box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detsam2_ros.engine.sam2.attended_memories import Context, select_context
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.prompts import decode_boxes
from detsam2_ros.engine.sam2.steps import encode_memories, encode_memory, track_objects
from detsam2_ros.engine.tracking.dormant import Look, is_back, recalled
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.matching import assign, assign_by_class, new_objects
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.detections import Detections
from detsam2_ros.results.masks import box_iou

# A detection that overlaps a matched one of its class this much is the same thing seen twice.
_DUPLICATE_IOU = 0.5


@dataclass(frozen=True)
class Conditioner:
    """Turns the detections of a window, or of a frame, into conditioning frames.

    The objects are drafts, changed in place; new ones are appended, and get their id when it is
    known that they are new. Dormant ones that are found again move to the objects.
    """

    tools: Toolbox
    objects: list[TrackedObject]
    dormant: list[TrackedObject]
    frames_seen: int  # frames of the stream
    tracked_until: int = 0  # the newest frame that was tracked already, for late detections

    def condition_window(self, window: Sequence[Frame]) -> None:
        """Find every object on, match and condition each frame of the window with detections."""
        frames = [frame for frame in window if frame.detections]
        for frame in frames:
            boxes = np.zeros((len(self.objects), 4), np.float32)
            if self.tools.config.association == 'instance':
                with self.tools.stats.clock('associate'):
                    boxes = self._locate(frame, remember=frame is not frames[-1])
                for row, obj in enumerate(self.objects):
                    prompt = obj.prompts.get(frame.index)
                    if prompt is not None:  # by hand, before the window closed
                        boxes[row] = self.tools.resizer.boxes(prompt.logits[None])[0]
            self.condition_frame(frame, boxes)

    def condition_frame(self, frame: Frame, boxes: np.ndarray) -> None:
        """Match and condition on one frame.

        boxes: float32 [m, 4] xyxy, where the objects are on it, zeros unseen; by class they do
        not matter.
        """
        if not frame.detections:
            return
        if self.tools.config.association == 'class':
            rows, starts = self._match_classes(frame.detections)
        else:
            rows, starts = self._match_instances(frame.detections, boxes)
        # A frame keeps its first prompt: somebody may have set it.
        for i in np.flatnonzero(rows >= 0):
            obj = self.objects[rows[i]]
            if frame.index in obj.prompts:
                obj.last_seen = max(obj.last_seen, frame.index)
                obj.match(frame.index, float(frame.detections.scores[i]), self.tools.config)
                rows[i] = -1
        confirmed = self._confirmed(frame.detections, rows, boxes)
        back = self._recalled(frame, frame.detections, rows, starts, boxes)
        self._condition(frame, frame.detections, rows, starts, confirmed, back)

    def _confirmed(
        self, detections: Detections, rows: np.ndarray, boxes: np.ndarray
    ) -> set[TrackedObject]:
        """Return the objects that tracking has where they are detected, and never lost.

        A pass back from there would find them on the frames before as they are. The prompt counts
        for the frames to come all the same: without it tracking drifts.
        """
        config, matched = self.tools.config, np.flatnonzero(rows >= 0)
        if config.mode != 'online' or config.confirm_iou >= 1:
            return set()
        ious = box_iou(detections.boxes[matched], boxes)
        return {
            self.objects[row]
            for row, iou in zip(rows[matched], ious, strict=True)
            if self.objects[row].is_steady and iou[row] >= config.confirm_iou
        }

    def _match_classes(self, detections: Detections) -> tuple[np.ndarray, list[int]]:
        known = {obj.class_id: row for row, obj in reversed(list(enumerate(self.objects)))}
        return assign_by_class(detections, known, self.tools.config.new_object_score)

    def _match_instances(
        self, detections: Detections, boxes: np.ndarray
    ) -> tuple[np.ndarray, list[int]]:
        config = self.tools.config
        classes = np.array([obj.class_id for obj in self.objects], np.int64)
        rows = assign(detections, boxes, classes, config.match_iou)
        starts = new_objects(
            detections, rows, boxes, classes, config.new_object_score, _DUPLICATE_IOU
        )
        return rows, starts

    def _locate(self, frame: Frame, remember: bool) -> np.ndarray:
        """Track every object forward to a frame; returns boxes, float32 [m, 4], zeros unseen.

        remember: keep what was tracked for the next detection frame of this window.
        """
        model = self.tools.model
        contexts = {
            row: self._forward_context(obj, frame.index)
            for row, obj in enumerate(self.objects)
            if obj.remembers
        }
        tracked = track_objects(model, frame.encoded, contexts)
        boxes = self.tools.resizer.boxes_of_rows(tracked, len(self.objects))
        if remember:
            for row, memory in encode_memories(model, frame.encoded, tracked).items():
                self._remember(self.objects[row], frame.index, memory)
        self.tools.stats.add(associated_frames=len(contexts))
        return boxes

    def _forward_context(self, obj: TrackedObject, frame: int) -> Context:
        """Choose what an object attends to when it is looked for ahead of the last pass.

        Frames between are not tracked, so the nearest memories there are stand in for the
        nearest frames: they are numbered by rank instead of by distance, as SAM 2 does with
        memory_temporal_stride_for_eval.
        """
        newest_first = sorted((at for at in obj.tracked_memories if at < frame), reverse=True)
        ranked = {
            frame - rank: obj.tracked_memories[at] for rank, at in enumerate(newest_first, start=1)
        }
        memory = replace(obj.memory(self.tools.config), non_conditioning={})
        return select_context(
            self.tools.model, memory, ranked, frame, self.frames_seen, reverse=False
        )

    def _remember(self, obj: TrackedObject, frame: int, memory: Memory) -> None:
        obj.tracked_memories[frame] = memory
        for at in sorted(obj.tracked_memories)[: -(self.tools.model.module.num_maskmem - 1)]:
            del obj.tracked_memories[at]

    def _condition(
        self,
        frame: Frame,
        detections: Detections,
        rows: np.ndarray,
        starts: Sequence[int],
        confirmed: set[TrackedObject],
        back: dict[int, Look],
    ) -> None:
        """Prompt matched and new objects on a frame; no pass needs to read confirmed ones."""
        tools = self.tools
        prompted = [(int(i), self.objects[rows[i]]) for i in np.flatnonzero(rows >= 0)]
        for i in starts:
            if len(self.objects) >= tools.config.max_objects:
                tools.stats.add(ignored_detections=1)
                continue
            obj = self._new_object(int(detections.class_ids[i]), frame.index)
            look = back.get(i)
            if is_back(obj, look):
                assert look is not None and look.obj is not None
                obj = look.obj
                self.dormant.remove(obj)
                tools.stats.add(recalled_objects=1)
            self.objects.append(obj)
            prompted.append((i, obj))
        if not prompted:
            return
        with tools.stats.clock('decode_prompt'):
            boxes = detections.boxes[[i for i, _ in prompted]]
            predicted = decode_boxes(tools.model, frame.encoded, boxes, tools.resizer.size)
            memories = encode_memory(tools.model, frame.encoded, predicted, prompted=True)
        for (i, obj), memory, logits in zip(prompted, memories, predicted.logits, strict=True):
            obj.match(frame.index, float(detections.scores[i]), tools.config)
            if not obj.is_known:  # a bank object, detected before it was seen
                obj.born = frame.index
            prompt = ConditioningFrame.of(frame, memory, logits, self.tracked_until)
            obj.prompt(frame.index, replace(prompt, read=obj in confirmed))
            obj.tracked_memories.pop(frame.index, None)
        tools.stats.add(conditioned_frames=len(prompted), confirmed_detections=len(confirmed))

    def _recalled(
        self,
        frame: Frame,
        detections: Detections,
        rows: np.ndarray,
        starts: Sequence[int],
        boxes: np.ndarray,
    ) -> dict[int, Look]:
        """Return which of the detections that start an object look like which dormant one."""
        if not self.dormant or not starts:
            return {}
        unseen = [
            obj for row, obj in enumerate(self.objects)
            if obj.confirmed and obj.prompts and row not in rows and not boxes[row].any()
        ]  # fmt: skip
        found = recalled(
            self.tools, frame, detections.boxes[starts], detections.class_ids[starts],
            self.dormant, self.objects, unseen,
        )  # fmt: skip
        return {starts[i]: look for i, look in found.items()}

    def _new_object(self, class_id: int, frame: int) -> TrackedObject:
        return TrackedObject(
            id=None,
            class_id=class_id,
            class_name=self.tools.classes.name(class_id),
            born=frame,
            last_seen=frame,
        )
