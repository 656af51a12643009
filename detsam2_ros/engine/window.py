# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What one closed window does: detections to prompts, the reverse pass, masks, corrections.

Everything here works on drafts; the stream takes them over when the window has succeeded, so
that a window that fails half way leaves the stream as it was and can be closed again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from detsam2_ros.engine.association import IdAllocator, TrackView, merged_pairs
from detsam2_ros.engine.compose import Composer
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.frames import Frame
from detsam2_ros.engine.masks import PackedMasks
from detsam2_ros.engine.objects import TrackedObject
from detsam2_ros.engine.prompting import Prompter
from detsam2_ros.engine.reverse import PassInput, Tracked, reverse_pass
from detsam2_ros.engine.sam2_model import Sam2Model
from detsam2_ros.engine.stats import StatsRecorder


@dataclass
class FrameMasks:
    """The masks that a window found for one frame; row i of each belongs to objects[i]."""

    objects: list[TrackedObject]
    logits: torch.Tensor
    scores: list[float]
    packed: PackedMasks

    def row(self, entry: TrackedObject) -> int | None:
        """Return the row of an object, or None."""
        return next((i for i, other in enumerate(self.objects) if other is entry), None)


@dataclass
class WindowRun:
    """One window being closed. frames: all that the pass may reach, window included."""

    model: Sam2Model
    config: EngineConfig
    composer: Composer
    stats: StatsRecorder
    class_names: Mapping[int, str]
    frames: Mapping[int, Frame]
    window: Sequence[Frame]
    objects: list[TrackedObject]
    ids: IdAllocator
    ids_in_use: set[int]
    frames_seen: int
    oldest: int
    retired: list[TrackedObject] = field(default_factory=list)
    merged_ids: set[int] = field(default_factory=set)
    masks: dict[int, FrameMasks] = field(default_factory=dict)
    _ids_before: int = 0

    @property
    def new_ids(self) -> int:
        """How many ids this window gave."""
        return len(self.ids_in_use) - self._ids_before

    @property
    def newest(self) -> int:
        """The index of the window's last frame."""
        return self.window[-1].index

    def run(self) -> None:
        """Fill `masks` for every frame in reach and bring the drafts up to date."""
        self.objects = [entry.draft() for entry in self.objects]
        self.ids = copy.copy(self.ids)
        self._ids_before = len(self.ids_in_use)
        self.ids_in_use = set(self.ids_in_use)
        prompter = Prompter(
            model=self.model,
            config=self.config,
            composer=self.composer,
            stats=self.stats,
            class_names=self.class_names,
            ids=self.ids,
            ids_in_use=self.ids_in_use,
            objects=self.objects,
            frames_seen=self.frames_seen,
        )
        prompter.condition_window(self.window)
        tracked = self._propagate()
        with self.stats.clock('masks'):
            for index in range(self.oldest, self.newest + 1):
                self.masks[index] = self._collect(index, tracked)
        self._name_seen_bank_objects(prompter)
        self._note_sightings()
        self._merge()
        self._retire()

    def _propagate(self) -> dict[int, dict[int, Tracked]]:
        """Run the pass; returns what was tracked, by row of `objects` and frame."""
        rows = [row for row, entry in enumerate(self.objects) if entry.remembers]
        if not rows:
            return {}
        inputs = [
            PassInput(
                self.objects[row].recall(self.config.max_conditioned_memories),
                frozenset(self.objects[row].conditioned),
            )
            for row in rows
        ]
        features = {
            index: frame.features
            for index, frame in self.frames.items()
            if index >= self.oldest and frame.features is not None
        }
        outputs = reverse_pass(
            self.model,
            features,
            inputs,
            newest=self.newest,
            oldest=self.oldest,
            frames_seen=self.frames_seen,
            clock=self.stats.clock,
        )
        for row, output in zip(rows, outputs, strict=True):
            self.objects[row].recent = output.memories
        self.stats.add(passes=1, tracked_frames=sum(len(o.tracked) for o in outputs))
        return {row: output.tracked for row, output in zip(rows, outputs, strict=True)}

    def _collect(self, index: int, tracked: dict[int, dict[int, Tracked]]) -> FrameMasks:
        """Gather an image's masks: prompted ones where there are prompts, else tracked ones."""
        objects, logits, scores = [], [], []
        for row, found in tracked.items():
            entry = self.objects[row]
            prompt = entry.conditioned.get(index)
            objects.append(entry)
            logits.append(found[index].logits if prompt is None else prompt.logits)
            scores.append(found[index].score if prompt is None else prompt.memory.score)
        size = self.model.mask_size
        stacked = torch.stack(logits) if logits else torch.zeros(0, size, size)
        presence = torch.stack(scores).sigmoid().tolist() if scores else []
        return FrameMasks(objects, stacked, presence, self.composer.pack(stacked))

    def _name_seen_bank_objects(self, prompter: Prompter) -> None:
        """Give a bank object its id on the frame where it is first seen."""
        for entry in self.objects:
            if entry.id is None:
                seen = [index for index in self.masks if self._visible(entry, index)]
                if seen:
                    entry.id, entry.born = prompter.take_id(), min(seen)

    def _note_sightings(self) -> None:
        for entry in self.objects:
            seen = [index for index in self.masks if self._visible(entry, index)]
            entry.last_seen = max([entry.last_seen, *seen])

    def _visible(self, entry: TrackedObject, index: int) -> bool:
        row = self.masks[index].row(entry)
        return row is not None and bool(self.masks[index].packed.bits[row])

    def _merge(self) -> None:
        """Make one object of those that came to share one mask; the older id lives."""
        named = {entry.id: entry for entry in self.objects if entry.id is not None}
        views = [
            TrackView(
                id_, entry.class_id, entry.born, [self._view(entry, f.index) for f in self.window]
            )
            for id_, entry in named.items()
        ]
        for older_id, younger_id in merged_pairs(views, self.config.merge_iou):
            older, younger = named[older_id], named[younger_id]
            older.absorb(younger, self._shared_frames(older, younger))
            self.merged_ids.add(younger_id)
            self.objects.remove(younger)
            if younger.bank:  # the bank's object is still to be looked for
                self.objects.append(younger.unseen())

    def _view(self, entry: TrackedObject, index: int) -> tuple[PackedMasks, int] | None:
        row = self.masks[index].row(entry)
        return None if row is None else (self.masks[index].packed, row)

    def _shared_frames(self, a: TrackedObject, b: TrackedObject) -> set[int]:
        shared = set()
        for index in self.masks:
            one, other = self._view(a, index), self._view(b, index)
            if one is None or other is None or not one[0].bits[one[1]]:
                continue
            if one[0].iou(one[1], *other) >= self.config.merge_iou:
                shared.add(index)
        return shared

    def _retire(self) -> None:
        """Let go of objects that were not seen for long; their ids are not given again soon."""
        for entry in list(self.objects):
            if entry.id is None or self.newest - entry.last_seen < self.config.max_lost_frames:
                continue
            self.objects.remove(entry)
            self.retired.append(entry)
            if entry.bank:
                self.objects.append(entry.unseen())
