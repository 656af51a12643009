# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where windows end: with a detection frame (aligned), or after K frames each (plain)."""

import pytest
from fakes import (
    ColourDetector,
    Run,
    ScriptedDetector,
    colour_mask,
    disc,
    disc_box,
    iou,
    mask,
    scene,
)
from hypothesis import given
from hypothesis import strategies as st
from stream_cases import MODES, SIZE, USUAL, film, nothing_was_lost, red, same_results

from detsam2_ros.engine import ConfigError, EngineConfig
from detsam2_ros.engine.tracking.pass_runner import first_window

ALIGNED = {**USUAL, 'windows': 'aligned'}
PLAIN = {**USUAL, 'windows': 'plain'}
APPEARS = {8: [(0, disc_box(20, 24))]}


def windows(run: Run, count: int, flushed: tuple[int, ...] = ()) -> list[list[int]]:
    """Show frames, closing what waits after some of them; returns the frames of each window."""
    closed = []
    runner = run.stream._runner
    close = runner._close
    runner._close = lambda window, tools: (closed.append(list(window)), close(window, tools))[1]
    for index, image in enumerate(film(count)):
        run.push(image)
        if index in flushed:
            run.flush()
    return closed


@MODES
@pytest.mark.parametrize('options, K, expected', [
    (ALIGNED, 4, [[0], [1, 2, 3, 4], [5, 6, 7, 8]]),
    (ALIGNED, 3, [[0], [1, 2, 3], [4, 5, 6], [7, 8, 9]]),
    (ALIGNED, 1, [[i] for i in range(11)]),
    (PLAIN, 4, [[0, 1, 2, 3], [4, 5, 6, 7]]),
])
def test_the_frames_of_each_window(mode, options, K, expected):
    run = Run(ColourDetector(['red']), mode=mode, **{**options, 'window_size': K})
    assert windows(run, 11) == expected


@MODES
@pytest.mark.parametrize('options, expected', [
    (ALIGNED, [[0], [1, 2], [3, 4], [5, 6, 7, 8], [9], [10, 11, 12]]),
    (PLAIN, [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9], [10, 11, 12, 13]]),
])
def test_after_an_early_close_aligned_windows_are_aligned_again(mode, options, expected):
    run = Run(ColourDetector(['red']), mode=mode, **options)
    assert windows(run, 14, flushed=(2, 9)) == expected
    run.flush()
    nothing_was_lost(run, 14)


def test_a_detection_corrects_the_past_as_soon_as_it_is_there():
    aligned, plain = (
        Run(ScriptedDetector(APPEARS, 4), mode='online', **options) for options in (ALIGNED, PLAIN)
    )
    images = film(12)
    for run, when in ((aligned, 8), (plain, 11)):
        for index, image in enumerate(images):
            corrected = [result.index for result in run.push(image) if result.revision]
            assert bool(corrected) == (index == when)
            if corrected:  # over the M frames up to the newest, and not the detection frame
                assert corrected == list(range(max(index - 7, 0), 8))
    for index in range(4, 8):
        assert iou(mask(aligned.latest()[index], 1), colour_mask(images[index], 'red')) > 0.5


def test_in_mode_window_the_newest_frame_of_a_window_has_the_prompt():
    run = Run(ColourDetector(['red']), mode='window', **ALIGNED)
    run.push(*film(9))
    first = run.first()
    assert [i for i in range(9) if first[i].objects[0].conditioned] == [0, 4, 8]
    # Of each window K - 1 frames are tracked anew, and the M - K before it: none is prompted.
    assert run.engine.stats().tracked_frames == 0 + 3 + 3 + 3


@MODES
@pytest.mark.parametrize('early', [None, 2, 6])
def test_parts_give_the_masks_of_whole_passes(mode, early):
    whole = Run(ColourDetector(['red']), mode=mode, **ALIGNED)
    parts = Run(ColourDetector(['red']), mode=mode, **ALIGNED)
    for index, image in enumerate(film(14)):
        whole.push(image)
        parts.results += parts.stream.add(image, 1000 * index)
        while parts.stream.backlog.due:
            parts.results += parts.stream.step()
        if index == early:
            whole.flush()
            while parts.stream.backlog.frames:
                parts.results += parts.stream.step(early=True)
    whole.flush()
    parts.flush()
    same_results([whole.latest()[i] for i in range(14)], [parts.latest()[i] for i in range(14)])


