# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A whole video through a stream: each frame once, when nothing corrects it any more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from detsam2_ros.engine.stream import Stream
from detsam2_ros.results.errors import WindowError
from detsam2_ros.results.frames import FrameResult


def finals(
    stream: Stream,
    frames: Iterable[tuple[np.ndarray, int]],
    on_result: Callable[[FrameResult], None] | None = None,
    on_error: Callable[[WindowError], None] | None = None,
) -> Iterator[FrameResult]:
    """Push all frames and flush; yield each frame's last revision, in order, once it is final.

    The streaming cousin of sam2's `propagate_in_video`. An object that was confirmed on a later
    frame is so on each frame that shows it. stream: new, or reset. frames: images and stamps as
    `Stream.push` takes them, read one by one. At most M + K results wait. on_result: gets every
    revision as it comes, revision 0 included, before a final one is yielded. on_error: gets a
    WindowError whose results count like all others, and the video goes on. Without on_error it is
    raised, its `results` the last revision of each frame that was not yielded. Whatever else the
    stream or the frames raise passes through.
    """
    waiting: dict[int, FrameResult] = {}
    sure: set[int] = set()  # ids of confirmed objects

    def take(call: Callable[..., list[FrameResult]], *frame: object) -> None:
        failure = None
        try:
            results = call(*frame)
        except WindowError as error:
            results, failure = error.results, error
        for result in results:
            waiting[result.index] = result
            sure.update(result.confirmed_ids())
            if on_result is not None:
                on_result(result)
        if failure is not None:
            if on_error is None:
                failure.results = [waiting[index] for index in sorted(waiting)]
                raise failure
            on_error(failure)

    def settled(horizon: int | None) -> Iterator[FrameResult]:
        for index in sorted(waiting):
            if horizon is None or index < horizon:
                yield replace(waiting.pop(index).confirming(sure), final=True)

    for image, stamp in frames:
        take(stream.push, image, stamp)
        yield from settled(stream.horizon)
    take(stream.flush)
    yield from settled(None)
