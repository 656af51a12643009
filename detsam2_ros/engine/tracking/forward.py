# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online: a frame is tracked forward as it arrives, so that it has masks at once.

A forward frame reads conditioned memories, the bank, and the memories that forward tracking wrote
of the frames just before it; a pass reads nothing of what is written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from detsam2_ros.engine.config import EngineConfig, frames_to_be_sure
from detsam2_ros.engine.sam2.attention import KeyCache
from detsam2_ros.engine.sam2.context import Context, select_context
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.sam2.steps import Decoded, memories_of, memorise, same_layout, track
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.conditioning import Prompter
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.identity import FrameMasks, Names, recognise
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.engine.tracking.reverse import Tracked


@dataclass
class ForwardStep:
    """One frame on its arrival: call `track`, give the frame its detections, call `finish`.

    frames: those in reach of a pass, by index. cache: of forward tracking. It works on drafts:
    `objects` and `names` are taken over when it has succeeded. Call it inside
    `Sam2Model.inference()`.
    """

    model: Sam2Model
    config: EngineConfig
    composer: Composer
    stats: StatsRecorder
    class_names: Mapping[int, str]
    frame: Frame
    frames: Mapping[int, Frame]
    objects: list[TrackedObject]
    names: Names
    cache: KeyCache
    _decoded: list[tuple[list[TrackedObject], Decoded]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = [entry.draft() for entry in self.objects]

    def track(self) -> None:
        """Find every object on the frame, from what is remembered of the frames before it."""
        features = self.frame.features
        assert features is not None
        contexts = {
            row: self._context(entry)
            for row, entry in enumerate(self.objects)
            if entry.remembers
        }
        for rows in same_layout(contexts):
            with self.stats.clock('track'):
                decoded = track(
                    self.model, features, [contexts[row] for row in rows], self.cache
                )
            self._decoded.append(([self.objects[row] for row in rows], decoded))
        self.cache.advance()
        self.stats.add(forward_frames=len(contexts))

    def finish(self) -> FrameMasks:
        """Match and condition where there are detections, remember the rest; returns the masks.

        The forward track serves association too: it tells where each object is.
        """
        tracked: dict[TrackedObject, Tracked | None] = {
            entry: Tracked(decoded.logits[i], decoded.score[i])
            for entries, decoded in self._decoded
            for i, entry in enumerate(entries)
        }
        if self.frame.detections:
            Prompter(
                model=self.model,
                config=self.config,
                composer=self.composer,
                stats=self.stats,
                class_names=self.class_names,
                objects=self.objects,
                frames_seen=self.frame.index + 1,
            ).condition_frame(self.frame, self._boxes(tracked))
            if self.config.association == 'instance':
                index = self.frame.index
                new = [e for e in self.objects if e.id is None and e.born == index]
                recognise(
                    self.model, self.config, self.composer, self.stats, self.frame, self.frames,
                    self.objects, new, tracked,
                )  # fmt: skip
        with self.stats.clock('masks'):
            found = FrameMasks.gather(
                self.frame.index,
                {entry: tracked.get(entry) for entry in self.objects},
                self.composer,
            )
        for entry in self.objects:
            self._note(entry, found)
        self._remember()
        return found

    def _note(self, entry: TrackedObject, found: FrameMasks) -> None:
        """Note whether an object was seen; one that only a bank knows must be for a while."""
        index, config = self.frame.index, self.config
        waits = entry.id is None and not entry.conditioned
        if waits:
            again = found.sure(entry, config.bank_object_score)
            entry.sightings = entry.sightings + 1 if again else 0
        self.names.note(
            entry,
            [index] if found.visible(entry) else [],
            entry.sightings >= frames_to_be_sure(config),
        )
        if waits and entry.id is not None and frames_to_be_sure(config) > 1:
            entry.bank_since = index  # a pass shows it on the frames on which it waited

    def _context(self, entry: TrackedObject) -> Context:
        recall = entry.recall(self.config)
        return select_context(
            self.model,
            recall,
            {**(recall.passing or {}), **entry.recent},
            self.frame.index,
            frames_seen=self.frame.index + 1,
            reverse=False,
        )

    def _boxes(self, tracked: Mapping[TrackedObject, Tracked | None]) -> np.ndarray:
        """Return where the objects are, float32 [m, 4] xyxy pixels, zeros unseen."""
        boxes = np.zeros((len(self.objects), 4), np.float32)
        found = {row: tracked.get(entry) for row, entry in enumerate(self.objects)}
        logits = {row: own.logits for row, own in found.items() if own is not None}
        if logits:
            with self.stats.clock('associate'):
                boxes[list(logits)] = self.composer.boxes(torch.stack(list(logits.values())))
        return boxes

    def _waits(self, entry: TrackedObject) -> bool:
        """Whether an object is to be looked for anew on the next frame, from its bank alone.

        A trail finds again what it found, right or wrong; looks that know nothing of one another
        agree where they are right.
        """
        return entry.id is None and frames_to_be_sure(self.config) > 1

    def _remember(self) -> None:
        """Write memories of the objects that have no prompt here; forget what is too far back."""
        index, features = self.frame.index, self.frame.features
        assert features is not None
        for entries, decoded in self._decoded:
            rows = [
                i
                for i, entry in enumerate(entries)
                if index not in entry.conditioned and not self._waits(entry)
            ]
            if not rows:
                continue
            if len(rows) < len(entries):
                decoded = _rows(decoded, rows)
            with self.stats.clock('memorise'):
                spatial = memorise(self.model, features, decoded, prompted=False)
            for row, memory in zip(rows, memories_of(decoded, spatial), strict=True):
                entries[row].recent[index] = memory
        reach = self.model.module.num_maskmem, self.model.module.max_obj_ptrs_in_encoder
        for entry in self.objects:
            for at in list(entry.recent):
                distance = index + 1 - at  # as the next frame sees it
                if distance >= max(reach):
                    del entry.recent[at]
                elif distance >= reach[0]:
                    entry.recent[at] = entry.recent[at].pointer_only()


def _rows(decoded: Decoded, rows: Sequence[int]) -> Decoded:
    keep = list(rows)
    return Decoded(decoded.logits[keep], decoded.pointer[keep], decoded.score[keep])
