# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Truth and one view of a tracker's output, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from detsam2_ros.quality.segments import RevisedVideo, SegmentedFrame, SegmentedVideo
from detsam2_ros.results.masks import Mask


class MeasureError(ValueError):
    """Truth and results that cannot be compared; names the video and the way out."""


@dataclass(frozen=True)
class FramePair:
    """What was true and what was shown on a frame, without empty masks."""

    number: int
    truth: dict[int, Mask]  # by id
    shown: dict[int, Mask]  # by id
    ignored: Mask | None = None  # pixels that count neither for nor against


def check(truth: SegmentedVideo, size: tuple[int, int], frames: set[int]) -> None:
    """Raise MeasureError if results of a size and of frames cannot be compared with a truth."""
    if truth.size != size:
        raise MeasureError(
            f"video '{truth.name}': the truth is {_size(truth.size)}, the results are "
            f'{_size(size)}: give results at the size of the truth'
        )
    if not truth.frames:
        raise MeasureError(f"video '{truth.name}': the truth knows no frame")
    if not frames:
        raise MeasureError(f"video '{truth.name}': the results say nothing of any frame")
    if not truth.frames.keys() & frames:
        raise MeasureError(
            f"video '{truth.name}': results of {_range(frames)} and truth of "
            f'{_range(set(truth.frames))} share no frame: both must count frames from 0'
        )


def aligned(truth: SegmentedVideo, shown: SegmentedVideo) -> Iterator[FramePair]:
    """Yield each frame of the truth; one of which nothing was said shows nothing.

    Raises MeasureError for results of another size, and for an id twice on a frame.
    """
    if truth.size != shown.size:
        check(truth, shown.size, set(shown.frames))
    for number in sorted(truth.frames):
        own = truth.frames[number]
        other = shown.frames.get(number, SegmentedFrame())
        yield FramePair(
            number, masks_of(own, truth.name, number), masks_of(other, shown.name, number),
            own.ignored,
        )  # fmt: skip


def masks_of(frame: SegmentedFrame, name: str = '', number: int = 0) -> dict[int, Mask]:
    """Return the masks of a frame by id, without empty ones; MeasureError for an id twice."""
    masks: dict[int, Mask] = {}
    for segment in frame.segments:
        if segment.id in masks:
            raise MeasureError(
                f"video '{name}', frame {number}: id {segment.id} is there twice; an id is of one "
                f'thing, so give things of different classes different ids'
            )
        if segment.mask:
            masks[segment.id] = segment.mask
    return masks


def of_class(video: SegmentedVideo, name: str) -> SegmentedVideo:
    """Return a video with the things of one class alone, by the name of the class."""
    frames = {n: _of_class(frame, video.class_names, name) for n, frame in video.frames.items()}
    return replace(video, frames=frames)


def revised_of_class(video: RevisedVideo, name: str) -> RevisedVideo:
    """Return what was said of the things of one class alone, by the name of the class."""
    said = (
        replace(each, shown=_of_class(each.shown, video.class_names, name))
        for each in video.revisions
    )
    return replace(video, revisions=tuple(said))


def _of_class(frame: SegmentedFrame, names: Mapping[int, str], name: str) -> SegmentedFrame:
    kept = (each for each in frame.segments if names.get(each.class_id) == name)
    return SegmentedFrame(tuple(kept), frame.ignored)


def _size(size: tuple[int, int]) -> str:
    return f'{size[1]}x{size[0]}'


def _range(frames: set[int]) -> str:
    return f'frames {min(frames)} to {max(frames)}' if frames else 'no frame'