def test_a_frame_that_would_fill_a_second_window_waits():
    run = Run(ColourDetector(['red']), mode='online', **ALIGNED)
    told = []
    for index in range(9):
        run.stream.add(red(12 + index), 1000 * index)
        told.append(run.stream.backlog.must_close_first)
    # Frame 0 fills the first window and is not closed: frame 4 would fill the second.
    assert told == [False, False, False, True, True, True, True, True, True]
    while run.stream.backlog.due:
        run.stream.step()
    assert not run.stream.backlog.must_close_first and not run.stream.backlog.frames


def test_after_an_early_close_a_frame_need_not_wait_for_the_pass():
    run = Run(ColourDetector(['red']), mode='online', **{**ALIGNED, 'max_propagation': 16})
    run.push(red(12))
    for index in range(1, 4):
        run.stream.add(red(12 + index), 1000 * index)
    run.stream.step(early=True)
    assert run.stream.backlog.begun and not run.stream.backlog.must_close_first
    for index in range(4, 7):  # the first of them is a window by itself
        run.stream.add(red(12 + index), 1000 * index)
    assert run.stream.backlog.must_close_first


def test_two_objects_are_not_merged_for_one_frame_that_is_a_window():
    """On frame 4, by itself after a flush, both look like the one disc between them."""
    left, right, between = disc_box(16, 24), disc_box(48, 24), disc_box(32, 24)
    apart = scene(size=SIZE)
    disc(apart, (255, 0, 0), 16, 24, 8)
    disc(apart, (255, 80, 0), 48, 24, 8)
    one = disc(scene(size=SIZE), (255, 40, 0), 32, 24, 8)
    script = {at: [(0, left), (0, right)] for at in (0, 8, 12)} | {4: [(0, between)]}
    run = Run(
        ScriptedDetector(script, 4), mode='online', **{**ALIGNED, 'max_propagation': 12})
    for index in range(14):
        run.push(one if index == 4 else apart)
        if index == 3:
            run.flush()
    run.flush()
    assert all(run.ids(index) == [1, 2] for index in range(14))


@MODES
def test_the_first_frame_alone_does_not_merge_two_objects(mode):
    whole, quarter = disc_box(16, 24), (14.0, 24.0, 22.0, 32.0)  # masks with an IoU of 0.3
    script = {0: [(0, whole), (0, quarter)], 4: [(0, whole)]}
    run = Run(ScriptedDetector(script, 4), mode=mode, merge_iou=0.2, **ALIGNED)
    run.push(red(16))
    assert not run.stream.backlog.frames and run.ids(0) == [1, 2]  # its window is closed
    assert len(run.stream._state.objects) == 2
    run.push(*[red(16)] * 4)
    assert len(run.stream._state.objects) == 1 and run.ids(4) == [1]


@given(
    first=st.integers(0, 60), count=st.integers(0, 30), K=st.integers(1, 12),
    kind=st.sampled_from(['aligned', 'plain']),
)  # fmt: skip
def test_a_window_is_the_oldest_frames_up_to_where_it_ends(first, count, K, kind):
    config = EngineConfig(window_size=K, max_propagation=2 * K, windows=kind)
    waiting = range(first, first + count)
    window = first_window(waiting, config)
    assert list(window) == list(waiting[: len(window)])
    if kind == 'plain':
        assert len(window) == (K if count >= K else 0)
    elif window:
        assert window[-1] % K == 0 and not any(index % K == 0 for index in window[:-1])
    else:
        assert not any(index % K == 0 for index in waiting)


def test_another_way_to_end_them_is_refused():
    with pytest.raises(ConfigError, match="windows must be one of aligned, plain, got 'late'"):
        EngineConfig(windows='late')
