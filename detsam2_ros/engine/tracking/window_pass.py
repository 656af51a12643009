# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What one closed window does: detections to prompts, the reverse pass, who is who.

Everything here works on drafts; the stream takes them over when the window has succeeded, so
that a window that fails half way leaves the stream as it was and can be closed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from detsam2_ros.engine.config import frames_to_be_sure
from detsam2_ros.engine.sam2.steps import MaskPrediction
from detsam2_ros.engine.tracking.conditioning import Conditioner
from detsam2_ros.engine.tracking.dormant import is_back, may_be_back, recalled
from detsam2_ros.engine.tracking.following import followed, lost
from detsam2_ros.engine.tracking.frame_masks import FrameMasks
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.ids import IdAssigner
from detsam2_ros.engine.tracking.merging import (
    detected_apart,
    found_apart_since,
    lost_to,
    shared_frames,
    shared_masks,
)
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.reidentification import same_before_birth
from detsam2_ros.engine.tracking.reverse_pass import PassInput, Steps, StopRule, reverse_steps
from detsam2_ros.engine.tracking.tentative import detected_area, missed
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.results.masks import Mask

TrackedFrames = dict[int, MaskPrediction]  # what a pass found of one object, by frame index


@dataclass
class WindowPass:
    """One window being closed: do all `steps`, then `finish`.

    Nothing that happens to the stream between two steps changes the pass.
    """

    tools: Toolbox
    frames: Mapping[int, Frame]  # all that the pass may reach, by index, window included
    window: Sequence[Frame]
    objects: list[TrackedObject]  # the stream's; after `steps` the drafts to take over
    oldest: int  # the last frame of the pass
    # The stream's; after `steps` without those that are back.
    dormant: list[TrackedObject] = field(default_factory=list)
    merged_ids: set[int] = field(default_factory=set)  # ids that went into others
    retired: list[TrackedObject] = field(default_factory=list)  # unseen for too long, or lost
    lost_since: dict[int, int] = field(default_factory=dict)  # ids of lost ones: the first frame
    withdrawn_ids: set[int] = field(default_factory=set)  # ids that stood for nothing
    masks: dict[int, FrameMasks] = field(default_factory=dict)  # what was found, by frame index
    _absorbed: dict[int, TrackedObject] = field(default_factory=dict)  # by serial: into which
    _known: dict[int, Mapping[int, ConditioningFrame]] = field(default_factory=dict)  # by serial
    _late: Sequence[int] = ()  # frames with prompts that came since the last pass

    @property
    def newest(self) -> int:
        """The index of the window's last frame."""
        return self.window[-1].index

    @property
    def _is_online(self) -> bool:
        return self.tools.config.mode == 'online'

    def steps(self) -> Steps[None]:
        """Fill `masks` for every frame in reach, about a frame a step."""
        drafts = [obj.draft(self.newest) for obj in self.objects]
        self.objects = [obj for obj in drafts if obj.remembers]
        self._known = {obj.serial: obj.prompts for obj in drafts}
        self._late = sorted({at for obj in drafts for at in obj.unread} & self.frames.keys())
        if not self._is_online:
            self.dormant = [obj.draft() for obj in self.dormant]
            conditioner = Conditioner(
                self.tools, self.objects, self.dormant, frames_seen=self.newest + 1
            )
            conditioner.condition_window([f for f in self.window if f.published is None])
            yield
        tracked = yield from self._propagate(self._to_be_tracked())
        yield from self._collect(tracked)
        if self.tools.config.association == 'instance':
            yield from self._reunite(tracked)
        if self.dormant:
            yield from self._recall(tracked)

    def finish(self, live: Sequence[TrackedObject], ids: IdAssigner) -> None:
        """Bring the drafts up to date: with what came since, ids, sightings, who is one.

        live: the stream's objects as of now.
        """
        self._rejoin(live)
        self._make_room({obj.serial for obj in live})
        for obj in self.objects:
            seen = [index for index, found in self.masks.items() if found.visible(obj)]
            ids.note(obj, seen, obj.id is not None or self._surely_seen(obj))
        if self.tools.config.association == 'instance':
            self._merge()
        self._withdraw()
        self._retire()

    def confirmed_ids(self) -> set[int | None]:
        """Return the ids of confirmed objects, retired ones included."""
        return {obj.id for obj in (*self.objects, *self.retired) if obj.confirmed}

    def withdraw_retired(self) -> None:
        """Withdraw what retired without ever being confirmed: no detection can confirm it."""
        gone = {obj.id for obj in self.retired if not obj.confirmed and obj.id is not None}
        self.withdrawn_ids |= gone

    def _surely_seen(self, obj: TrackedObject) -> bool:
        """Tell whether an object without id was seen well enough, frame after frame."""
        longest = run = 0
        for index in sorted(self.masks):
            sure = self.masks[index].surely_visible(obj, self.tools.config.bank_object_score)
            run = run + 1 if sure else 0
            longest = max(longest, run)
        return longest >= frames_to_be_sure(self.tools.config)

    def _to_be_tracked(self) -> list[TrackedObject]:
        """Return the objects that the pass tracks.

        In mode online those with a prompt or a bank that no pass has read: nothing else is new.
        What a pass found of the others it would find again, and forward tracking went on from
        there.
        """
        if not self._is_online:
            return list(self.objects)
        return [obj for obj in self.objects if self._start(obj) >= self.oldest]

    def _start(self, obj: TrackedObject) -> int:
        """Return the frame that a pass begins on for an object, -1 where nothing is unread.

        Online, frames after an object's newest prompt were tracked forward from it. A pass from
        the newest frame would find worse masks there, and older ones from these.
        """
        if not self._is_online:
            return self.newest
        if unread := obj.unread:
            # But those that came before a late prompt were tracked without it.
            late = max(obj.prompts[at].tracked_until for at in unread)
            return min(max(*obj.prompts, late), self.newest)
        if obj.prompts or obj.bank.since is None:
            return -1
        return min(obj.bank.since, self.newest)

    def _propagate(
        self, objects: Sequence[TrackedObject]
    ) -> Steps[dict[TrackedObject, TrackedFrames]]:
        """Run a pass over some objects; returns what was tracked, by object and frame."""
        if not objects:
            return {}
        config, stop = self.tools.config, None
        if config.early_stop_iou > 0:
            stop = StopRule(config.early_stop_iou, config.early_stop_frames)
        starts = [self._start(obj) for obj in objects]
        outputs = yield from reverse_steps(
            self.tools.model,
            {i: self.frames[i].encoded for i in range(self.oldest, self.newest + 1)},
            [
                PassInput(
                    memory=obj.memory(config),
                    prompted=frozenset(obj.prompts),
                    newest=start,
                    published=self._published_masks(obj, start) if stop is not None else {},
                )
                for obj, start in zip(objects, starts, strict=True)
            ],
            span=range(self.oldest, max(starts) + 1),
            frames_seen=self.newest + 1,
            clock=self.tools.stats.clock,
            stop=stop,
        )
        for obj, output in zip(objects, outputs, strict=True):
            obj.read(self.newest)
            if not self._is_online:
                obj.tracked_memories = output.memories
        self.tools.stats.add(passes=1, tracked_frames=sum(len(o.tracked) for o in outputs))
        return {obj: output.tracked for obj, output in zip(objects, outputs, strict=True)}

    def _published_masks(self, obj: TrackedObject, start: int) -> dict[int, torch.Tensor]:
        """Return the object's published masks that its pass may stop at.

        Those of frames before its unread prompts and the prompt before these: between two prompts
        tracking is worst, and close to either a pass finds the same masks.
        """
        if obj.id is None:
            return {}
        before = min(obj.unread, default=start + 1)
        if obj.unread:
            before = max((at for at in obj.prompts if at < before), default=before)
        return {
            index: frame.published_masks[obj.id]
            for index, frame in self.frames.items()
            if obj.id in frame.published_masks and index < before
        }

    def _collect(self, tracked: Mapping[TrackedObject, TrackedFrames]) -> Steps[None]:
        """Gather each frame's masks: of objects that were tracked or have a prompt there.

        Where the pass lost an object that tracking had followed, what was published stays.
        """
        reach = [self.frames[index] for index in range(self.oldest, self.newest + 1)]
        paths = followed(tracked, reach, self.tools.config)
        for index in range(self.oldest, self.newest + 1):
            found = {obj: tracked.get(obj, {}).get(index) for obj in self.objects}
            with self.tools.stats.clock('masks'):
                masks = FrameMasks.gather(index, found, self.tools.resizer)
                there = [obj for obj, path in paths.items() if index in path]
                self.masks[index] = masks.without(lost(masks, self.frames[index], there))
            yield

    def _reunite(self, tracked: dict[TrackedObject, TrackedFrames]) -> Steps[None]:
        """Recognise new objects that the pass followed back to an older one's own masks.

        Then the detection was of the older object, which had been lost on the way to it: it
        takes over the prompts, and its pass is run again with them.
        """
        first = self.window[0].index
        published = {i: frame.published for i, frame in self.frames.items() if i < first}
        pairs = same_before_birth(self.masks, published, self.tools.config.match_iou, first)
        yield from self._unite(pairs, tracked)

    def _recall(self, tracked: dict[TrackedObject, TrackedFrames]) -> Steps[None]:
        """Recognise young objects that are dormant ones, on frames with a new prompt.

        The first one may have shown too little of it. Young are those that no final frame shows.
        """
        recognised: dict[TrackedObject, TrackedObject] = {}  # by the younger one
        for index in sorted({*self._late, *(frame.index for frame in self.window)}):
            frame = self.frames[index]
            young = [
                obj for obj in self.objects
                if obj not in recognised and may_be_back(obj, index, self.oldest)
            ]  # fmt: skip
            if not young or not self.dormant:
                continue
            logits = torch.stack([obj.prompts[frame.index].logits for obj in young])
            boxes = self.tools.resizer.boxes(logits)
            classes = np.array([obj.class_id for obj in young])
            unseen = [obj for obj in self.objects if self._is_unseen(obj, frame.index)]
            found = recalled(
                self.tools, frame, boxes, classes, self.dormant, self.objects, unseen
            )
            for row, own in enumerate(young):
                if is_back(own, found.get(row)):
                    older = found[row].obj
                    assert older is not None
                    self.dormant = [obj for obj in self.dormant if obj is not older]
                    own.retrack(self.newest)
                    recognised[own] = older.draft()
        self.objects += recognised.values()
        self.tools.stats.add(recalled_objects=len(recognised))
        yield from self._unite([(older, own) for own, older in recognised.items()], tracked)

    def _is_unseen(self, obj: TrackedObject, index: int) -> bool:
        """Tell whether a frame does not show a confirmed object."""
        known = obj.confirmed and bool(obj.prompts) and index not in obj.prompts
        return known and not self._mask(index, obj)

    def _unite(
        self,
        pairs: Sequence[tuple[TrackedObject, TrackedObject]],
        tracked: dict[TrackedObject, TrackedFrames],
    ) -> Steps[None]:
        """Make one object of each (older, younger) pair, and run the older one's pass again."""
        for older, younger in pairs:
            self._absorb(older, younger, set(younger.prompts))
            tracked.pop(younger, None)
        if pairs:
            tracked.update((yield from self._propagate([older for older, _ in pairs])))
            yield from self._collect(tracked)

    def _rejoin(self, live: Sequence[TrackedObject]) -> None:
        """Take over what came to the stream's objects while the window was being closed.

        In mode online that is the trail of forward tracking, and what frames after the window's
        last brought: prompts, ids, sightings, new objects. Late prompts are for the next pass.
        """
        drafts = {obj.serial: obj for obj in self.objects}
        for obj in live:
            draft = drafts.get(obj.serial)
            if draft is not None:
                draft.learn(obj)
            if draft is not None and self._is_online:
                draft.id, draft.born = obj.id, obj.born
                draft.last_seen = max(draft.last_seen, obj.last_seen)
                draft.tracked_memories = dict(obj.tracked_memories)
                draft.sightings = obj.sightings
                draft.area, draft.steady_since = obj.area, obj.steady_since
                if obj.bank.since is not None and obj.bank.since > self.newest:
                    draft.bank = replace(draft.bank, since=obj.bank.since)
        for obj in live:
            known = self._known.get(obj.serial, {})
            later = {at for at, prompt in obj.prompts.items() if known.get(at) is not prompt}
            draft = drafts.get(obj.serial)
            own = draft or self._absorbed.get(obj.serial)
            if own is None:
                self.objects.append(obj.draft())
            elif later or draft is None:
                own.follow(obj, later)
                own.learn(obj)
                if draft is None and self._is_online:
                    own.retrack(obj.last_seen)

    def _make_room(self, live: set[int]) -> None:
        """Let go of what the window started where others came to the stream meanwhile.

        There are max_objects at most, and nobody has heard of these yet. live: serials of the
        stream's objects.
        """
        surplus = max(len(self.objects) - self.tools.config.max_objects, 0)
        kept = live | {obj.serial for obj in self._absorbed.values()}
        started = [obj for obj in self.objects if obj.serial not in kept]
        started.sort(key=lambda obj: obj.id is None)  # stable: dormant ones that are back go last
        for obj in started[len(started) - surplus :]:
            self.objects.remove(obj)
            back = obj.id is not None  # it was dormant
            self.dormant += [obj] if back else []
            self.tools.stats.add(ignored_detections=len(obj.prompts), recalled_objects=-int(back))

    def _absorb(self, older: TrackedObject, younger: TrackedObject, frames: set[int]) -> None:
        """Make one object of two; the older's id lives."""
        older.absorb(younger, frames)
        self.objects.remove(younger)
        self._absorbed[younger.serial] = older
        if younger.id is not None:
            self.merged_ids.add(younger.id)

    def _merge(self) -> None:
        """Make one object of those that came to share one mask; the older id lives.

        Two that were detected apart stay two: one of them is lost, and may return.
        """
        config, limit = self.tools.config, self.tools.config.merge_iou
        # A window may be of one frame; two must say it wherever a pass sees two.
        newest = sorted(self.masks)[-max(config.window_size, 2) :]
        if len(newest) < min(2, config.max_propagation):
            return
        for pair in shared_masks(self.objects, newest, self._mask, limit):
            if not all(obj in self.objects for obj in pair):  # one was lost to a third
                continue
            if detected_apart(*pair, self.tools.resizer):
                self._lose(pair)
                continue
            frames = shared_frames(self.masks, self._mask, pair, limit)
            older, younger = pair
            later = {at for at in younger.prompts if at > self.newest}
            self._absorb(older, younger, frames | later)

    def _lose(self, pair: tuple[TrackedObject, TrackedObject]) -> None:
        """Retire the one of two objects that is lost to the other's place."""
        found = lost_to(self.masks, self._mask, pair, self.tools.config.merge_iou)
        if found is None:
            return
        stays, lost, first = found
        if found_apart_since(stays, lost, first, self._mask, self.tools.resizer):
            return
        stays.follow(lost, {at for at in lost.prompts if at >= first})
        lost.prompts = {at: prompt for at, prompt in lost.prompts.items() if at < first}
        self.objects.remove(lost)
        self.retired.append(lost)
        assert lost.id is not None
        self.lost_since[lost.id] = first

    def _mask(self, index: int, obj: TrackedObject) -> Mask | None:
        """Return an object's mask on a frame: as found, else as published; None out of reach."""
        if index not in self.masks:
            return None
        mask = self.masks[index].mask(obj)
        return self.frames[index].mask_of(obj.id) if mask is None else mask

    def _withdraw(self) -> None:
        """Let go of tentative objects that the detector does not find where they are."""
        config, frames = self.tools.config, [self.frames[index] for index in self.masks]
        for obj in [obj for obj in self.objects if not obj.confirmed]:
            obj.detected_area = max(obj.detected_area, detected_area(obj, self._mask))
            now = missed(obj, frames, self.objects, self._mask, config.match_iou)
            obj.missed = now | {at for at in obj.missed if at < self.oldest}
            if len(obj.missed) >= config.withdraw_detections:
                self.objects.remove(obj)
                if obj.id is not None:
                    self.withdrawn_ids.add(obj.id)

    def _retire(self) -> None:
        """Let go of objects that were not seen for long."""
        limit = self.newest - self.tools.config.max_lost_frames
        self.retired += [
            obj for obj in self.objects if obj.id is not None and obj.last_seen <= limit
        ]
        self.objects = [obj for obj in self.objects if obj not in self.retired]
