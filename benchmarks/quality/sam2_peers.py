# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""sam2's own predictor over a clip, driven forward, offline, and in the report's ways.

All get the boxes of the same detection frames. Which box is which object is told as in the engine:
one to one by the IoU of the box with the box of the object's mask on that frame, within a class.
A prompt is decoded from its box alone. Nothing ever removes an object.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.harness.place import Place
from benchmarks.harness.place import load as load_model
from benchmarks.quality.balanced import encodings
from benchmarks.quality.peer_clips import Shown
from benchmarks.quality.peer_records import of_labels
from detsam2_ros.engine import Detections, EngineConfig
from detsam2_ros.engine.tracking.matching import assign, new_objects
from detsam2_ros.quality.segments import Revision, SegmentedFrame
from detsam2_ros.results.masks import mask_box
from oracle.driver import Oracle, build_predictor

DUPLICATE_IOU = 0.5  # a box that overlaps another one so much starts no object, as in the engine


@dataclass(frozen=True)
class Said:
    """All that a tracker said of a clip. settled: the newest frame when a frame became final."""

    revisions: Sequence[Revision]
    settled: Mapping[int, int]

    @classmethod
    def once(cls, revisions: Sequence[Revision]) -> Said:
        """Return revisions that all are the only ones of their frames."""
        return cls(revisions, {each.frame: each.newest for each in revisions})


@dataclass(frozen=True)
class Given:
    """A box that prompts an object."""

    frame: int
    id: int
    class_id: int
    box: tuple[float, ...]


@functools.lru_cache(maxsize=1)
def predictor() -> torch.nn.Module:
    """Build sam2's predictor with the shipped weights; it shares the encodings of a clip."""
    encoded = encodings('float32')
    _, settings = load_model('demo', None, Place())
    built = build_predictor(settings, encoded.model.module.state_dict())
    built.forward_image = encoded.once
    return built


class Tracker:
    """A clip through the predictor: frames that come one by one, objects with class and id."""

    def __init__(self, clip: Shown, config: EngineConfig):
        self.clip, self.config = clip, config
        self.height, self.width = clip.film[0].labels.shape
        self.oracle = Oracle(predictor(), self.height, self.width)
        self.classes: dict[int, int] = {}  # by id, in the order of the first prompts
        self.given: list[Given] = []

    @property
    def state(self) -> dict:
        assert self.oracle.state is not None
        return self.oracle.state

    def append(self, index: int) -> None:
        """Let the next frame of the clip arrive."""
        model = encodings('float32').model
        self.oracle.append(model.preprocess(self.clip.film[index].image))

    def track(self, frame: int) -> torch.Tensor:
        """Track all objects to a frame, from the frames before; returns logits [n, 1, H, W]."""
        if not self.classes:
            return torch.zeros(0, 1, self.height, self.width)
        ((_, _, logits),) = self.oracle.predictor.propagate_in_video(self.state, frame, 0)
        return logits

    def prompt(self, given: Given) -> torch.Tensor:
        """Prompt an object, which may be new; returns the logits of all, [n, 1, H, W]."""
        self._forget(given)
        self.classes.setdefault(given.id, given.class_id)
        self.given.append(given)
        _, _, logits = self.oracle.predictor.add_new_points_or_box(
            self.state, given.frame, given.id, box=list(given.box)
        )
        return logits

    def boxes(self, logits: torch.Tensor) -> np.ndarray:
        """Return the box around the mask of each object, float [n, 4], zeros without one."""
        masks = (logits[:, 0] > 0).numpy()
        return np.array([mask_box(mask) or (0, 0, 0, 0) for mask in masks]).reshape(-1, 4)

    def explained(self, frame: int, logits: torch.Tensor) -> tuple[list[Given], list[Given]]:
        """Tell the boxes of a frame apart: those of objects that are there, and new ones."""
        found, boxes = self.clip.found[frame], self.boxes(logits)
        ids, class_ids = list(self.classes), np.array(list(self.classes.values()), int)
        rows = assign(found, boxes, class_ids, self.config.match_iou)
        starts = new_objects(
            found, rows, boxes, class_ids, self.config.new_object_score, DUPLICATE_IOU
        )
        known = [_given(found, i, frame, ids[row]) for i, row in enumerate(rows) if row >= 0]
        new = [_given(found, i, frame, len(ids) + n) for n, i in enumerate(starts, 1)]
        return known, new

    def shown(self, logits: torch.Tensor) -> SegmentedFrame:
        """Return what logits show, [n, 1, H, W]; where masks overlap the higher logit wins."""
        labels = np.zeros((self.height, self.width), int)
        if len(logits):
            best, rows = logits[:, 0].max(0)
            ids = np.array(list(self.classes))
            labels = np.where(best.numpy() > 0, ids[rows.numpy()], 0)
        return of_labels(labels, self.classes)

    def _forget(self, given: Given) -> None:
        # A frame that was tracked would be corrected by the prompt, and not conditioned.
        if given.id in self.classes:
            row = self.state['obj_id_to_idx'][given.id]
            self.state['frames_tracked_per_obj'][row].pop(given.frame, None)
            self.state['output_dict_per_obj'][row]['non_cond_frame_outputs'].pop(given.frame, None)


def _given(found: Detections, row: int, frame: int, id_: int) -> Given:
    return Given(frame, id_, int(found.class_ids[row]), tuple(found.boxes[row].tolist()))


