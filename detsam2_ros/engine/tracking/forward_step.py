# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online: a frame is tracked forward as it arrives, so that it has masks at once.

A forward frame reads conditioning memories, the bank, and the memories that forward tracking
wrote of the frames just before it; a pass reads nothing of what is written here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from detsam2_ros.engine.config import frames_to_be_sure
from detsam2_ros.engine.sam2.attended_memories import Context, select_context
from detsam2_ros.engine.sam2.steps import MaskPrediction, encode_memories, track_objects
from detsam2_ros.engine.tracking.conditioning import Conditioner
from detsam2_ros.engine.tracking.frame_masks import FrameMasks
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.ids import IdAssigner
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.reidentification import reidentify
from detsam2_ros.engine.tracking.state import StreamState
from detsam2_ros.engine.tracking.toolbox import Toolbox

# A mask that is this many times larger or smaller than the prompted one is of a part of the
# object, or of more than that: a pass may find a better one.
_STEADY = 1.3


@dataclass
class ForwardStep:
    """One frame on its arrival: call `track`, give the frame its detections, call `finish`.

    Works on drafts of the objects and ids of a state. Call it inside `Sam2Model.inference()`.
    """

    tools: Toolbox
    state: StreamState
    frame: Frame
    objects: list[TrackedObject] = field(init=False)
    dormant: list[TrackedObject] = field(init=False)
    ids: IdAssigner = field(init=False)
    _tracked: dict[TrackedObject, MaskPrediction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.objects = [obj.draft() for obj in self.state.objects]
        self.dormant = [obj.draft() for obj in self.state.dormant]
        self.ids = self.state.id_assigner()

    def track(self) -> None:
        """Find every object on the frame, from what is remembered of the frames before it."""
        contexts = {obj: self._context(obj) for obj in self.objects if obj.remembers}
        with self.tools.stats.clock('track'):
            self._tracked = track_objects(
                self.tools.model, self.frame.encoded, contexts, self.state.cache
            )
        self.state.cache.advance()
        self.tools.stats.add(forward_frames=len(contexts))

    def finish(self, frame: Frame) -> FrameMasks:
        """Match and condition where there are detections, remember the rest; returns the masks.

        frame: the same, with its detections. The forward track serves association too: it tells
        where each object is.
        """
        self.frame, tools, index = frame, self.tools, frame.index
        if frame.detections:
            conditioner = Conditioner(tools, self.objects, self.dormant, frames_seen=index + 1)
            conditioner.condition_frame(frame, self._boxes())
            if tools.config.association == 'instance':
                new = [obj for obj in self.objects if obj.id is None and obj.born == index]
                reidentify(tools, frame, self.state.frames, self.objects, new, self._tracked)
        with tools.stats.clock('masks'):
            found = FrameMasks.gather(
                index, {obj: self._tracked.get(obj) for obj in self.objects}, tools.resizer
            )
        for obj in self.objects:
            self._note(obj, found)
            if index in obj.prompts:
                # The device has just answered; later this would wait for what is queued then.
                obj.prompts[index].memory.summary  # noqa: B018
        self._remember()
        return found

    def _note(self, obj: TrackedObject, found: FrameMasks) -> None:
        """Note whether an object was seen; one that only a bank knows must be for a while."""
        index, config = self.frame.index, self.tools.config
        waits = obj.waits
        if waits:
            again = found.surely_visible(obj, config.bank_object_score)
            obj.sightings = obj.sightings + 1 if again else 0
        seen = [index] if found.visible(obj) else []
        mask = found.mask(obj)
        area = 0 if mask is None else mask.area
        if index in obj.prompts:
            obj.area = area
        elif not obj.area <= area * _STEADY <= obj.area * _STEADY**2:
            obj.steady_since = index + 1
        self.ids.note(obj, seen, obj.sightings >= frames_to_be_sure(config))
        if waits and obj.id is not None and frames_to_be_sure(config) > 1:
            # a pass shows it on the frames on which it waited
            obj.bank = replace(obj.bank, since=index)

    def _context(self, obj: TrackedObject) -> Context:
        memory = obj.memory(self.tools.config)
        return select_context(
            self.tools.model,
            memory,
            {**memory.non_conditioning, **obj.tracked_memories},
            self.frame.index,
            frames_seen=self.frame.index + 1,
            reverse=False,
        )

    def _boxes(self) -> np.ndarray:
        """Return where the objects are, float32 [m, 4] xyxy pixels, zeros unseen."""
        with self.tools.stats.clock('associate'):
            rows = {row: self._tracked.get(obj) for row, obj in enumerate(self.objects)}
            found = {row: own for row, own in rows.items() if own is not None}
            return self.tools.resizer.boxes_of_rows(found, len(self.objects))

    def _is_looked_for_anew(self, obj: TrackedObject) -> bool:
        """Tell whether an object is to be looked for on the next frame from its bank alone.

        A trail finds again what it found, right or wrong; looks that know nothing of one another
        agree where they are right.
        """
        return obj.id is None and frames_to_be_sure(self.tools.config) > 1

    def _remember(self) -> None:
        """Write memories of the objects that have no prompt here; forget what is too far back."""
        index, model = self.frame.index, self.tools.model
        tracked = {
            obj: own
            for obj, own in self._tracked.items()
            if index not in obj.prompts and not self._is_looked_for_anew(obj)
        }
        with self.tools.stats.clock('encode_memory'):
            memories = encode_memories(model, self.frame.encoded, tracked)
        for obj, memory in memories.items():
            obj.tracked_memories[index] = memory
        near, far = model.module.num_maskmem, model.module.max_obj_ptrs_in_encoder
        for obj in self.objects:
            for at, memory in list(obj.tracked_memories.items()):
                distance = index + 1 - at  # as the next frame sees it
                if distance >= max(near, far):
                    del obj.tracked_memories[at]
                elif distance >= near:
                    obj.tracked_memories[at] = memory.pointer_only()
