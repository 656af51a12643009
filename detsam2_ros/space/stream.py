# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One camera: its frames meet their depth images, and past frames are measured anew.

A frame waits for the depth image with its very stamp. Once a newer one came, or the frame has
waited for long enough, the nearest within max_stamp_difference serves; without one the frame is
published without positions. What comes later, a better depth image or better masks, makes a
correction as long as the frame is in reach; so does a calibration that comes late. Any one thread
at a time may call a stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.results.space import Reason, SpaceFrame
from detsam2_ros.space.books import Books, Unused
from detsam2_ros.space.camera import CameraModel, CameraView
from detsam2_ros.space.depth import DepthImage
from detsam2_ros.space.kept_depths import KeptDepths
from detsam2_ros.space.measure import MeasureOptions
from detsam2_ros.space.objects import FrameMeasure, Measured, measure_frame, without_depth


@dataclass(frozen=True)
class SpaceOptions:
    """How frames and depth images meet."""

    reach: int = 50  # frames back from the newest that corrections come for: M + K
    waiting: int = 120  # depth images that wait for their frame at most
    max_stamp_difference: int = 0  # nanoseconds; 0: the very stamp only
    max_depth_delay: float = 0.5  # seconds that a frame waits for its depth image
    check_frame_id: bool = True  # of the depth image against that of the masks
    measure: MeasureOptions = MeasureOptions()


@dataclass(frozen=True)
class Placed:
    """A frame to publish: a new one, or a correction (revision above 0)."""

    frame: SpaceFrame
    points: dict[int, np.ndarray] | None  # by id, float32 [n, 3]; None unless asked for


@dataclass
class _Held:
    """A frame in reach."""

    masks: TimelineFrame
    arrived: float  # seconds, monotonic
    revision: int = -1  # as published; -1: not yet
    depth: int | None = None  # stamp of the depth image that serves
    camera: CameraView | None = None
    measured: dict[int, Measured] = field(default_factory=dict)
    uncalibrated: bool = False  # it has depth, but as published no calibration fitted it

    @property
    def is_published(self) -> bool:
        return self.revision >= 0

    def distance(self) -> float:
        """Return how far its depth image is, nanoseconds; infinite without one."""
        return float('inf') if self.depth is None else abs(self.depth - self.masks.stamp)


