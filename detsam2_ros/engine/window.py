# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What one closed window does: detections to prompts, the reverse pass, who is who.

Everything here works on drafts; the stream takes them over when the window has succeeded, so
that a window that fails half way leaves the stream as it was and can be closed again.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from detsam2_ros.engine.association import IdAllocator
from detsam2_ros.engine.compose import Composer
from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.frames import Frame
from detsam2_ros.engine.identify import FrameMasks, same_before_birth, shared_frames, shared_masks
from detsam2_ros.engine.objects import TrackedObject
from detsam2_ros.engine.prompting import Prompter
from detsam2_ros.engine.reverse import PassInput, StopRule, Tracked, reverse_pass
from detsam2_ros.engine.sam2_model import Sam2Model
from detsam2_ros.engine.stats import StatsRecorder


@dataclass
class WindowRun:
    """One window being closed.

    frames: all that the pass may reach, by index, window included. frames_seen: frames of the
    stream up to the window's last. oldest: the last frame of the pass. After `run`: objects,
    ids and ids_in_use are the drafts to take over, masks hold what was found by frame index,
    merged_ids are ids that went into others.
    """

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
    merged_ids: set[int] = field(default_factory=set)
    masks: dict[int, FrameMasks] = field(default_factory=dict)
    new_ids: int = 0

    @property
    def newest(self) -> int:
        """The index of the window's last frame."""
        return self.window[-1].index

    def run(self) -> None:
        """Fill `masks` for every frame in reach and bring the drafts up to date."""
        self.objects = [entry.draft() for entry in self.objects]
        self.ids = copy.copy(self.ids)
        self.ids_in_use = set(self.ids_in_use)
        prompter = Prompter(
            model=self.model,
            config=self.config,
            composer=self.composer,
            stats=self.stats,
            class_names=self.class_names,
            objects=self.objects,
            frames_seen=self.frames_seen,
        )
        prompter.condition_window(self.window)
        tracked = self._propagate([entry for entry in self.objects if entry.remembers])
        self._collect(tracked)
        if self.config.association == 'instance':
            self._reunite(tracked)
        self._name_and_note()
        if self.config.association == 'instance':
            self._merge()
        self._retire()

    def _propagate(
        self, objects: Sequence[TrackedObject]
    ) -> dict[TrackedObject, dict[int, Tracked]]:
        """Run a pass over some objects; returns what was tracked, by object and frame."""
        if not objects:
            return {}
        config = self.config
        cap = config.max_conditioned_memories
        stop = None
        if config.early_stop_iou > 0:
            stop = StopRule(config.early_stop_iou, config.early_stop_frames)
        outputs = reverse_pass(
            self.model,
            {
                index: frame.features
                for index, frame in self.frames.items()
                if self.oldest <= index <= self.newest and frame.features is not None
            },
            [
                PassInput(
                    entry.recall(cap),
                    frozenset(entry.conditioned),
                    self._settled(entry) if stop is not None else {},
                    self._reach(entry),
                )
                for entry in objects
            ],
            newest=self.newest,
            oldest=self.oldest,
            frames_seen=self.frames_seen,
            clock=self.stats.clock,
            stop=stop,
        )
        for entry, output in zip(objects, outputs, strict=True):
            entry.recent = output.memories
        self.stats.add(passes=1, tracked_frames=sum(len(o.tracked) for o in outputs))
        return {entry: output.tracked for entry, output in zip(objects, outputs, strict=True)}

    def _settled(self, entry: TrackedObject) -> dict[int, torch.Tensor]:
        """Return the object's published masks on frames before the window."""
        if entry.id is None:
            return {}
        start = self.window[0].index
        return {
            index: frame.settled[entry.id]
            for index, frame in self.frames.items()
            if index < start and entry.id in frame.settled
        }

    def _reach(self, entry: TrackedObject) -> int:
        """Return the oldest frame that a pass tracks the object on."""
        start = self.window[0].index
        confirmed = any(index >= start for index in entry.conditioned)
        if self.config.retrack_unprompted or confirmed or entry.id is None:
            return self.oldest
        return start

    def _collect(self, tracked: Mapping[TrackedObject, Mapping[int, Tracked]]) -> None:
        """Gather each frame's masks: prompted ones where there are prompts, else tracked ones.

        Objects that a pass left out on a frame are left out here: they stay as published.
        """
        size = self.model.mask_size
        with self.stats.clock('masks'):
            for index in range(self.oldest, self.newest + 1):
                objects, logits, scores = [], [], []
                for entry, found in tracked.items():
                    prompt = entry.conditioned.get(index)
                    if prompt is None and index not in found:
                        continue
                    objects.append(entry)
                    logits.append(found[index].logits if prompt is None else prompt.logits)
                    scores.append(found[index].score if prompt is None else prompt.memory.score)
                stacked = torch.stack(logits) if logits else torch.zeros(0, size, size)
                self.masks[index] = FrameMasks(
                    objects=objects,
                    logits=stacked,
                    scores=torch.stack(scores).sigmoid().tolist() if scores else [],
                    packed=self.composer.pack(stacked),
                )

    def _reunite(self, tracked: dict[TrackedObject, dict[int, Tracked]]) -> None:
        """Recognise new objects that the pass followed back to an older one's own masks.

        Then the detection was of the older object, which had been lost on the way to it: it
        takes over the prompts, and its pass is run again with them.
        """
        published = {
            index: frame.published
            for index, frame in self.frames.items()
            if index < self.window[0].index
        }
        pairs = same_before_birth(self.masks, published, self.config.match_iou)
        for older, younger in pairs:
            older.absorb(younger, set(younger.conditioned))
            self.objects.remove(younger)
            del tracked[younger]
        if pairs:
            tracked.update(self._propagate([older for older, _ in pairs]))
            self._collect(tracked)

    def _name_and_note(self) -> None:
        """Give ids to objects that are new or were seen for the first time; note sightings."""
        for entry in self.objects:
            seen = [index for index, found in self.masks.items() if found.visible(entry)]
            if entry.id is None and (seen or entry.conditioned):
                entry.born = min([*seen, *entry.conditioned]) if entry.born < 0 else entry.born
                entry.id = self.ids.take(self.ids_in_use)
                self.ids_in_use.add(entry.id)
                self.new_ids += 1
            entry.last_seen = max([entry.last_seen, *seen])

    def _merge(self) -> None:
        """Make one object of those that came to share one mask; the older id lives."""
        window = [self.masks[frame.index] for frame in self.window]
        for older, younger in shared_masks(window, self.config.merge_iou):
            assert younger.id is not None
            older.absorb(younger, shared_frames(self.masks, older, younger, self.config.merge_iou))
            self.merged_ids.add(younger.id)
            self.objects.remove(younger)

    def _retire(self) -> None:
        """Let go of objects that were not seen for long; their ids are not given again soon."""
        self.objects = [
            entry
            for entry in self.objects
            if entry.id is None or self.newest - entry.last_seen < self.config.max_lost_frames
        ]
