# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prompts and detections for frames that a stream holds already.

Nothing here runs a pass: it conditions objects on such a frame, and the next pass reads that as it
reads any prompt. In mode online, frames that came since were tracked without it; `TrackedObject.
late` tells the pass to begin there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.detector.classes import ClassTable
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.prompts import Prompt, decode
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.sam2.steps import memories_of, memorise
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.bank_objects import renamed, without
from detsam2_ros.engine.tracking.conditioning import Prompter
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.identity import recognise
from detsam2_ros.engine.tracking.objects import Conditioning, TrackedObject
from detsam2_ros.engine.tracking.state import StreamState
from detsam2_ros.results.detections import Detections, LateDetections, usable
from detsam2_ros.results.errors import PromptError
from detsam2_ros.results.frames import Object, Prompted
from detsam2_ros.results.masks import PackedMasks


@dataclass(frozen=True)
class LateStep:
    """One change to a stream by hand, between two frames; a failure leaves the state as it was.

    The frames' features are there. composer: of the stream's images.
    """

    name: str
    model: Sam2Model
    config: EngineConfig
    composer: Composer
    stats: StatsRecorder
    classes: ClassTable
    state: StreamState

    def prompt(
        self, frame: Frame, prompt: Prompt, class_name: str, object_id: int | None
    ) -> Prompted:
        """Condition an object, a new one without an id, on a frame."""
        height, width = self.composer.height, self.composer.width
        entry = self._prompted_object(class_name, object_id)
        before = None if entry is None else _published_mask(frame, entry)
        prompt.check(height, width, refines=before is not None and bool(before.any()))
        features = frame.features
        assert features is not None
        with self.model.inference(), self.stats.clock('condition'):
            decoded = decode(self.model, features, prompt, (height, width), before)
            spatial = memorise(self.model, features, decoded, prompted=True)
            memory = memories_of(decoded, spatial)[0]
            packed = self.composer.pack(decoded.logits)
            score = float(decoded.score[0].sigmoid())
            conditioning = Conditioning.of(memory, decoded.logits[0], frame.stamp)
        if not packed.bits[0]:
            raise PromptError(
                f"stream '{self.name}': nothing is found at the prompt on frame {frame.index}; "
                f'use a tighter box, more points or a mask'
            )
        if entry is None and object_id is None:
            entry = self._same_thing(frame, packed, class_name)
        if entry is None:
            class_id = self.classes.find(class_name)
            entry = TrackedObject(
                None, class_id, class_name, born=-1, last_seen=-1, by_hand=True
            )
            self.state.objects.append(entry)
        entry.conditioned[frame.index] = conditioning
        entry.passed -= {frame.index}
        # What was tracked after it was tracked without it, and may have been of something else.
        entry.recent = {at: m for at, m in entry.recent.items() if at < frame.index}
        entry.last_seen = max(entry.last_seen, frame.index)
        self._mark([entry], frame)
        self._name([entry], frame)
        self.stats.add(conditioned_frames=1, prompts=1)
        assert entry.id is not None
        x0, y0, x1, y1 = (float(value) for value in packed.boxes[0])
        shown = Object(
            entry.id, entry.class_id, entry.class_name, score, (x0, y0, x1, y1), True, True
        )
        return Prompted(frame.index, frame.stamp, shown, packed.unpack()[0])

    def detections(self, frame: Frame, given: Detections) -> LateDetections:
        """Match detections with what is known of a frame; condition and start objects there."""
        found, rejected = usable(given, self.composer.height, self.composer.width)
        self.stats.add(detections=len(given), rejected_detections=rejected)
        if frame.published is None:
            frame.detections = _together(frame.detections, found)
            return LateDetections(waiting=True)
        objects = [entry.draft() for entry in self.state.objects]
        known = {entry.serial for entry in objects}
        had = {entry.serial for entry in objects if frame.index in entry.conditioned}

        def conditioned() -> list[TrackedObject]:
            return [e for e in objects if frame.index in e.conditioned and e.serial not in had]

        with self.model.inference():
            Prompter(
                model=self.model,
                config=self.config,
                composer=self.composer,
                stats=self.stats,
                class_names=self.classes.names,
                objects=objects,
                frames_seen=self.state.next_index,
            ).condition_frame(replace(frame, detections=found), self._boxes(frame, objects))
            matched_or_new = conditioned()
            if self.config.mode == 'online' and self.config.association == 'instance':
                recognise(
                    self.model, self.config, self.composer, self.stats, frame,
                    self.state.frames, objects,
                    {e for e in matched_or_new if e.serial not in known}, {},
                )  # fmt: skip
        self.state.objects = objects
        news = conditioned()  # without those that were recognised as another
        self._mark(news, frame)
        if self.config.mode == 'online':  # else a pass has to tell first that it is new
            self._name(news, frame)
        started = sum(entry.serial not in known for entry in objects)
        matched = len(matched_or_new) - started
        return LateDetections(matched, started, len(given) - matched - started)

    def remove(self, object_id: int) -> Object:
        """Forget an object, and what the bank in use holds of it."""
        entry = self.find(object_id)
        shown = self._describe(entry)
        self.state.bank = without(self.state.bank, entry)
        self.state.objects.remove(entry)
        self.state.gone |= {object_id}
        return shown

    def rename(self, object_id: int, class_name: str) -> Object:
        """Give an object another class, and what the bank in use holds of it."""
        entry = self.find(object_id)
        if not class_name:
            raise PromptError(f'object {object_id} needs a class name to be renamed to')
        class_id = self.classes.find(class_name)
        self.state.bank = renamed(self.state.bank, entry, class_id, class_name)
        entry.class_id, entry.class_name = class_id, class_name
        return self._describe(entry)

    def find(self, object_id: int) -> TrackedObject:
        """Return a living object; PromptError, naming those that there are."""
        for entry in self.state.objects:
            if entry.id == object_id:
                return entry
        ids = sorted(entry.id for entry in self.state.objects if entry.id is not None)
        there = f'there are {", ".join(map(str, ids))}' if ids else 'it has none yet'
        raise PromptError(f"stream '{self.name}' has no object {object_id}; {there}")

    def _prompted_object(self, class_name: str, object_id: int | None) -> TrackedObject | None:
        """Return the object that a prompt is for; None for a new one."""
        if object_id is not None:
            entry = self.find(object_id)
            if class_name not in ('', entry.class_name):
                raise PromptError(
                    f"object {object_id} is a '{entry.class_name}', the prompt says "
                    f"'{class_name}'; rename it first, or leave the class name empty"
                )
            return entry
        if not class_name:
            raise PromptError('a new object needs a class name')
        if self.config.association == 'class':
            for entry in self.state.objects:
                if entry.class_name == class_name:
                    return entry
        if sum(entry.is_known for entry in self.state.objects) >= self.config.max_objects:
            raise PromptError(
                f"stream '{self.name}' has {self.config.max_objects} objects already; remove one "
                f'or raise max_objects'
            )
        return None

    def _boxes(self, frame: Frame, objects: Sequence[TrackedObject]) -> np.ndarray:
        """Return where objects are, prompted or as published, float32 [m, 4]; zeros unseen."""
        assert frame.published is not None
        boxes = np.zeros((len(objects), 4), np.float32)
        rows = {shown.id: row for row, shown in enumerate(frame.published.objects)}
        for i, entry in enumerate(objects):
            if frame.index in entry.conditioned:
                logits = entry.conditioned[frame.index].logits
                boxes[i] = self.composer.boxes(logits[None])[0]
            elif entry.id in rows:
                boxes[i] = frame.published.packed.boxes[rows[entry.id]]
        return boxes

    def _same_thing(
        self, frame: Frame, packed: PackedMasks, class_name: str
    ) -> TrackedObject | None:
        """Return the object of a class that has this very mask on a frame."""
        if frame.published is None:
            return None
        for row, shown in enumerate(frame.published.objects):
            iou = packed.iou(0, frame.published.packed, row)
            if shown.class_name == class_name and iou >= self.config.merge_iou:
                for entry in self.state.objects:
                    if entry.id == shown.id:
                        return entry
        return None

    def _mark(self, entries: Sequence[TrackedObject], frame: Frame) -> None:
        """Note what was tracked without a prompt that came late."""
        newest = self.state.next_index - 1
        for entry in entries:
            if frame.index < newest:
                entry.late = {**entry.late, frame.index: newest}

    def _name(self, entries: Sequence[TrackedObject], frame: Frame) -> None:
        names = self.state.names()
        for entry in entries:
            names.note(entry, [frame.index])
        self.state.ids = names.ids
        self.stats.add(objects=names.given)

    def _describe(self, entry: TrackedObject) -> Object:
        """Describe an object by where it was shown last."""
        assert entry.id is not None
        for frame in sorted(self.state.frames.values(), key=lambda f: -f.index):
            if frame.published is None:
                continue
            for shown in frame.published.objects:
                if shown.id == entry.id:
                    return replace(
                        shown, class_id=entry.class_id, class_name=entry.class_name
                    )
        return Object(entry.id, entry.class_id, entry.class_name, 0.0, None, False, False)


def _published_mask(frame: Frame, entry: TrackedObject) -> np.ndarray | None:
    """Return an object's mask as published, bool [H, W]; None where it was not shown."""
    if frame.published is not None:
        for row, shown in enumerate(frame.published.objects):
            if shown.id == entry.id:
                mask: np.ndarray = frame.published.packed.rows([row]).unpack()[0]
                return mask
    return None


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
