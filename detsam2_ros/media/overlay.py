# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Masks drawn over an image: tint, outline and name of every object. Numpy and OpenCV only."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import cv2
import numpy as np

from detsam2_ros.results.frames import ObjectState

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

AMBER: Colour = (255, 176, 0)
_DARK: Colour = (18, 20, 24)
_WHITE: Colour = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_TINT = 0.45


class Drawable(Protocol):
    """The parts of an object that are drawn; results.Object and results.ObjectInfo fit."""

    @property
    def id(self) -> int:
        """Pixel value in the label image."""
        ...

    @property
    def class_name(self) -> str:
        """Name in the tag."""
        ...

    @property
    def state(self) -> ObjectState:
        """TENTATIVE: drawn with a dashed outline and no tint."""
        ...


def draw_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    objects: Iterable[Drawable],
    *,
    corrected_ids: Collection[int] = (),
    badge: str = '',
    caption: str = '',
    tags: bool = True,
    boldness: float = 1.0,
) -> np.ndarray:
    """Draw objects over an image and return a new uint8 [H, W, 3] RGB image.

    image: uint8 [H, W, 3] RGB. labels: integer [H, W], object ids, 0 = background; objects
    without a pixel in it are not drawn. corrected_ids: objects that get a white rim; with any,
    the image gets an amber frame. badge: short text at the top left. caption: text at the bottom
    left. tags: write id and class beside each object. boldness: factor of line widths and text
    size, for a picture that is shown smaller.
    """
    drawn = image.copy()
    pen = Pen.of(image.shape, boldness)
    line = pen.line
    boxes, tentative = {}, set()
    for obj in sorted(objects, key=lambda obj: obj.id):
        box = _label_box(labels, obj.id)
        if box is not None:
            boxes[obj.id] = (box, obj.class_name)
            if obj.state is ObjectState.TENTATIVE:
                tentative.add(obj.id)
            else:
                _tint(drawn, labels, obj.id, box)
    for key, (box, _) in boxes.items():
        _outline(drawn, labels, key, box, line, key in corrected_ids, key in tentative)
    if corrected_ids:
        height, width = labels.shape
        cv2.rectangle(drawn, (0, 0), (width - 1, height - 1), AMBER, 2 * line + 1)
    taken: list[Box] = []
    if badge:
        colour = AMBER if corrected_ids else _DARK
        taken.append(draw_text(drawn, badge, (2 * line, 2 * line), colour, pen))
    if caption:
        place = (2 * line, drawn.shape[0] - pen.measure(caption)[1] - 2 * line)
        taken.append(draw_text(drawn, caption, place, _DARK, pen))
    if tags:
        for key, (box, name) in boxes.items():
            text = f'{key} {name}'.strip() + ('?' if key in tentative else '')
            anchor = _main_part(labels, key, box)
            place = _free_place(anchor, pen.measure(text), image.shape, taken, line)
            taken.append(draw_text(drawn, text, place, object_colour(key), pen))
    return drawn