def forward(clip: Shown, config: EngineConfig, again: bool) -> tuple[Said, list[Given]]:
    """Track forward, frame by frame; what is shown of a frame stays. Returns the prompts too.

    A box that no object explains starts one; again: other boxes prompt their object once more.
    """
    tracker, revisions = Tracker(clip, config), []
    for frame in clip.film:
        tracker.append(frame.index)
        logits = tracker.track(frame.index)
        if frame.index in clip.found:
            known, new = tracker.explained(frame.index, logits)
            for given in [*(known if again else ()), *new]:
                logits = tracker.prompt(given)
        revisions.append(Revision(frame.index, 0, frame.index, True, tracker.shown(logits)))
    return Said.once(revisions), tracker.given


def offline(clip: Shown, config: EngineConfig, prompts: Sequence[Given]) -> Said:
    """Give all boxes of the clip first, then track once forward from frame 0."""
    tracker, last = Tracker(clip, config), clip.film[-1].index
    for frame in clip.film:
        tracker.append(frame.index)
    for given in prompts:
        tracker.prompt(given)
    if not prompts:
        return Said.once([Revision(f.index, 0, last, True, SegmentedFrame()) for f in clip.film])
    return Said.once([
        Revision(index, 0, last, True, tracker.shown(logits))
        for index, _, logits in tracker.oracle.predictor.propagate_in_video(tracker.state, 0)
    ])


def true_prompts(clip: Shown, config: EngineConfig) -> list[Given]:
    """Return all boxes with the ids of the truth, each false box one of its own."""
    prompts = []
    for frame, found in clip.found.items():
        for row, owner in enumerate(clip.owners(frame)):
            if found.scores[row] >= config.new_object_score:
                prompts.append(_given(found, row, frame, owner))
    return prompts


def backward(clip: Shown, config: EngineConfig) -> Said:
    """Drive it in the report's way: windows of K, then backwards over M; ids as in the engine."""
    tracker = Tracker(clip, config)

    def prompt(window: Sequence[int]) -> None:
        for frame in (index for index in window if index in clip.found):
            known, new = tracker.explained(frame, tracker.track(frame))
            for given in [*known, *new]:
                tracker.prompt(given)

    return _passes(tracker, prompt)


def report(clip: Shown, config: EngineConfig) -> Said:
    """Drive it by the report's own rule, as its code does it.

    An object is a class, and each box of a class prompts it. A frame with a box of any object is
    conditioned for all: who has none there is conditioned as absent, and so is a new object on
    the conditioned frames before. Conditioned frames beyond M are dropped.
    """
    tracker = Tracker(clip, config)
    conditioned: list[int] = []

    def prompt(window: Sequence[int]) -> None:
        for frame in (index for index in window if index in clip.found):
            found, there = clip.found[frame], set()
            before = set(tracker.classes)
            for row in np.argsort(-found.scores, kind='stable'):  # as YOLO has them
                if found.scores[row] >= config.new_object_score:
                    id_ = int(found.class_ids[row]) + 1
                    tracker.prompt(_given(found, int(row), frame, id_))
                    there.add(id_)
            if not there:
                continue
            for id_ in before - there:
                _absent(tracker, id_, frame)
            for id_ in there - before:
                for earlier in conditioned:
                    _absent(tracker, id_, earlier)
            conditioned.append(frame)
        oldest = window[-1] - config.max_propagation
        for frame in [index for index in conditioned[:-1] if index <= oldest]:
            conditioned.remove(frame)
            for outputs in tracker.state['output_dict_per_obj'].values():
                outputs['cond_frame_outputs'].pop(frame, None)

    return _passes(tracker, prompt)


def _absent(tracker: Tracker, id_: int, frame: int) -> None:
    """Condition an object as not there; its memory says otherwise of the score, as the code's."""
    empty = torch.zeros(tracker.height, tracker.width, dtype=torch.bool)
    tracker.oracle.predictor.add_new_mask(tracker.state, frame, id_, empty)
    row = tracker.state['obj_id_to_idx'][id_]
    output = tracker.state['temp_output_dict_per_obj'][row]['cond_frame_outputs'][frame]
    output['object_score_logits'] = torch.full_like(output['object_score_logits'], 10.0)


def _passes(tracker: Tracker, prompt: Callable[[Sequence[int]], None]) -> Said:
    """Close window after window: prompt it, then track backwards over M frames."""
    clip, config = tracker.clip, tracker.config
    revisions: list[Revision] = []
    said: dict[int, Revision] = {}
    settled: dict[int, int] = {}
    for begin in range(0, len(clip.film), config.window_size):
        window = range(begin, min(begin + config.window_size, len(clip.film)))
        for index in window:
            tracker.append(index)
        prompt(window)
        newest, oldest = window[-1], max(window[-1] - config.max_propagation + 1, 0)
        found = {index: SegmentedFrame() for index in window}
        if tracker.classes:
            # The predictor visits one frame more than it is asked for.
            run = tracker.oracle.predictor.propagate_in_video(
                tracker.state, newest, newest - oldest, reverse=True
            )
            found = {index: tracker.shown(logits) for index, _, logits in run}
        last = newest == len(clip.film) - 1
        horizon = newest + config.window_size - config.max_propagation + 1
        for index in sorted(found):
            before = said.get(index)
            if before is not None and before.shown == found[index]:
                continue
            number = 0 if before is None else before.revision + 1
            final = last or index < horizon
            said[index] = Revision(index, number, newest, final, found[index])
            revisions.append(said[index])
        for index in said:
            if last or index < horizon:
                settled.setdefault(index, newest)
    return Said(revisions, settled)
