# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which masks are ghosts, which balls were found and when: from what was to be seen of a clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.quality.false_boxes import KINDS, TRUE, Found
from benchmarks.quality.ghost_rules import Revision, View
from detsam2_ros.engine import Object, ObjectState
from detsam2_ros.quality import ghosts
from detsam2_ros.quality.ghosts import Cover
from detsam2_ros.quality.scoring import FOUND_IOU
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import SceneFrame

MIN_VISIBLE = 0.3  # a ball of which less is seen need not be found
ORIGINS = (*KINDS, TRUE, 'none')


def cover(frame: SceneFrame, masks: Mapping[int, Mask]) -> Cover:
    """Pair masks with the balls that they show, see `detsam2_ros.quality.ghosts`."""
    balls = frame.ids[frame.visible].tolist()
    return ghosts.cover({ball: Mask.of(frame.labels == ball) for ball in balls}, masks)


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
    strays, balls, ids = Ghosts(), Balls(), set()
    id_of: dict[int, int] = {}
    known: set[int] = set()
    for frame, views in zip(film, seen, strict=True):
        covers = [cover(frame, {t.id: t.mask for t in view.things}) for view in views]
        strays.shown |= {(id_, frame.index) for each in covers for id_ in each.ghosts}
        strays.left |= {(id_, frame.index) for id_ in covers[-1].ghosts}
        ids |= covers[-1].things.keys() | covers[-1].ghosts
        for id_, ball in covers[-1].things.items():
            balls.switches += id_of.get(ball, id_) != id_
            id_of[ball] = id_
        for ball in frame.ids[frame.visible_fraction >= MIN_VISIBLE].tolist():
            known.add(ball)
            times = [
                view.time
                for view, each in zip(views, covers, strict=True)
                if each.ious[ball] >= FOUND_IOU
            ]
            balls.pairs += 1
            balls.first_found += covers[0].ious[ball] >= FOUND_IOU
            balls.ious += covers[-1].ious[ball]
            if covers[-1].ious[ball] >= FOUND_IOU:
                balls.found += 1
                balls.lag += times[0] - frame.index
    balls.balls = len(known)
    return strays, balls, ids


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
