# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Rendered clips, and where in their pictures there is what a detector takes for a ball."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from detsam2_ros.scene.camera import View
from detsam2_ros.scene.cast import draw_cast
from detsam2_ros.scene.occluders import Pose
from detsam2_ros.scene.render import Clip, SceneFrame, SceneOptions
from detsam2_ros.scene.table import layout

SIZE = 256
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels

# How much of a false box may be in the box of a ball.
_TOUCHES = 0.15


@dataclass(frozen=True)
class Structure:
    """A thing on the table that is no ball."""

    kind: str  # pocket, litter, hand or cue
    number: int  # tells things of a kind apart, over the clip
    box: Box


@dataclass(frozen=True)
class Scenery:
    """What surrounds the balls of a frame."""

    view: View
    structures: tuple[Structure, ...]
    radius: float  # of the balls, pixels
    half: tuple[float, float]  # of the playing field, units

    def cloth(self, rng: np.random.Generator, frame: SceneFrame) -> tuple[float, float] | None:
        """Draw a place of the empty cloth, in table units; None where none is found."""
        for _ in range(50):
            x, y = rng.uniform(-0.85, 0.85, 2) * self.half
            box = self.box_at((x, y))
            taken = [*frame.boxes[frame.visible], *(thing.box for thing in self.structures)]
            if all(_shared(box, other) == 0 for other in taken):
                return float(x), float(y)
        return None

    def box_at(self, place: tuple[float, float]) -> Box:
        """Return the box of a ball's size at a place, table units."""
        x, y = self.view.points(np.array([place]))[0]
        return (x - self.radius, y - self.radius, x + self.radius, y + self.radius)

    def free(self, frame: SceneFrame) -> list[Structure]:
        """Return the structures that no ball covers."""
        boxes = frame.boxes[frame.visible]
        return [
            thing
            for thing in self.structures
            if all(max(_shared(thing.box, b), _shared(b, thing.box)) < _TOUCHES for b in boxes)
        ]


class Filmed(Clip):
    """A clip that tells where its structures are."""

    def __init__(self, seed: int, options: SceneOptions):
        plan = layout(SIZE, SIZE)
        cast = draw_cast(seed, plan, options)
        super().__init__(seed, (SIZE, SIZE), plan, cast, options)
        bare = Clip(seed, (SIZE, SIZE), plan, cast, replace(options, distractors=0.0))
        self._litter = _litter(self, bare)
        self._poses: list[Pose] = []
        self._view: View | None = None

    def scene(self, index: int) -> tuple[SceneFrame, Scenery]:
        """Draw the next frame."""
        self._poses = []
        frame = self.frame(index)
        assert self._view is not None
        radius = self.radius * self._view.zoom
        return frame, Scenery(self._view, tuple(self._structures()), radius, self.plan.half)

    def background(self, view: View) -> np.ndarray:
        self._view = view
        return super().background(view)

    def _occlude(self, image: np.ndarray, labels: np.ndarray, view: View, pose: Pose) -> None:
        self._poses.append(pose)
        super()._occlude(image, labels, view, pose)

    def _structures(self) -> list[Structure]:
        assert self._view is not None
        hole, found = 1.35 * self.radius, []
        squares = [('pocket', (x, y), (hole, hole)) for x, y in self.motion.pockets]
        squares += [('litter', centre, half) for centre, half in self._litter]
        for number, (kind, centre, half) in enumerate(squares):
            (x, y), zoom = self._view.points(np.array([centre]))[0], self._view.zoom
            box = (x - half[0] * zoom, y - half[1] * zoom, x + half[0] * zoom, y + half[1] * zoom)
            found.append(Structure(kind, number, box))
        for pose in self._poses:
            found += self._occluder(pose)
        return [thing for thing in found if _is_inside(thing.box)]

    def _occluder(self, pose: Pose) -> list[Structure]:
        # A cue's origin is its tip; the palm of a hand is, and its fingers point along the pose.
        kind, back, front, side = ('cue', -5.0, 0.0, 0.3) if pose.sprite == 'cue' else (
            'hand', -1.5, 3.8, 1.9
        )  # fmt: skip
        assert self._view is not None
        along = np.array([math.cos(pose.angle), math.sin(pose.angle)]) * self.radius
        across = np.array([-along[1], along[0]]) * side
        ends = [
            (pose.x, pose.y) + far * along + sign * across
            for far in (back, front)
            for sign in (-1, 1)
        ]
        spots = self._view.points(np.array(ends))
        # Most of it is to be seen: the middle is in the picture.
        if not ((spots.mean(0) > 4) & (spots.mean(0) < SIZE - 4)).all():
            return []
        (x0, y0), (x1, y1) = spots.min(0).clip(0, SIZE), spots.max(0).clip(0, SIZE)
        return [Structure(kind, 0, (x0, y0, x1, y1))]


def film_of(
    seed: int, length: int, options: SceneOptions
) -> tuple[list[SceneFrame], list[Scenery]]:
    """Render a clip and its scenery."""
    clip = Filmed(seed, options)
    scenes = [clip.scene(index) for index in range(length)]
    return [frame for frame, _ in scenes], [scenery for _, scenery in scenes]


def _litter(clip: Clip, bare: Clip) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Find chalk and flat discs: what is on a table and not on the bare one. Centres and halves.

    Thin lines, and what is far from a ball's size, are left out.
    """
    differs = (np.abs(clip.table.astype(int) - bare.table).max(2) > 12).astype(np.uint8)
    middle = np.array([differs.shape[1] - 1, differs.shape[0] - 1]) / 2
    for x, y in clip.motion.pockets:  # drawn in another shade
        spot = np.round(np.array([x, y]) * clip.short + middle).astype(int)
        cv2.circle(differs, spot.tolist(), round(1.7 * clip.radius * clip.short), 0, -1)
    solid = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(solid)
    found = []
    for x, y, width, height, _ in stats[1:]:
        size = max(width, height) / (2 * clip.radius * clip.short)
        if 0.3 < size < 1.5 and min(width, height) >= 4:
            centre = (np.array([x + (width - 1) / 2, y + (height - 1) / 2]) - middle) / clip.short
            half = (width / 2 / clip.short, height / 2 / clip.short)
            found.append(((float(centre[0]), float(centre[1])), half))
    return found


def _shared(box: Sequence[float], other: Sequence[float]) -> float:
    """Return the share of a box that is in another one."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    area = (box[2] - box[0]) * (box[3] - box[1])
    return max(wide, 0.0) * max(high, 0.0) / area if area > 0 else 0.0


def _is_inside(box: Box) -> bool:
    wide, high = box[2] - box[0], box[3] - box[1]
    return wide >= 5 and high >= 5 and _shared(box, (0, 0, SIZE, SIZE)) > 0.7
