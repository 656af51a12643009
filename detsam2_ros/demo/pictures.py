# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Pictures of masks beside the truth: rows of the demo's sheets and frames of its video."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from detsam2_ros.media.overlay import (
    AMBER,
    Colour,
    Drawable,
    Pen,
    draw_overlay,
    draw_text,
    enlarged,
)
from detsam2_ros.media.sheet import TILE_WIDTH, fitted, tile
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.scene.score import pairs

COLUMNS = ('image', 'masks as first published', 'final masks', 'truth')

# One for each phase of the demo, in order; toned so that white text can be read on them.
PHASE_COLOURS: tuple[Colour, ...] = (
    (38, 104, 184), (112, 118, 128), (30, 132, 84), (140, 76, 160),
)  # fmt: skip
_BETWEEN: Colour = (72, 76, 84)

_NIGHT, _SLATE, _FAINT = (18, 20, 24), (44, 48, 56), (150, 156, 166)
_WHITE, _GREY, _GREEN, _RED = (240, 242, 245), (128, 134, 144), (96, 200, 140), (226, 88, 80)
_TILE, _GAP, _HEAD, _TITLE, _STRIP = 512, 12, 52, 36, 104
_FONT = cv2.FONT_HERSHEY_DUPLEX
# Width in pixels of a frame in the strip below the masks.
_STEP = 4


@dataclass(frozen=True)
class NamedId:
    """An id with its name, to be drawn."""

    id: int
    class_name: str
    state: ObjectState = ObjectState.CONFIRMED


def comparison_row(
    image: np.ndarray,
    truth: np.ndarray,
    names: Mapping[int, str],
    first: tuple[np.ndarray, Sequence[Drawable]],
    last: tuple[np.ndarray, Sequence[Drawable]],
    corrected: Sequence[int] = (),
) -> list[np.ndarray]:
    """Return the pictures of COLUMNS, uint8 [h, w, 3] RGB, of one width.

    image: uint8 [H, W, 3] RGB. truth: integer [H, W], ball ids; names: of the balls. first, last:
    label image integer [H, W] and objects. corrected: ids to mark in the last masks.
    """
    painted, balls = match_colours(last[0], truth, names)
    tiles = [
        enlarged(image, truth)[0],
        tile(image, *first),
        tile(image, *last, corrected),
        tile(image, painted, balls),
    ]
    return [fitted(picture, TILE_WIDTH) for picture in tiles]


def match_colours(
    labels: np.ndarray, truth: np.ndarray, names: Mapping[int, str]
) -> tuple[np.ndarray, list[NamedId]]:
    """Renumber the truth so that a ball has the id, and so the colour, of its object.

    labels, truth: integer [H, W]. Returns uint16 [H, W] and the balls in it.
    """
    balls = np.unique(truth[truth > 0])
    keys = pairs(truth, balls, labels).partners
    free = 1 + int(labels.max(initial=0))
    ids = {ball: keys.get(ball, free + i) for i, ball in enumerate(balls.tolist())}
    table = np.zeros(int(truth.max(initial=0)) + 1, np.uint16)
    for ball, key in ids.items():
        table[ball] = key
    return table[truth], [NamedId(key, names.get(ball, '')) for ball, key in ids.items()]


