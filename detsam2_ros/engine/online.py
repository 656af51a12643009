# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online: a frame is tracked forward as it arrives, so that it has masks at once.

A forward frame reads conditioned memories, the bank, and the memories that forward tracking wrote
of the frames just before it; a pass reads nothing of what is written here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from detsam2_ros.engine.compose import Composer
from detsam2_ros.engine.config import EngineConfig, frames_to_be_sure
from detsam2_ros.engine.frames import Frame
from detsam2_ros.engine.identify import FrameMasks, Names, same_before_birth
from detsam2_ros.engine.keys import KeyCache
from detsam2_ros.engine.memory import Context, select_context
from detsam2_ros.engine.objects import TrackedObject
from detsam2_ros.engine.prompting import Prompter
from detsam2_ros.engine.reverse import (
    PassInput,
    Tracked,
    memories_of,
    reverse_pass,
    same_layout,
)
from detsam2_ros.engine.sam2_model import Sam2Model
from detsam2_ros.engine.stages import Decoded, memorise, track
from detsam2_ros.engine.stats import StatsRecorder


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


def recognise(
    model: Sam2Model,
    config: EngineConfig,
    composer: Composer,
    stats: StatsRecorder,
    frame: Frame,
    frames: Mapping[int, Frame],
    objects: list[TrackedObject],
    new: Collection[TrackedObject],
    tracked: Mapping[TrackedObject, Tracked | None],
) -> None:
    """Recognise new objects that are older ones, lost since the detection frame before.

    As in a window's pass, but before an id is given and shown: a new object is followed back to
    where an older one of its class, not detected now, has prompts or published masks. new: of
    the objects, those first detected on the frame; what is recognised is taken out of them.
    tracked: what else is known of the frame.
    """
    index = frame.index
    lost = [e for e in objects if 0 <= e.born < index not in e.conditioned]
    new = [e for e in new if any(e.class_id == other.class_id for other in lost)]
    oldest = index - (config.detect_interval or config.window_size)
    past = {at: other for at, other in frames.items() if oldest <= at < index}
    if not new or not past:
        return
    features = {at: other.features for at, other in (past | {index: frame}).items()}
    with stats.clock('associate'):
        outputs = reverse_pass(
            model,
            features,
            [PassInput(e.recall(config, 1), frozenset(e.conditioned)) for e in new],
            newest=index,
            oldest=min(past),
            frames_seen=index + 1,
        )
        masks = {index: FrameMasks.gather(index, {**tracked, **dict.fromkeys(new)}, composer)}
        for at in past:
            found = {e: o.tracked.get(at) for e, o in zip(new, outputs, strict=True)}
            masks[at] = FrameMasks.gather(at, {**dict.fromkeys(lost), **found}, composer)
    stats.add(associated_frames=sum(len(output.tracked) for output in outputs))
    published = {at: other.published for at, other in past.items()}
    for older, younger in same_before_birth(masks, published, config.match_iou, index):
        older.absorb(younger, {index})
        objects.remove(younger)
