# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which masks are ghosts, which balls were found and when: from what was to be seen of a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from benchmarks.quality.false_boxes import KINDS, TRUE, Found
from benchmarks.quality.ghost_rules import Revision, View
from detsam2_ros.engine import Object, ObjectState
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import SceneFrame

# A mask shows a ball from this IoU on, or with this share of its pixels on the ball.
_IOU, _SHARE = 0.3, 0.5
FOUND_IOU = 0.5
MIN_VISIBLE = 0.3  # a ball of which less is seen need not be found
ORIGINS = (*KINDS, TRUE, 'none')


@dataclass(frozen=True)
class Cover:
    """Which mask shows which ball, one to one."""

    ball_of: Mapping[int, int]  # ball by object id
    iou_of: Mapping[int, float]  # best IoU by ball, 0 without a mask; of all visible balls
    ghosts: frozenset[int]  # object ids whose mask shows no ball, or one that another mask shows


def cover(frame: SceneFrame, masks: Mapping[int, Mask]) -> Cover:
    """Pair masks with balls so that the sum of IoUs is greatest."""
    balls = frame.ids[frame.visible]
    ids = [id_ for id_, mask in masks.items() if mask]
    weight, iou = np.zeros((len(ids), len(balls))), np.zeros((len(ids), len(balls)))
    areas = np.bincount(frame.labels.ravel(), minlength=len(frame.ids) + 1)[balls]
    for row, id_ in enumerate(ids):
        mask = masks[id_]
        assert mask.box is not None
        x0, y0, x1, y1 = mask.box
        labels = frame.labels[y0:y1, x0:x1][mask.crop()]
        both = np.bincount(labels, minlength=len(frame.ids) + 1)[balls]
        iou[row] = both / (len(labels) + areas - both)
        # Of two masks that show a ball by their pixels only, the larger part counts.
        shows = (iou[row] >= _IOU) | (both >= _SHARE * len(labels))
        weight[row] = np.where(shows, iou[row] + 1e-6, 0.0)
    pairs = [
        (ids[i], int(balls[j]), float(iou[i, j]))
        for i, j in zip(*linear_sum_assignment(weight, maximize=True), strict=True)
        if weight[i, j] > 0
    ]
    ball_of = {id_: ball for id_, ball, _ in pairs}
    best = {int(ball): 0.0 for ball in balls} | {ball: value for _, ball, value in pairs}
    return Cover(ball_of, best, frozenset(ids) - ball_of.keys())


@dataclass
class Ghosts:
    """(object id, frame) pairs: masks that are of no ball."""

    shown: set[tuple[int, int]] = field(default_factory=set)  # at any time
    left: set[tuple[int, int]] = field(default_factory=set)  # at last

    @property
    def withdrawn(self) -> set[tuple[int, int]]:
        """Those that were shown and are not left: gone, or their mask became that of a ball."""
        return self.shown - self.left


@dataclass
class Balls:
    """What was found of the balls, over their (ball, frame) pairs."""

    pairs: int = 0
    first_found: int = 0  # in the first masks of the frame
    found: int = 0  # at last
    ious: float = 0.0  # sum, at last
    lag: int = 0  # sum over those found at last: frames from arrival to the first mask
    switches: int = 0
    balls: int = 0  # different ones


def measure(
    film: Sequence[SceneFrame], seen: Sequence[Sequence[View]]
) -> tuple[Ghosts, Balls, set[int]]:
    """Compare what was to be seen of frames with the truth; also returns the ids at last."""
    ghosts, balls, ids = Ghosts(), Balls(), set()
    id_of: dict[int, int] = {}
    known: set[int] = set()
    for frame, views in zip(film, seen, strict=True):
        covers = [cover(frame, {t.id: t.mask for t in view.things}) for view in views]
        ghosts.shown |= {(id_, frame.index) for each in covers for id_ in each.ghosts}
        ghosts.left |= {(id_, frame.index) for id_ in covers[-1].ghosts}
        ids |= covers[-1].ball_of.keys() | covers[-1].ghosts
        for id_, ball in covers[-1].ball_of.items():
            balls.switches += id_of.get(ball, id_) != id_
            id_of[ball] = id_
        for ball in frame.ids[frame.visible_fraction >= MIN_VISIBLE].tolist():
            known.add(ball)
            times = [
                view.time
                for view, each in zip(views, covers, strict=True)
                if each.iou_of[ball] >= FOUND_IOU
            ]
            balls.pairs += 1
            balls.first_found += covers[0].iou_of[ball] >= FOUND_IOU
            balls.ious += covers[-1].iou_of[ball]
            if covers[-1].iou_of[ball] >= FOUND_IOU:
                balls.found += 1
                balls.lag += times[0] - frame.index
    balls.balls = len(known)
    return ghosts, balls, ids


def origins(
    revisions: Mapping[int, Sequence[Revision]], found: Mapping[int, Found]
) -> dict[int, str]:
    """Return what each object's first detection was of, one of ORIGINS, by id."""
    origin: dict[int, str] = {}
    for index in sorted(found):
        for thing in revisions[index][0].result.objects:
            if thing.id not in origin and thing.conditioned:
                kind = kind_of(thing, found[index])
                origin[thing.id] = kind or 'none'
    return origin


def kind_counts(
    pairs: Iterable[tuple[int, int]], origin: Mapping[int, str]
) -> dict[str, int]:
    """Count (object id, frame) pairs by what the object's first detection was of."""
    counts = Counter(origin.get(id_, 'none') for id_, _ in pairs)
    return {kind: counts[kind] for kind in ORIGINS}


def kind_of(thing: Object, found: Found) -> str | None:
    """Return what the detection was of that an object was prompted with; None without any."""
    if thing.box is not None:
        return found.kind_at(thing.box, thing.class_id)
    # SAM 2 made nothing of the box: rather a false one.
    of_class = [
        kind
        for kind, class_id in zip(found.kinds, found.detections.class_ids, strict=True)
        if class_id == thing.class_id
    ]
    return min(of_class, key=lambda kind: kind == TRUE, default=None)


def waits_for_confirmation(
    revisions: Mapping[int, Sequence[Revision]], origin: Mapping[int, str]
) -> list[int]:
    """Return frames from the first mask of each ball's object until it was called confirmed."""
    born: dict[int, int] = {}
    waits: dict[int, int] = {}
    events = sorted(
        (revision.time, index, number)
        for index, own in revisions.items()
        for number, revision in enumerate(own)
    )
    for time, index, number in events:
        for thing in revisions[index][number].result.objects:
            born.setdefault(thing.id, time)
            if thing.state == ObjectState.CONFIRMED:
                waits.setdefault(thing.id, time - born[thing.id])
    return [wait for id_, wait in waits.items() if origin.get(id_) == TRUE]