def enlarged(
    image: np.ndarray, labels: np.ndarray, least: int = 480
) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and its labels, enlarged so that outlines and tags can be read.

    Images whose shorter side has fewer than `least` pixels grow by a whole factor, at most 4.
    """
    factor = enlargement(image.shape, least)
    if factor == 1:
        return image, labels
    size_wh = (image.shape[1] * factor, image.shape[0] * factor)
    return (
        cv2.resize(image, size_wh, interpolation=cv2.INTER_CUBIC),
        cv2.resize(labels, size_wh, interpolation=cv2.INTER_NEAREST),
    )


def enlargement(shape: tuple[int, ...], least: int = 480) -> int:
    """Return the factor by which `enlarged` grows an image of this shape."""
    return min(4, max(1, -(-least // min(shape[:2]))))


@cache
def object_colour(object_id: int) -> Colour:
    """Return the RGB colour of an object id; neighbouring ids are far apart in hue."""
    hue = (0.58 + object_id * 0.61803398875) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.72 if object_id % 2 else 0.9, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


@dataclass(frozen=True)
class Pen:
    """Line widths and text sizes that suit an image."""

    line: int  # width of outlines, pixels
    scale: float  # of the font, as OpenCV counts it
    stroke: int  # width of the strokes of text, pixels
    margin: int  # around text, pixels

    @classmethod
    def of(cls, shape: tuple[int, ...], boldness: float = 1.0) -> Pen:
        """Return the pen for an image of this shape."""
        scale = boldness * float(np.clip(min(shape[:2]) / 1100, 0.32, 1.6))
        line = max(1, round(boldness * min(shape[:2]) / 400))
        return cls(line, scale, max(1, round(1.4 * scale)), max(2, round(6 * scale)))

    def measure(self, text: str) -> tuple[int, int]:
        """Return width and height of a text with its margin."""
        (width, _), _ = cv2.getTextSize(_plain(text), _FONT, self.scale, self.stroke)
        return width + 2 * self.margin, round(28 * self.scale) + 2 * self.margin


def draw_text(
    image: np.ndarray, text: str, place: tuple[int, int], colour: Colour, pen: Pen
) -> Box:
    """Write text on a filled box with its top left at place; returns the box, xyxy."""
    width, height = pen.measure(text)
    x, y = place
    cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), colour, cv2.FILLED)
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 120
    start = (x + pen.margin, y + height - pen.margin - round(4 * pen.scale))
    ink = _DARK if light else _WHITE
    cv2.putText(image, _plain(text), start, _FONT, pen.scale, ink, pen.stroke, cv2.LINE_AA)
    return x, y, x + width, y + height


def _tint(drawn: np.ndarray, labels: np.ndarray, key: int, box: Box) -> None:
    """Mix an object's colour into its pixels."""
    x0, y0, x1, y1 = box
    region = drawn[y0:y1, x0:x1]
    mask = labels[y0:y1, x0:x1] == key
    region[mask] = (1 - _TINT) * region[mask] + _TINT * np.asarray(object_colour(key)) + 0.5


def _label_box(labels: np.ndarray, key: int) -> Box | None:
    mask = (labels == key).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    return (x, y, x + width, y + height) if width else None


def _main_part(labels: np.ndarray, key: int, box: Box) -> Box:
    """Return the box around the largest connected part of an object, for its tag."""
    x0, y0, x1, y1 = box
    mask = (labels[y0:y1, x0:x1] == key).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    x, y, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())].tolist()
    return x0 + x, y0 + y, x0 + x + width, y0 + y + height


def _outline(
    drawn: np.ndarray,
    labels: np.ndarray,
    key: int,
    box: Box,
    line: int,
    corrected: bool,
    dashed: bool,
) -> None:
    x0, y0, x1, y1 = box
    mask = (labels[y0:y1, x0:x1] == key).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x0, y0))
    if corrected:
        cv2.drawContours(drawn, contours, -1, _WHITE, 3 * line, cv2.LINE_AA)
    if not dashed:
        cv2.drawContours(drawn, contours, -1, object_colour(key), line, cv2.LINE_AA)
        return
    dash, gap = 5 * line, 7 * line  # bolder than a solid outline, for want of a tint
    for contour in contours:
        for start in range(0, len(contour), dash + gap):
            part = contour[start : start + dash]
            cv2.polylines(drawn, [part], False, object_colour(key), 2 * line, cv2.LINE_AA)


def _free_place(
    box: Box, size_wh: tuple[int, int], shape: tuple[int, ...], taken: list[Box], line: int
) -> tuple[int, int]:
    """Choose the top left of a tag: inside the image, with least overlap of object and tags."""
    x0, y0, x1, y1 = box
    width, height = size_wh
    middle_x, middle_y = (x0 + x1 - width) // 2, (y0 + y1 - height) // 2
    gap = line + 2
    places = [
        (middle_x, y0 - height - gap),
        (middle_x, y1 + gap),
        (x1 + gap, middle_y),
        (x0 - width - gap, middle_y),
        (x1 + gap, y0 - height - gap),
        (x0 - width - gap, y1 + gap),
    ]
    inside = [
        (min(max(x, 0), max(shape[1] - width, 0)), min(max(y, 0), max(shape[0] - height, 0)))
        for x, y in places
    ]

    def cost(place: tuple[int, int]) -> int:
        x, y = place
        spot = (x, y, x + width, y + height)
        return sum(_shared(spot, other) for other in taken) + _shared(spot, box)

    return min(inside, key=cost)


def _shared(a: Box, b: Box) -> int:
    """Return the area that two boxes share, in pixels."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def _plain(text: str) -> str:
    """Replace characters that OpenCV's stroke fonts lack."""
    return ''.join(letter if ' ' <= letter <= '~' else '?' for letter in text)
