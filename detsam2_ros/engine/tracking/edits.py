# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prompts, detections and changes by hand, for frames that a stream holds already.

Nothing here runs a pass: an edit conditions objects on such a frame, and the next pass reads that
as it reads any prompt. In mode online, frames that came since were tracked without the prompt;
`ConditioningFrame.tracked_until` makes the pass begin there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detsam2_ros.engine.detector.classes import prompted_class
from detsam2_ros.engine.sam2.prompts import Prompt, decode_prompt
from detsam2_ros.engine.sam2.steps import encode_memory
from detsam2_ros.engine.tracking.bank_objects import banked, renamed, without
from detsam2_ros.engine.tracking.conditioning import Conditioner
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.reidentification import reidentify
from detsam2_ros.engine.tracking.state import StreamState
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.detections import Detections, LateDetections, usable
from detsam2_ros.results.errors import PromptError
from detsam2_ros.results.frames import Object, Prompted
from detsam2_ros.results.masks import Mask


@dataclass(frozen=True)
class StreamEdit:
    """One change to a stream by hand, between two frames; each returns the state that it makes.

    The frames that are edited are encoded.
    """

    tools: Toolbox  # its class table is a draft, to take over with the state
    state: StreamState

    def prompt(
        self, frame: Frame, prompt: Prompt, class_name: str, object_id: int | None
    ) -> tuple[StreamState, Prompted]:
        """Condition an object, a new one without an id, on a frame."""
        tools = self.tools
        if not isinstance(prompt, Prompt):
            raise PromptError(
                f"stream '{tools.stream}' takes a Prompt, such as Prompt(box=(x0, y0, x1, y1)), "
                f'got {type(prompt).__name__}'
            )
        objects = [obj.draft() for obj in self.state.objects]
        dormant = [obj.draft() for obj in self.state.dormant]
        class_name = prompted_class(class_name)
        obj = self._prompted_object(objects, dormant, class_name, object_id)
        before = None if obj is None else frame.mask_of(obj.id)
        prompt.check(*tools.resizer.size, refines=bool(before))
        with tools.model.inference(), tools.stats.clock('decode_prompt'):
            predicted = decode_prompt(
                tools.model,
                frame.encoded,
                prompt,
                tools.resizer.size,
                None if before is None else before.pixels(),
            )
            memory = encode_memory(tools.model, frame.encoded, predicted, prompted=True)[0]
            mask = tools.resizer.masks(predicted.logits)[0]
            score = float(predicted.score[0].sigmoid())
            newest = self.state.next_index - 1
            conditioning = ConditioningFrame.of(frame, memory, predicted.logits[0], newest)
        if not mask:
            raise PromptError(
                f"stream '{tools.stream}': nothing is found at the prompt on frame "
                f'{frame.index}; use a tighter box, more points or a mask'
            )
        if obj is None and object_id is None:
            obj = self._same_thing(objects, frame, mask, class_name)
        if obj is not None and obj.id is None:
            obj.by_hand = True
        if obj is None:
            class_id = tools.classes.find(class_name)
            obj = TrackedObject(None, class_id, class_name, by_hand=True)
        if obj not in objects:
            objects.append(obj)
        dormant = [other for other in dormant if other is not obj]
        obj.prompt(frame.index, conditioning)
        obj.confirmed = True
        # What was tracked after it was tracked without it, and may have been of something else.
        obj.tracked_memories = {
            at: memory for at, memory in obj.tracked_memories.items() if at < frame.index
        }
        state = replace(self._with_ids([obj], frame, objects), dormant=tuple(dormant))
        back = len(self.state.dormant) - len(dormant)
        tools.stats.add(conditioned_frames=1, prompts=1, recalled_objects=back)
        assert obj.id is not None
        shown = Object(obj.id, obj.class_id, obj.class_name, score, True, mask, obj.state)
        prompted = Prompted(frame.index, frame.stamp, shown, frame.tag)
        return state.found_again([obj], frame.index), prompted

    def detections(self, frame: Frame, given: Detections) -> tuple[StreamState, LateDetections]:
        """Match detections with what is known of a frame; condition and start objects there."""
        tools, state = self.tools, self.state
        if not isinstance(given, Detections):
            raise PromptError(
                f"stream '{tools.stream}' takes Detections, of a frame without any "
                f'Detections.empty(), got {type(given).__name__}'
            )
        found, rejected = usable(given, *tools.resizer.size)
        tools.stats.add(detections=len(given), rejected_detections=rejected)
        if frame.published is None:
            frame = replace(frame, detections=_together(frame.detections, found), searched=True)
            return state.with_frames([frame]), LateDetections(waiting=True)
        objects = [obj.draft() for obj in state.objects]
        dormant = [obj.draft() for obj in state.dormant]
        known = {obj.serial for obj in (*objects, *dormant)}
        had = {obj.serial for obj in objects if frame.index in obj.prompts}

        def conditioned() -> list[TrackedObject]:
            return [o for o in objects if frame.index in o.prompts and o.serial not in had]

        newest = state.next_index - 1
        conditioner = Conditioner(tools, objects, dormant, newest + 1, tracked_until=newest)
        with tools.model.inference():
            boxes = self._boxes(frame, objects)
            conditioner.condition_frame(replace(frame, detections=found), boxes)
            matched_or_new = conditioned()
            if tools.config.mode == 'online' and tools.config.association == 'instance':
                new = {obj for obj in matched_or_new if obj.serial not in known}
                reidentify(tools, frame, state.frames, objects, new, {})
        left = conditioned()  # without those that were recognised as another
        if tools.config.mode == 'online':  # else a pass has to tell first that an object is new
            state = self._with_ids(left, frame, objects)
        else:
            state = replace(state, objects=tuple(objects))
        started = sum(obj.serial not in known for obj in left)
        matched = len(matched_or_new) - started
        # What the detector did not find there counts too, when the next window closes.
        frame = replace(frame, detections=_together(frame.detections, found), searched=True)
        late = LateDetections(matched, started, len(given) - matched - started)
        state = state.found_again(left, frame.index).with_frames([frame])
        return replace(state, dormant=tuple(dormant)), late

    def remove(self, object_id: int) -> tuple[StreamState, Object]:
        """Forget an object, and what the bank in use holds of it."""
        state = self.state
        obj = self._find((*state.objects, *state.dormant), object_id)
        return replace(
            state,
            bank=without(state.bank, obj),
            objects=tuple(other for other in state.objects if other is not obj),
            dormant=tuple(other for other in state.dormant if other is not obj),
            merged_or_removed_ids=state.merged_or_removed_ids | {object_id},
        ), self.describe(obj)

    def rename(self, object_id: int, class_name: str) -> tuple[StreamState, Object]:
        """Give an object another class, and what the bank in use holds of it."""
        objects = [obj.draft() for obj in self.state.objects]
        dormant = [obj.draft() for obj in self.state.dormant]
        obj = self._find([*objects, *dormant], object_id)
        class_name = prompted_class(class_name)
        if not class_name:
            raise PromptError(f'object {object_id} needs a class name to be renamed to')
        class_id = self.tools.classes.find(class_name)
        bank = renamed(self.state.bank, obj, class_id, class_name)
        obj.class_id, obj.class_name = class_id, class_name
        state = replace(self.state, bank=bank, objects=tuple(objects), dormant=tuple(dormant))
        return state, self.describe(obj)

    def describe(self, obj: TrackedObject) -> Object:
        """Describe an object with an id by where it was shown last."""
        assert obj.id is not None
        for index in sorted(self.state.frames, reverse=True):
            published = self.state.frames[index].published
            shown = None if published is None else published.objects.get(obj.id)
            if shown is not None:
                return replace(
                    shown, class_id=obj.class_id, class_name=obj.class_name, state=obj.state
                )
        mask = Mask(self.tools.resizer.size)
        return Object(obj.id, obj.class_id, obj.class_name, 0.0, False, mask, obj.state)

    def _find(self, objects: Sequence[TrackedObject], object_id: int) -> TrackedObject:
        """Return the object with an id; PromptError, naming those that there are."""
        for obj in objects:
            if obj.id == object_id:
                return obj
        ids = sorted(obj.id for obj in objects if obj.id is not None)
        there = f'there are {", ".join(map(str, ids))}' if ids else 'it has none yet'
        raise PromptError(f"stream '{self.tools.stream}' has no object {object_id}; {there}")

    def _prompted_object(
        self,
        objects: Sequence[TrackedObject],
        dormant: Sequence[TrackedObject],
        class_name: str,
        object_id: int | None,
    ) -> TrackedObject | None:
        """Return the object that a prompt is for; None for a new one."""
        if object_id is not None:
            obj = self._find([*objects, *dormant], object_id)
            if obj not in objects:
                self._check_place(objects)
            if class_name not in ('', obj.class_name):
                raise PromptError(
                    f"object {object_id} is a '{obj.class_name}', the prompt says "
                    f"'{class_name}'; rename it first, or leave the class name empty"
                )
            return obj
        if not class_name:
            raise PromptError('a new object needs a class name')
        if self.tools.config.association == 'class':
            for obj in objects:
                if obj.class_name == class_name:
                    return obj
        self._check_place(objects)
        return None

    def _check_place(self, objects: Sequence[TrackedObject]) -> None:
        if len(objects) >= self.tools.config.max_objects:
            raise PromptError(
                f"stream '{self.tools.stream}' has {len(objects)} objects already{banked(objects)}"
                f'; remove one or raise max_objects'
            )

    def _boxes(self, frame: Frame, objects: Sequence[TrackedObject]) -> np.ndarray:
        """Return where objects are, prompted or as published, float32 [m, 4]; zeros unseen."""
        boxes = np.zeros((len(objects), 4), np.float32)
        for i, obj in enumerate(objects):
            shown = frame.mask_of(obj.id)
            if frame.index in obj.prompts:
                logits = obj.prompts[frame.index].logits
                boxes[i] = self.tools.resizer.boxes(logits[None])[0]
            elif shown is not None and shown.box is not None:
                boxes[i] = shown.box
        return boxes

    def _same_thing(
        self, objects: Sequence[TrackedObject], frame: Frame, mask: Mask, class_name: str
    ) -> TrackedObject | None:
        """Return the object of a class that has this very mask on a frame."""
        for obj in objects:  # by its class of now: what was published may be before a rename
            prompt = obj.prompts.get(frame.index)  # not published where no pass has read it
            if prompt is not None:
                known: Mask | None = self.tools.resizer.masks(prompt.logits[None])[0]
            else:
                known = frame.mask_of(obj.id)
            if known is None or obj.class_name != class_name:
                continue
            if mask.iou(known) >= self.tools.config.merge_iou:
                return obj
        return None

    def _with_ids(
        self, prompted: Sequence[TrackedObject], frame: Frame, objects: Sequence[TrackedObject]
    ) -> StreamState:
        """Return the state with objects of which some were prompted on a frame and need ids."""
        ids = self.state.id_assigner()
        for obj in prompted:
            ids.note(obj, [frame.index])
        self.tools.stats.add(objects=ids.given, recalled_objects=ids.recalled)
        return replace(self.state, ids=ids.ids, objects=tuple(objects))


def _together(first: Detections | None, second: Detections) -> Detections:
    """Join the detections of two messages, the best ones first."""
    if first is None:
        return second
    scores = np.concatenate([first.scores, second.scores])
    order = np.argsort(-scores, kind='stable')
    return Detections(
        np.concatenate([first.boxes, second.boxes])[order],
        np.concatenate([first.class_ids, second.class_ids])[order],
        scores[order],
    )
