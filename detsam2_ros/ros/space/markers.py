# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects in space for RViz: a box and a name each, dashed while the object is tentative."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from detsam2_ros.media.overlay import object_colour
from detsam2_ros.results.frames import ObjectState
from detsam2_ros.results.space import Object3D, SpaceFrame
from detsam2_ros.ros.space.messages import header_of

BOX, NAME = 'box', 'name'  # namespaces of the markers; the id is that of the object
_LINE, _TEXT = 0.004, 0.05  # metres: widths of lines and height of letters
_DASHES = 4  # of an edge
# The twelve edges of a box, as pairs of corners in {0, 1}^3.
_EDGES = np.array([
    (a, b) for a, b in itertools.combinations(itertools.product((0, 1), repeat=3), 2)
    if sum(x != y for x, y in zip(a, b, strict=True)) == 1
], np.float64)  # fmt: skip


class Markers:
    """Makes the markers of the newest frame, and takes those away whose object has none there."""

    def __init__(self) -> None:
        self._shown: set[int] = set()  # ids
        self._stream: int | None = None
        self._stamp = 0  # of the newest frame shown

    def of(self, frame: SpaceFrame) -> MarkerArray | None:
        """Return what changes with a frame; None where it changes nothing.

        A past frame only takes objects away that it says were never there.
        """
        header = header_of(frame)
        array = MarkerArray()
        if frame.stream != self._stream:
            if self._stream is not None:
                array.markers.append(Marker(header=header, action=Marker.DELETEALL))
            self._shown, self._stream, self._stamp = set(), frame.stream, frame.stamp
        if frame.stamp < self._stamp:
            gone = self._shown & set(frame.withdrawn_ids)
        else:
            self._stamp = frame.stamp
            valid = [thing for thing in frame.objects if thing.valid]
            gone = self._shown - {thing.id for thing in valid}
            for thing in valid:
                array.markers += [_box(thing, header), _name(thing, header)]
            self._shown |= {thing.id for thing in valid}
        array.markers += _deletions(sorted(gone), header)
        self._shown -= gone
        return array if array.markers else None

    def clear(self) -> MarkerArray | None:
        """Return what takes all markers away; None if none was shown since."""
        if self._stream is None:
            return None
        self._shown, self._stream = set(), None
        return MarkerArray(markers=[Marker(action=Marker.DELETEALL)])


def _deletions(ids: Iterable[int], header: Header) -> list[Marker]:
    return [
        Marker(header=header, ns=name, id=id_, action=Marker.DELETE)
        for id_ in ids
        for name in (BOX, NAME)
    ]


def _box(thing: Object3D, header: Header) -> Marker:
    low, high = np.array(thing.position.box_min), np.array(thing.position.box_max)
    ends = low + _EDGES * (high - low)
    if thing.state is ObjectState.TENTATIVE:
        ends = _dashed(ends)
    marker = _marker(thing, header, BOX, Marker.LINE_LIST)
    marker.scale.x = _LINE
    marker.points = [Point(x=x, y=y, z=z) for x, y, z in ends.reshape(-1, 3).tolist()]
    return marker


def _dashed(ends: np.ndarray) -> np.ndarray:
    """Split lines, float [n, 2, 3], into dashes that leave gaps of their own length."""
    parts = np.arange(2 * _DASHES).reshape(-1, 2) / (2 * _DASHES - 1)
    start, way = ends[:, None, :1], (ends[:, 1:] - ends[:, :1])[:, None]
    return np.asarray(start + parts[None, ..., None] * way)


def _name(thing: Object3D, header: Header) -> Marker:
    marker = _marker(thing, header, NAME, Marker.TEXT_VIEW_FACING)
    doubt = '?' if thing.state is ObjectState.TENTATIVE else ''
    marker.text = f'{thing.id} {thing.class_name}'.strip() + doubt
    marker.scale.z = _TEXT
    x, _, z = thing.position.centroid
    marker.pose.position = Point(x=x, y=thing.position.box_min[1] - _TEXT, z=z)  # y points down
    return marker


def _marker(thing: Object3D, header: Header, name: str, kind: int) -> Marker:
    red, green, blue = (part / 255 for part in object_colour(thing.id))
    marker = Marker(header=header, ns=name, id=thing.id, type=kind, action=Marker.ADD)
    marker.color = ColorRGBA(r=red, g=green, b=blue, a=1.0)
    marker.pose.orientation.w = 1.0
    return marker