class SpaceStream:
    """Takes frames, depth images and calibrations of one camera; gives frames in space.

    number: of its first stream, greater than that of any stream before, also of a process that
    has ended; it counts up with each restart. newest_masks: returns the frame of a stamp as its
    MaskTimeline knows it now, None if it does not. What other frames say of an object, that it is
    confirmed or withdrawn, is so on a frame that is published late, too.
    """

    def __init__(
        self,
        options: SpaceOptions,
        number: int = 0,
        newest_masks: Callable[[int], TimelineFrame | None] = lambda stamp: None,
    ):
        self.options = options
        self._newest_masks = newest_masks
        self.books = Books()
        self.refusal = ''  # of the newest depth image; '' if it could be used
        self.camera_refusal = ''  # of the calibration, for the newest frame measured
        self.failure = ''  # of the last frame that could not be measured: a defect
        self.want_points = False
        self._number = number
        self._masks_stream = 0
        self._camera: CameraView | None = None
        self._frames: dict[int, _Held] = {}  # by stamp, ascending
        self._depths = KeptDepths(self.books, options.waiting, options.max_stamp_difference)
        self._decided: int | None = None  # stamp of the newest published frame

    @property
    def camera(self) -> CameraModel | None:
        """The calibration that holds for new frames."""
        return self._camera.model if self._camera else None

    @property
    def held_frames(self) -> int:
        """How many frames are in reach."""
        return len(self._frames)

    @property
    def held_bytes(self) -> int:
        """How much memory the depth images take."""
        return self._depths.held_bytes

    # ---- in ------------------------------------------------------------------------------------

    def set_camera(self, model: CameraModel, now: float) -> list[Placed]:
        """Take a calibration; returns frames to publish. now: seconds, monotonic.

        It holds for frames measured from now on, and for those before that had none.
        """
        if self._camera is not None and self._camera.model == model:
            return self._settle(now)
        self._camera = CameraView(model)
        return [*self._settle(now), *self._calibrate(model)]

    def refuse_depth(self, reason: Unused, why: str) -> None:
        """Count a depth image that could not be read."""
        self.books.received += 1
        self.books.unused[reason] += 1
        self.refusal = why

    def add_depth(self, image: DepthImage, now: float) -> list[Placed]:
        """Take a depth image; returns the frames to publish. now: seconds, monotonic."""
        self.books.received += 1
        newest = next(reversed(self._frames.values()), None)
        misfit = self._misfit(image, newest.masks) if newest is not None else None
        self.refusal = misfit or ''
        if misfit:
            self.books.unused[Unused.OTHER_CAMERA] += 1
            return []
        if not self._depths.add(image, self._is_late(image.stamp)):
            return []
        placed = [*self._settle(now), *self._improve(image)]
        self._drop_depths()
        return placed

    def add_frame(self, frame: TimelineFrame, now: float) -> list[Placed]:
        """Take a frame of a MaskTimeline, new or changed; returns the frames to publish."""
        if frame.stream != self._masks_stream:
            last = self._settle(float('inf'))
            self._number += 1
            self._masks_stream = frame.stream
            if self._frames and frame.stamp <= next(reversed(self._frames)):
                self._depths.restart(frame.stamp)
            self._frames, self._decided = {}, None
            return [*last, *self.add_frame(frame, now)]
        if not self._frames:
            refusal = self._depths.refuse_misfits(lambda image: self._misfit(image, frame))
            self.refusal = refusal or self.refusal
        held = self._frames.get(frame.stamp)
        if held is not None:
            held.masks = frame
            placed = [self._publish(held)] if held.is_published else []
            return [*placed, *self._settle(now)]
        if self._frames and frame.stamp < next(iter(self._frames)):
            self.books.out_of_reach += 1
            return []
        self._frames[frame.stamp] = _Held(frame, now)
        if len(self._frames) > 1:
            self._frames = dict(sorted(self._frames.items()))
        placed = self._settle(now)
        while len(self._frames) > self.options.reach:
            oldest = self._frames[next(iter(self._frames))]
            if not oldest.is_published:
                self.books.pushed_out += 1
                placed.append(self._decide(oldest))
            del self._frames[oldest.masks.stamp]
        self._drop_depths()
        return placed

    def look(self, now: float) -> list[Placed]:
        """Return the frames whose depth has not come in time; call it some times a second."""
        placed = self._settle(now)
        self._drop_depths()
        return placed

    def end(self) -> list[Placed]:
        """Publish what waits: nothing more will come. Frames and depth images are dropped.

        What comes after it is another stream, whose masks count their restarts from 0.
        """
        placed = self._settle(float('inf'))
        self._depths.end(self._frames)
        self._frames, self._decided = {}, None
        self._number, self._masks_stream = self._number + 1, 0
        return placed

    # ---- which depth image serves which frame --------------------------------------------------

    def _misfit(self, what: DepthImage | CameraModel, masks: TimelineFrame) -> str | None:
        """Return why an image or a calibration is not of the masks' camera, None if it is."""
        frame_id = masks.frame_id if self.options.check_frame_id else None
        return what.misfit(masks.labels.shape, frame_id)

    def _is_late(self, stamp: int) -> bool:
        if len(self._frames) < self.options.reach:
            return False
        return stamp < next(iter(self._frames)) - self.options.max_stamp_difference

    def _settle(self, now: float) -> list[Placed]:
        """Publish, in order, the frames whose depth image is known, or will not come."""
        placed = []
        for held in [held for held in self._frames.values() if not held.is_published]:
            stamp = held.masks.stamp
            is_there = stamp in self._depths or self._depths.is_overtaken(stamp)
            if not (is_there and self._camera) and (
                now - held.arrived < self.options.max_depth_delay
            ):
                break
            placed.append(self._decide(held))
        return placed

    def _decide(self, held: _Held) -> Placed:
        """Publish a new frame with the depth image that serves it best now."""
        stamp = held.masks.stamp
        held.depth = self._depths.nearest(
            stamp, lambda image: self._misfit(image, held.masks) is None)
        self._decided = stamp if self._decided is None else max(stamp, self._decided)
        return self._publish(held)

    def _improve(self, image: DepthImage) -> Iterator[Placed]:
        """Measure published frames anew that a depth image serves better than theirs."""
        for held in self._frames.values():
            distance = abs(image.stamp - held.masks.stamp)
            if held.is_published and distance < held.distance() and (
                distance <= self.options.max_stamp_difference
            ) and not self._misfit(image, held.masks):
                held.depth, held.measured = image.stamp, {}
                yield self._publish(held)

    def _calibrate(self, model: CameraModel) -> Iterator[Placed]:
        """Measure published frames anew that had depth, but no calibration that fitted."""
        for held in self._frames.values():
            if held.uncalibrated and not self._misfit(model, held.masks):
                yield self._publish(held)

    def _drop_depths(self) -> None:
        self._depths.drop_idle(
            serving={held.depth for held in self._frames.values()},
            frames=self._frames,
            decided=self._decided,
            pending=any(not held.is_published for held in self._frames.values()),
        )

    # ---- out -----------------------------------------------------------------------------------

    def _publish(self, held: _Held) -> Placed:
        """Measure a frame with what is known now, and count it."""
        newest = self._newest_masks(held.masks.stamp)
        if newest is not None and newest.stream == held.masks.stream and (
            newest.revision >= held.masks.revision
        ):
            held.masks = newest
        begin = time.perf_counter()
        try:
            found = self._measured(held)
        except Exception as error:  # a defect, which must not hold up the frames that follow
            self.failure = f'{type(error).__name__}: {error}'
            found = without_depth(held.masks, Reason.NO_SURFACE)
        self.books.seconds += time.perf_counter() - begin
        held.measured = dict(found.by_id)
        held.revision += 1
        visible = [o for o in found.objects if o.position.reason is not Reason.NOT_VISIBLE]
        if held.revision:
            self.books.corrections += 1
        else:
            self.books.frames += 1
            self.books.without_depth += held.depth is None
            self.books.without_camera += held.uncalibrated
            self.books.objects += len(visible)
            self.books.valid_objects += sum(thing.valid for thing in visible)
        masks = held.masks
        frame = SpaceFrame(
            stamp=masks.stamp,
            frame_id=masks.frame_id,
            stream=self._number,
            index=masks.index,
            revision=held.revision,
            mask_revision=masks.revision,
            final=masks.final,
            depth_stamp=held.depth,
            objects=found.objects,
            withdrawn_ids=masks.withdrawn_ids,
        )
        asked = self.want_points and not held.revision
        return Placed(frame, dict(found.points) if asked else None)

    def _measured(self, held: _Held) -> FrameMeasure:
        if held.camera is None or not held.measured:
            held.camera = self._camera
        if held.depth is None:
            return without_depth(held.masks, Reason.NO_DEPTH_IMAGE)
        misfit = self._misfit(held.camera.model, held.masks) if held.camera else None
        self.camera_refusal = misfit or ''
        held.uncalibrated = held.camera is None or misfit is not None
        if held.camera is None or misfit:
            self._depths.note_uncalibrated(held.depth)
            return without_depth(held.masks, Reason.NO_CAMERA_INFO)
        return measure_frame(
            held.masks, self._depths.use(held.depth), held.camera, self.options.measure,
            held.measured, self.want_points and not held.is_published,
        )  # fmt: skip