@dataclass(frozen=True)
class FramePicture:
    """The contents of a frame of the video."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    phase: str
    clock: str
    # Labels uint16 [H, W] and objects, as first published and after corrections; None: no masks.
    first: tuple[np.ndarray, Sequence[Drawable]] | None
    last: tuple[np.ndarray, Sequence[Drawable]] | None
    revision: int = 0  # of `last`
    corrected: Collection[int] = ()  # ids to mark in `last`
    # Mean IoU of the first and the last masks with the truth; None without truth.
    scores: tuple[float, float] | None = None


@dataclass
class VideoPainter:
    """Draws frames of one size: first masks left, final ones right, their IoU over time below."""

    _phases: list[str] = field(default_factory=list)
    _past: list[tuple[str, tuple[float, float] | None]] = field(default_factory=list)

    def size_wh(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return width and height of the pictures for images of this shape; both are even."""
        height = _tile_height(shape)
        total = _HEAD + _TITLE + height + _GAP + _STRIP
        return 2 * _TILE + 3 * _GAP, total + total % 2

    def phase_colour(self, phase: str) -> Colour:
        """Return the colour of a phase, which depends on the order of appearance."""
        if not phase:
            return _BETWEEN
        if phase not in self._phases:
            self._phases.append(phase)
        return PHASE_COLOURS[self._phases.index(phase) % len(PHASE_COLOURS)]

    def paint(self, frame: FramePicture) -> np.ndarray:
        """Draw a frame, uint8 [h, w, 3] RGB; frames come in order."""
        width, height = self.size_wh(frame.image.shape)
        canvas = np.full((height, width, 3), _NIGHT, np.uint8)
        canvas[: _HEAD - 8] = self.phase_colour(frame.phase)
        _write(canvas, frame.phase or 'changing over', (_GAP + 4, 30), 0.78, _WHITE)
        _write(canvas, frame.clock, (width - _GAP - 4, 30), 0.6, _WHITE, right=True)
        again = f', revision {frame.revision}' if frame.revision else ''
        columns = (
            ('as first published', frame.first, (), 0),
            (f'after corrections{again}', frame.last, frame.corrected, 1),
        )
        for column, (title, masks, corrected, which) in enumerate(columns):
            x, y = _GAP + column * (_TILE + _GAP), _HEAD + _TITLE
            _write(canvas, title, (x + 2, y - 13), 0.56, AMBER if corrected else _WHITE)
            if frame.scores is not None and masks is not None:
                text = f'IoU {frame.scores[which]:.2f}'
                _write(canvas, text, (x + _TILE - 2, y - 13), 0.56, _WHITE, right=True)
            picture = self._tile(frame.image, masks, corrected)
            canvas[y : y + picture.shape[0], x : x + _TILE] = picture
        shown = frame.scores if frame.last is not None else None
        self._past.append((frame.phase, shown))
        self._strip(canvas, _HEAD + _TITLE + _tile_height(frame.image.shape) + _GAP)
        return canvas

    def _tile(
        self,
        image: np.ndarray,
        masks: tuple[np.ndarray, Sequence[Drawable]] | None,
        corrected: Collection[int],
    ) -> np.ndarray:
        if masks is None:
            grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            picture = fitted(grey // 2, _TILE)
            pen = Pen.of(picture.shape, 1.6)
            text = 'dropped by the node: it was busy'
            draw_text(picture, text, ((_TILE - pen.measure(text)[0]) // 2, 16), _SLATE, pen)
            return picture
        labels, objects = masks
        image, labels = enlarged(image, labels, _TILE)
        return fitted(draw_overlay(image, labels, objects, corrected_ids=corrected), _TILE)

    def _strip(self, canvas: np.ndarray, top: int) -> None:
        """Draw the IoU of the last frames: a bar of the first masks with the gain or loss."""
        height, width = _STRIP - 34, canvas.shape[1] - 2 * _GAP
        count = width // _STEP
        self._past = self._past[-count:]
        base = top + height
        for share in (0.5, 1.0):
            y = base - round(share * height)
            cv2.line(canvas, (_GAP, y), (_GAP + width, y), _SLATE, 1)
        for i, (phase, scores) in enumerate(self._past):
            x = _GAP + i * _STEP
            cv2.rectangle(canvas, (x, base + 2), (x + _STEP - 1, base + 6),
                          self.phase_colour(phase), cv2.FILLED)  # fmt: skip
            if scores is None:
                continue
            first, last = (round(height * score) for score in scores)
            low, high, colour = first, last, _GREEN
            if last < first:
                low, high, colour = last, first, _RED
            cv2.rectangle(canvas, (x, base - low), (x + _STEP - 2, base), _GREY, cv2.FILLED)
            if high > low:
                cv2.rectangle(canvas, (x, base - high), (x + _STEP - 2, base - low - 1),
                              colour, cv2.FILLED)  # fmt: skip
        x, y = _GAP + 2, base + 26
        for text, colour in (
            ('mean IoU with the truth:', _FAINT), ('as first published', _GREY),
            ('added by corrections', _GREEN), ('lost by corrections', _RED),
        ):  # fmt: skip
            x += _write(canvas, text, (x, y), 0.46, colour) + 18


def notably_changed(first: np.ndarray, last: np.ndarray, least_iou: float) -> tuple[int, ...]:
    """Return the ids whose pixels differ between two label images by an IoU below this."""
    keys = np.union1d(np.unique(first), np.unique(last))
    changed = []
    for key in keys[keys > 0].tolist():
        a, b = first == key, last == key
        if np.count_nonzero(a & b) < least_iou * np.count_nonzero(a | b):
            changed.append(int(key))
    return tuple(changed)


def _tile_height(shape: tuple[int, ...]) -> int:
    return max(1, round(shape[0] * _TILE / shape[1]))


def _write(
    canvas: np.ndarray,
    text: str,
    place: tuple[int, int],
    scale: float,
    colour: Colour,
    right: bool = False,
) -> int:
    """Write text with its baseline's left, or right, end at place; returns the width."""
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    x, y = place
    cv2.putText(canvas, text, (x - width if right else x, y), _FONT, scale, colour, 1, cv2.LINE_AA)
    return width
