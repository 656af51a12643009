# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A whole video at once: each frame once, in order, final; and no result lost to a failure."""

from collections.abc import Iterator

import numpy as np
import pytest
from fakes import BrokenDetector, Run, ScriptedDetector, disc_box
from stream_cases import USUAL, film

from detsam2_ros.engine import DetectorError, FrameResult, ImageError, WindowError, finals
from detsam2_ros.results.detections import Detections

FRAMES = 18  # four windows, and half a one
FILM = film(FRAMES)
K, M = USUAL['window_size'], USUAL['max_propagation']

pytestmark = pytest.mark.usefixtures('both_modes')


class LateDetector(ScriptedDetector):
    """Misses the disc on the first detection frame: passes have something to correct."""

    def __init__(self, broken_on: tuple[int, ...] = ()):
        super().__init__(lambda i: [(0, disc_box(12 + i, 24))] if i else [], K)
        self.broken_on = broken_on

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        found = super().detect(images)
        if self.frames[-1] in self.broken_on:
            raise RuntimeError('no camera')
        return found


class Feed:
    """Gives a stream its frames, and counts them."""

    def __init__(self, images: list[np.ndarray] = FILM):
        self.images, self.given = images, 0

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        for index, image in enumerate(self.images):
            self.given += 1
            yield image, 1000 * index


def by_hand(run: Run, images: list[np.ndarray] = FILM) -> Run:
    """Push and flush as a user does who keeps the results of failures."""
    for call in (*[lambda i=i: run.push(i) for i in images], run.flush):
        try:
            call()
        except WindowError as error:
            run.results += error.results
    return run


def alike(one: FrameResult, other: FrameResult) -> bool:
    return (one.index, one.revision, one.stamp, one.objects) == (
        other.index, other.revision, other.stamp, other.objects
    ) and np.array_equal(one.labels, other.labels)  # fmt: skip


def test_each_frame_comes_once_in_order_with_its_last_revision():
    expected = by_hand(Run(LateDetector(), **USUAL))
    assert any(result.revision for result in expected.results), 'nothing was corrected'
    found = list(finals(Run(LateDetector(), **USUAL).stream, Feed()))
    assert [result.index for result in found] == list(range(FRAMES))
    assert all(map(alike, found, (expected.latest()[i] for i in range(FRAMES))))
    assert all(result.final for result in found)


def test_every_revision_is_seen_before_its_frame_is_final():
    expected = by_hand(Run(LateDetector(), **USUAL))
    seen: list[FrameResult] = []
    for result in finals(Run(LateDetector(), **USUAL).stream, Feed(), seen.append):
        own = [each for each in seen if each.index == result.index]
        assert [each.revision for each in own] == list(range(len(own)))
        assert alike(own[-1], result)
    assert len(seen) == len(expected.results) > FRAMES
    assert all(map(alike, seen, expected.results))


def test_a_frame_comes_when_nothing_reaches_it_and_few_wait():
    stream, feed = Run(LateDetector(), **USUAL).stream, Feed()
    waited = []
    for result in finals(stream, feed):
        waited.append(feed.given - result.index)
        assert feed.given == FRAMES or result.index < stream.horizon
    assert max(waited) <= M + K
    # The first frame is final when the window closes whose newest frame is M - K frames newer.
    assert waited[0] == M


def test_no_frames_are_no_results():
    assert list(finals(Run(LateDetector(), **USUAL).stream, [])) == []


@pytest.mark.parametrize('frame', [8, 16])  # in a full window, and in the one that is flushed
def test_a_failure_has_the_results_that_were_not_yielded(frame):
    run, feed, seen = Run(LateDetector((frame,)), **USUAL), Feed(), []
    found: list[FrameResult] = []
    with pytest.raises(DetectorError, match=f'failed on frames {frame}') as caught:
        for result in finals(run.stream, feed, seen.append):
            found.append(result)
    rest = caught.value.results
    newest = {result.index: result for result in seen}
    published = feed.given - run.stream.backlog.frames * (run.config.mode == 'window')
    assert [result.index for result in (*found, *rest)] == list(range(published))
    assert all(alike(result, newest[result.index]) for result in (*found, *rest))
    assert frame in newest


@pytest.mark.parametrize('frames', [(8,), (16,), (4, 8)])
def test_a_video_goes_on_after_a_failure_for_who_takes_it(frames):
    expected = by_hand(Run(LateDetector(frames), **USUAL))
    failures: list[WindowError] = []
    run = Run(LateDetector(frames), **USUAL)
    found = list(finals(run.stream, Feed(), on_error=failures.append))
    assert [result.index for result in found] == list(range(FRAMES))
    assert all(map(alike, found, (expected.latest()[i] for i in range(FRAMES))))
    assert len(failures) == len(frames)
    for frame, failure in zip(frames, failures, strict=True):
        assert f'failed on frames {frame}' in str(failure)
    assert run.stream.backlog.frames == 0


def test_what_is_no_failure_of_a_window_passes_through():
    feed, seen = Feed([*FILM[:10], FILM[0][:-1]]), []
    failures: list[WindowError] = []
    with pytest.raises(ImageError):
        list(finals(Run(LateDetector(), **USUAL).stream, feed, seen.append, failures.append))
    assert feed.given == 11 and not failures
    assert {result.index for result in seen} >= set(range(8))


def test_a_detector_that_never_works_costs_no_frame():
    failures: list[WindowError] = []
    run = Run(BrokenDetector(RuntimeError('gone')), **USUAL)
    found = list(finals(run.stream, Feed(), on_error=failures.append))
    assert [result.index for result in found] == list(range(FRAMES))
    assert len(failures) == 5 and all(isinstance(each, DetectorError) for each in failures)
