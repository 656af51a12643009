# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The loop that pushes frames through a stream, and its interruption by the user."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FrameType
from typing import Any, Protocol

import numpy as np

from detsam2_ros.cli.summary import Summary
from detsam2_ros.engine import FrameResult, WindowError
from detsam2_ros.media.timeline import Settled, Timeline
from detsam2_ros.media.video import Frame, InputError


class SegmentingStream(Protocol):
    """The part of engine.Stream that `run` uses."""

    @property
    def horizon(self) -> int:
        """The first frame index that is not final."""
        ...

    def push(self, image: np.ndarray, stamp: int) -> list[FrameResult]:
        """Take a frame."""
        ...

    def flush(self) -> list[FrameResult]:
        """Close the unfinished window."""
        ...


def run(
    frames: Iterable[Frame],
    stream: SegmentingStream,
    take: Callable[[Settled], None],
    summary: Summary,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[], None] = lambda: None,
    hear: Callable[[list[FrameResult], int], None] = lambda results, horizon: None,
) -> None:
    """Push frames through a stream and hand over each frame, in order, once it is final.

    At most M frames wait at any time. take: gets the frames. stopped: asked before each frame.
    When it returns True, no further window is segmented, and the frames that have masks are
    handed over. hear: gets all results as they come, and the first frame that is not final. An
    InputError of `frames` is raised after all earlier frames are handed over.
    """
    timeline, start = Timeline(), time.perf_counter()
    warned = False

    def segment(call: Callable[[], list[FrameResult]]) -> None:
        nonlocal warned
        try:
            results = call()
        except WindowError as error:
            results = error.results
            if not warned:
                warned = True
                logging.warning('%s; going on, further failures are not shown', error)
        summary.add_results(results)
        hear(results, stream.horizon)
        hand_over(timeline.add_results(results, stream.horizon))

    def hand_over(done: list[Settled]) -> None:
        begin = time.perf_counter()
        for settled in done:
            take(settled)
            summary.add_settled(settled)
        summary.seconds['draw and write'] += time.perf_counter() - begin

    failure: InputError | None = None
    source = _timed(frames, summary)
    while not stopped():
        try:
            frame = next(source, None)
        except InputError as error:
            failure = error
            break
        if frame is None:
            break
        timeline.add_frame(summary.frames, frame.image, frame.stamp)
        summary.frames += 1
        segment(partial(stream.push, frame.image, frame.stamp))
        progress()
    broken_off = stopped()
    if not broken_off:
        segment(stream.flush)
    hand_over(timeline.drain(final=not broken_off))
    summary.wall = time.perf_counter() - start
    if failure is not None:
        raise failure


class Interrupt:
    """Notes the first SIGINT or SIGTERM for the loop to ask about; the second ends the program.

    A KeyboardInterrupt in the middle of a pass or of a write would lose frames or leave an
    incomplete file.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Return whether the user asked to stop."""
        return self.asked

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread, so signals are the caller's matter
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, _: FrameType | None) -> None:
        self.asked = True
        self._restore()
        print('\nsegment_video: stopping after this step; again to stop at once', file=sys.stderr)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def first(frames: Iterator[Frame], count: int | None) -> Iterator[Frame]:
    """Yield the first count frames, without reading one more."""
    for index, frame in enumerate(frames):
        yield frame
        if index + 1 == count:
            return


def _timed(frames: Iterable[Frame], summary: Summary) -> Iterator[Frame]:
    """Yield the frames, adding up the seconds that reading them takes."""
    iterator = iter(frames)
    while True:
        begin = time.perf_counter()
        frame = next(iterator, None)
        summary.seconds['read'] += time.perf_counter() - begin
        if frame is None:
            return
        yield frame
