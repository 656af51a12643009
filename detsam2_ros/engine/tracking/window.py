# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What one closed window does: detections to prompts, the reverse pass, who is who.

Everything here works on drafts; the stream takes them over when the window has succeeded, so
that a window that fails half way leaves the stream as it was and can be closed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from detsam2_ros.engine.config import EngineConfig, frames_to_be_sure
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.resize import Composer
from detsam2_ros.engine.stats import StatsRecorder
from detsam2_ros.engine.tracking.conditioning import Prompter
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.identity import (
    FrameMasks,
    Names,
    same_before_birth,
    shared_frames,
    shared_masks,
)
from detsam2_ros.engine.tracking.objects import Conditioning, TrackedObject
from detsam2_ros.engine.tracking.reverse import PassInput, Steps, StopRule, Tracked, reverse_steps
from detsam2_ros.results.masks import PackedMasks


@dataclass
class WindowRun:
    """One window being closed: do all `steps`, then `finish`.

    frames: all that the pass may reach, by index, window included. frames_seen: frames of the
    stream up to the window's last. oldest: the last frame of the pass. In the end objects are
    the drafts to take over, masks hold what was found by frame index, merged_ids are ids that
    went into others. Nothing that happens to the stream between two steps changes the pass.
    """

    model: Sam2Model
    config: EngineConfig
    composer: Composer
    stats: StatsRecorder
    class_names: Mapping[int, str]
    frames: Mapping[int, Frame]
    window: Sequence[Frame]
    objects: list[TrackedObject]
    frames_seen: int
    oldest: int
    merged_ids: set[int] = field(default_factory=set)
    masks: dict[int, FrameMasks] = field(default_factory=dict)
    _absorbed: dict[int, TrackedObject] = field(default_factory=dict)  # by serial: into which
    _known: dict[int, dict[int, Conditioning]] = field(default_factory=dict)  # by serial: prompts

    @property
    def newest(self) -> int:
        """The index of the window's last frame."""
        return self.window[-1].index

    def steps(self) -> Steps[None]:
        """Fill `masks` for every frame in reach, about a frame a step."""
        drafts = [entry.draft(self.newest) for entry in self.objects]
        self.objects = [entry for entry in drafts if entry.remembers]
        self._known = {entry.serial: dict(entry.conditioned) for entry in drafts}
        if self.config.mode == 'window':
            Prompter(
                model=self.model,
                config=self.config,
                composer=self.composer,
                stats=self.stats,
                class_names=self.class_names,
                objects=self.objects,
                frames_seen=self.frames_seen,
            ).condition_window([frame for frame in self.window if frame.published is None])
            yield
        tracked = yield from self._propagate(self._with_news())
        yield from self._collect(tracked)
        if self.config.association == 'instance':
            yield from self._reunite(tracked)

    def finish(self, live: Sequence[TrackedObject], names: Names) -> None:
        """Bring the drafts up to date: with what came since, names, sightings, who is one.

        live: the stream's objects as of now.
        """
        self._rejoin(live)
        for entry in self.objects:
            seen = [index for index, found in self.masks.items() if found.visible(entry)]
            names.note(entry, seen, entry.id is not None or self._sure(entry))
        if self.config.association == 'instance':
            self._merge()
        self._retire()

    def _sure(self, entry: TrackedObject) -> bool:
        """Tell whether an object without id was seen well enough, frame after frame."""
        longest = run = 0
        for index in sorted(self.masks):
            run = run + 1 if self.masks[index].sure(entry, self.config.bank_object_score) else 0
            longest = max(longest, run)
        return longest >= frames_to_be_sure(self.config)

    def _with_news(self) -> list[TrackedObject]:
        """Return the objects that the pass tracks.

        In mode online those with a prompt or a bank that no pass has read: nothing else is news.
        What a pass found of the others it would find again, and forward tracking went on from
        there.
        """
        if self.config.mode == 'window':
            return list(self.objects)
        return [entry for entry in self.objects if self._start(entry) >= self.oldest]

    def _start(self, entry: TrackedObject) -> int:
        """Return the frame that a pass begins on for an object, -1 where it has no news.

        Online, frames after an object's newest prompt were tracked forward from it. A pass from
        the newest frame would find worse masks there, and older ones from these.
        """
        if self.config.mode == 'window':
            return self.newest
        if entry.unread:
            # But those that came before a late prompt were tracked without it.
            late = max(entry.late.get(frame, frame) for frame in entry.unread)
            return min(max(*entry.conditioned, late), self.newest)
        return -1 if entry.conditioned else min(entry.bank_since, self.newest)

    def _propagate(
        self, objects: Sequence[TrackedObject]
    ) -> Steps[dict[TrackedObject, dict[int, Tracked]]]:
        """Run a pass over some objects; returns what was tracked, by object and frame."""
        if not objects:
            return {}
        config, stop = self.config, None
        if config.early_stop_iou > 0:
            stop = StopRule(config.early_stop_iou, config.early_stop_frames)
        starts = [self._start(entry) for entry in objects]
        outputs = yield from reverse_steps(
            self.model,
            {
                index: frame.features
                for index, frame in self.frames.items()
                if self.oldest <= index <= self.newest and frame.features is not None
            },
            [
                PassInput(
                    recall=entry.recall(config),
                    prompted=frozenset(entry.conditioned),
                    newest=start,
                    settled=self._settled(entry, start) if stop is not None else {},
                )
                for entry, start in zip(objects, starts, strict=True)
            ],
            newest=max(starts),
            oldest=self.oldest,
            frames_seen=self.frames_seen,
            clock=self.stats.clock,
            stop=stop,
        )
        for entry, output in zip(objects, outputs, strict=True):
            entry.read(self.newest)
            if config.mode == 'window':
                entry.recent = output.memories
        self.stats.add(passes=1, tracked_frames=sum(len(o.tracked) for o in outputs))
        return {entry: output.tracked for entry, output in zip(objects, outputs, strict=True)}

    def _settled(self, entry: TrackedObject, start: int) -> dict[int, torch.Tensor]:
        """Return the object's published masks, of frames before all prompts that are news."""
        if entry.id is None:
            return {}
        before = min(entry.unread, default=start + 1)
        return {
            index: frame.settled[entry.id]
            for index, frame in self.frames.items()
            if entry.id in frame.settled and index < before
        }

    def _collect(
        self, tracked: Mapping[TrackedObject, Mapping[int, Tracked]]
    ) -> Steps[None]:
        """Gather each frame's masks: of objects that were tracked or have a prompt there."""
        for index in range(self.oldest, self.newest + 1):
            found = {entry: tracked.get(entry, {}).get(index) for entry in self.objects}
            with self.stats.clock('masks'):
                self.masks[index] = FrameMasks.gather(index, found, self.composer)
            yield

    def _reunite(self, tracked: dict[TrackedObject, dict[int, Tracked]]) -> Steps[None]:
        """Recognise new objects that the pass followed back to an older one's own masks.

        Then the detection was of the older object, which had been lost on the way to it: it
        takes over the prompts, and its pass is run again with them.
        """
        published = {
            index: frame.published
            for index, frame in self.frames.items()
            if index < self.window[0].index
        }
        pairs = same_before_birth(
            self.masks, published, self.config.match_iou, self.window[0].index
        )
        for older, younger in pairs:
            self._absorb(older, younger, set(younger.conditioned))
            del tracked[younger]
        if pairs:
            tracked.update((yield from self._propagate([older for older, _ in pairs])))
            yield from self._collect(tracked)

    def _rejoin(self, live: Sequence[TrackedObject]) -> None:
        """Take over what came to the stream's objects while the window was being closed.

        In mode online that is the trail of forward tracking, and what frames after the window's
        last brought: prompts, ids, sightings, new objects. Late prompts are for the next pass.
        """
        drafts = {entry.serial: entry for entry in self.objects}
        for entry in live:
            draft = drafts.get(entry.serial)
            if draft is not None and self.config.mode == 'online':
                draft.id, draft.born = entry.id, entry.born
                draft.last_seen = max(draft.last_seen, entry.last_seen)
                draft.recent = dict(entry.recent)
                draft.sightings = entry.sightings
                if entry.bank_since > self.newest:
                    draft.bank_since = entry.bank_since
        for entry in live:
            known = self._known.get(entry.serial, {})
            later = {f for f, prompt in entry.conditioned.items() if known.get(f) is not prompt}
            draft = drafts.get(entry.serial)
            own = draft or self._absorbed.get(entry.serial)
            if own is None:
                self.objects.append(entry.draft())
            elif later or draft is None:
                own.follow(entry, later)

    def _absorb(self, older: TrackedObject, younger: TrackedObject, frames: set[int]) -> None:
        """Make one object of two; the older's id lives."""
        older.absorb(younger, frames)
        self.objects.remove(younger)
        self._absorbed[younger.serial] = older
        if younger.id is not None:
            self.merged_ids.add(younger.id)

    def _merge(self) -> None:
        """Make one object of those that came to share one mask; the older id lives."""
        limit, window = self.config.merge_iou, [frame.index for frame in self.window]
        for older, younger in shared_masks(self.objects, window, self._view, limit):
            frames = shared_frames(self.masks, self._view, older, younger, limit)
            later = {frame for frame in younger.conditioned if frame > self.newest}
            self._absorb(older, younger, frames | later)

    def _view(self, index: int, entry: TrackedObject) -> tuple[PackedMasks, int] | None:
        """Return where an object's mask on a frame is: as found, else as published."""
        view = self.masks[index].view(entry)
        published = self.frames[index].published
        if view is not None or published is None:
            return view
        rows = [row for row, shown in enumerate(published.objects) if shown.id == entry.id]
        return (published.packed, rows[0]) if rows else None

    def _retire(self) -> None:
        """Let go of objects that were not seen for long; their ids are not given again soon."""
        self.objects = [
            entry
            for entry in self.objects
            if entry.id is None or self.newest - entry.last_seen < self.config.max_lost_frames
        ]
