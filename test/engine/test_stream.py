# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Windows, revisions and finality: what comes out of a stream, when, and at which costs."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask, scene
from stream_cases import EMPTY, GOOD, RED, SIZE, USUAL, film, nothing_was_lost, red

from detsam2_ros.engine import ConfigError, EngineConfig
from detsam2_ros.results.detections import Detections


# ---- windows
def test_frames_accumulate_until_the_window_is_full():
    run = Run(None, **USUAL)
    for i in range(1, 4):
        assert run.push(EMPTY) == []
        assert run.stream.backlog.frames == i
    results = run.push(EMPTY)
    assert run.stream.backlog.frames == 0
    assert [(r.index, r.revision, r.stamp) for r in results] == [
        (i, 0, 1000 * i) for i in range(4)]
    assert {r.stream for r in results} == {'front'}


def test_flush_closes_an_unfinished_window():
    run = Run(None, **USUAL)
    run.push(*[EMPTY] * 6)
    assert [r.index for r in run.flush()] == [4, 5]
    assert run.flush() == []
    # The next window counts from here, the frames go on.
    assert [r.index for r in run.push(*[EMPTY] * 4)] == [6, 7, 8, 9]


class WatchingDetector:
    """Notes which images it is shown, by the value of their first pixel."""

    def __init__(self) -> None:
        self.class_names = {0: 'disc'}
        self.batches: list[list[int]] = []

    def detect(self, images):
        self.batches.append([int(image[0, 0, 0]) for image in images])
        return [Detections.empty() for _ in images]


@pytest.mark.parametrize(('K', 'D', 'batches'), [
    (4, 2, [[0, 2], [4, 6], [8, 10]]), (4, 3, [[0, 3], [6], [9]]), (4, 4, [[0], [4], [8]]),
    (4, 5, [[0], [5], [10]]), (4, 8, [[0], [8]]), (1, 1, [[i] for i in range(12)]),
    (4, 0, []),
])
@pytest.mark.parametrize('encode_batch', [1, 3, 4])
def test_the_detector_sees_every_detection_frame_once_a_window(K, D, batches, encode_batch):
    detector = WatchingDetector()
    run = Run(
        detector, window_size=K, detect_interval=D, max_propagation=2 * K,
        encode_batch=min(encode_batch, K),
    )
    run.push(*[np.full((*SIZE, 3), i, np.uint8) for i in range(12)])
    assert detector.batches == batches
    assert run.engine.stats().detector_frames == sum(map(len, batches))


def test_detection_frames_stay_where_they_are_after_a_flush():
    detector = WatchingDetector()
    run = Run(detector, **USUAL)
    run.push(*[np.full((*SIZE, 3), i, np.uint8) for i in range(6)])
    run.flush()
    run.push(*[np.full((*SIZE, 3), i, np.uint8) for i in range(6, 10)])
    assert detector.batches == [[0], [4], [8]]


# ---- empty states
def test_frames_without_any_object_get_empty_masks():
    run = Run(ScriptedDetector({}, 4), **USUAL)
    run.push(*film(9))
    run.flush()
    assert sorted(run.first()) == list(range(9))
    for result in run.results:
        assert (result.revision, result.objects, result.changed_ids) == (0, (), ())
        assert result.masks.shape == (0, *SIZE) and result.masks.dtype == bool
        assert result.labels.shape == SIZE and result.labels.dtype == np.uint16
        assert not result.labels.any()
    stats = run.engine.stats()
    assert (stats.encodings, stats.passes, stats.tracked_frames) == (9, 0, 0)


def test_frames_after_the_last_object_has_gone_get_empty_masks():
    run = Run(ColourDetector(['red']), **USUAL, max_lost_frames=4)
    run.push(*film(4), *[EMPTY] * 12)
    assert run.ids(3) == [1]
    assert sorted(run.first()) == list(range(16))
    assert run.latest()[15].objects == ()
    passes = run.engine.stats().passes
    run.push(*[EMPTY] * 4)
    assert run.engine.stats().passes == passes


# ---- revisions
def test_a_new_object_corrects_the_past():
    # The disc is there from the start, the detector finds it on frame 4 first.
    run = Run(ScriptedDetector({4: [(0, disc_box(16, 24))]}, 4), **USUAL)
    images = film(8)
    first = run.push(*images[:4])
    assert all(r.objects == () for r in first)
    second = run.push(*images[4:])
    assert [(r.index, r.revision) for r in second] == [(i, int(i < 4)) for i in range(8)]
    for result in second:
        assert result.changed_ids == (1,)
        assert result.final == (result.index < 4)  # the next pass reaches back to frame 4
        assert iou(mask(result, 1), colour_mask(images[result.index], 'red')) > 0.5
        assert result.objects[0].conditioned == (result.index == 4)
        np.testing.assert_array_equal(result.labels, mask(result, 1).astype(np.uint16))
    assert run.engine.stats().corrections == 4


def test_a_correction_reaches_back_as_far_as_the_pass():
    script = ScriptedDetector({8: [(0, disc_box(20, 24))]}, 4)
    run = Run(script, window_size=4, detect_interval=4, max_propagation=6)
    run.push(*film(12))
    assert [r.index for r in run.results if r.revision] == [6, 7]
    assert [len(run.latest()[i].objects) for i in range(12)] == [0] * 6 + [1] * 6


def test_what_did_not_change_is_not_sent_again():
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*film(16))
    assert len(run.results) == 16
    assert run.engine.stats().corrections == 0


def test_small_changes_are_sent_or_not_as_configured():
    # A stray pixel turns red-like on frame 6: found late, it changes frame 6's mask a little.
    images = film(8)
    script = {0: [(0, disc_box(12, 24))], 4: [(0, (4.0, 12.0, 36.0, 44.0))]}
    runs = [
        Run(ScriptedDetector(script, 4), **USUAL, correction_iou=limit) for limit in (1.0, 0.0)
    ]
    for run in runs:
        run.push(*images)
    assert all(r.revision == 0 for r in runs[1].results)


def test_a_flush_between_does_not_lose_or_repeat_frames():
    run = Run(ColourDetector(['red', 'green']), **USUAL)
    for i, image in enumerate(film(23, ('green', 50, 10))):
        run.push(image)
        if i in (0, 5, 6, 7, 14):
            run.flush()
    run.flush()
    assert sorted(run.first()) == list(range(23))
    assert all(run.ids(i) == [1, 2] for i in range(23))


# ---- finality
def test_the_last_window_but_one_becomes_final():
    run = Run(None, **USUAL)
    run.push(*[EMPTY] * 4)
    assert run.stream.horizon == 0
    run.push(*[EMPTY] * 4)
    # The next pass, of 8 frames, will start on frame 11 and reach frame 4.
    assert run.stream.horizon == 4
    run.push(*[EMPTY] * 4)
    assert run.stream.horizon == 8


def test_when_a_pass_covers_one_window_everything_is_final_at_once():
    run = Run(ColourDetector(['red']), window_size=4, detect_interval=4, max_propagation=4)
    run.push(*film(8))
    assert all(r.final and r.revision == 0 for r in run.results)


def test_a_promise_of_finality_holds_after_an_early_flush():
    """A short window must not let a pass reach back behind what was promised."""
    script = ScriptedDetector(
        lambda frame: [(0, disc_box(12 + frame, 24))] if frame > 7 else [], 1)
    run = Run(script, window_size=4, detect_interval=1, max_propagation=8)
    run.push(*film(8))
    horizon = run.stream.horizon
    run.push(red(20))
    results = run.flush()
    assert min(r.index for r in results) == horizon == 4


# ---- costs
def test_the_cost_is_that_of_the_design():
    N, K, M = 40, 5, 10
    run = Run(
        ScriptedDetector({0: [(0, disc_box(12, 24)), (1, disc_box(50, 24))]}, 5),
        window_size=K,
        detect_interval=5,
        max_propagation=M,
        max_lost_frames=1000,
    )
    run.push(*[scene(('red', 12, 24), ('green', 50, 24), size=SIZE)] * N)
    stats = run.engine.stats()
    assert (stats.encodings, stats.passes) == (N, N // K)
    covered = [min(M, newest + 1) for newest in range(K - 1, N, K)]
    # Two passes reach frame 0, where the prompt's mask stays.
    assert stats.tracked_frames == 2 * (sum(covered) - 2)
    assert stats.tracked_frames <= 2 * N * M / K
    assert stats.conditioned_frames == 2
    assert stats.objects == 2
    assert set(stats.seconds) == {
        'encode', 'detect', 'associate', 'decode_prompt', 'track', 'encode_memory', 'masks'}


@pytest.mark.parametrize('encode_batch', [1, 2, 3, 4, 9])
def test_every_frame_is_encoded_once(encode_batch):
    run = Run(ColourDetector(['red']), **USUAL, encode_batch=encode_batch)
    run.push(*film(14))
    run.flush()
    assert run.engine.stats().encodings == run.engine.stats().frames == 14
    assert all(run.ids(i) == [1] for i in range(14))


# ---- passes that do less: when they stop early, whom they leave out, and what stays right
def same_results(run: Run, plain: Run) -> None:
    assert run.latest().keys() == plain.latest().keys()
    for index, result in run.latest().items():
        expected = plain.latest()[index]
        assert {o.id for o in result.objects} == {o.id for o in expected.objects}
        for shown in expected.objects:
            assert np.array_equal(mask(result, shown.id), mask(expected, shown.id))
        assert np.array_equal(result.labels, expected.labels)


def both(detector, images, **options):
    """Run the same images with options and without; returns both runs."""
    runs = []
    for extra in (options, {}):
        run = Run(detector(), **(USUAL | {'max_propagation': 16} | extra))
        run.push(*images)
        nothing_was_lost(run, len(images))
        runs.append(run)
    return runs


def test_a_pass_stops_where_it_finds_the_published_masks_again_before_the_last_prompt_but_one():
    run, plain = both(
        lambda: ColourDetector(['red']), film(24), early_stop_iou=0.9, early_stop_frames=2)
    same_results(run, plain)
    # Windows of 4 with a prompt on their first frame: 3 new frames, 3 to the prompt before, where
    # tracking was worst, then 2 that agree instead of all 6.
    assert plain.engine.stats().tracked_frames == 3 + 6 + 9 + 3 * 12
    assert run.engine.stats().tracked_frames == 3 + 6 + 4 * 8


def test_a_pass_does_not_stop_before_enough_frames_agree():
    run, plain = both(
        lambda: ColourDetector(['red']), film(24), early_stop_iou=0.9, early_stop_frames=7)
    same_results(run, plain)
    assert run.engine.stats().tracked_frames == plain.engine.stats().tracked_frames


def test_what_was_wrong_is_corrected_all_the_same():
    # Missed on the first detection frame: no masks in this window until the next detection.
    script = {4: [(0, RED)], 8: [(0, RED)]}
    run, plain = both(
        lambda: ScriptedDetector(script, 4), [GOOD] * 16, early_stop_iou=0.9, early_stop_frames=1)
    same_results(run, plain)
    for index in range(16):
        assert iou(mask(run.latest()[index], 1), colour_mask(GOOD, 'red')) > 0.6
    assert run.latest()[2].revision == 1


def test_objects_stop_one_by_one():
    images = [red(12 + i, ('green', 48, 30)) for i in range(24)]
    # Green is detected late, so that its pass finds nothing published to agree with.
    script = {0: [(0, RED)], 12: [(1, (40, 22, 56, 38))]}
    run, plain = both(
        lambda: ScriptedDetector(script, 4), images, early_stop_iou=0.9, early_stop_frames=1)
    same_results(run, plain)
    assert run.engine.stats().tracked_frames < plain.engine.stats().tracked_frames


def test_bad_options_are_named():
    for name, value in (('early_stop_iou', 1.5), ('early_stop_frames', 0)):
        with pytest.raises(ConfigError, match=name):
            EngineConfig(**{name: value})


def shifted(by: float) -> list:
    """Script a detection of red that is off by some pixels."""
    return [(0, tuple(edge + by for edge in RED))]


def test_detections_that_tracking_knew_already_start_no_pass_but_prompt():
    script = {0: [(0, RED)], 4: [(0, RED)], 8: shifted(2)}
    run, plain = both(
        lambda: ScriptedDetector(script, 4), [GOOD] * 12, mode='online', confirm_iou=0.6)
    stats, expected = run.engine.stats(), plain.engine.stats()
    assert (expected.conditioned_frames, expected.confirmed_detections) == (3, 0)
    # On frame 0 it is new, on 8 it is where tracking did not see it: that pass reads frame 4 too.
    assert (stats.conditioned_frames, stats.confirmed_detections) == (3, 1)
    assert (stats.passes, expected.passes) == (2, 3)
    assert stats.objects == 1
    same_results(run, plain)
    assert run.latest()[4].objects[0].conditioned


@pytest.mark.parametrize('shown', [0, 14])
def test_an_object_that_was_lost_or_covered_since_its_prompt_gets_a_pass(shown: int):
    covered = GOOD.copy()
    covered[:, shown:] = EMPTY[:, shown:]  # all of the disc, or half of it
    images = [GOOD] * 5 + [covered] * 2 + [GOOD] * 9
    script = {at: [(0, RED)] for at in (0, 4, 8, 12)}
    run, plain = both(
        lambda: ScriptedDetector(script, 4), images, mode='online', confirm_iou=0.6)
    # On 5 and 6 tracking may have been wrong; from 8 to 12 the mask kept its size.
    stats, expected = run.engine.stats(), plain.engine.stats()
    assert (stats.confirmed_detections, stats.passes, expected.passes) == (2, 2, 4)
    same_results(run, plain)


def test_confirmation_leaves_mode_window_alone():
    script = {0: [(0, RED)], 4: [(0, RED)]}
    run, plain = both(
        lambda: ScriptedDetector(script, 4), [GOOD] * 8, mode='window', confirm_iou=0.6)
    same_results(run, plain)
    assert run.engine.stats().tracked_frames == plain.engine.stats().tracked_frames
    assert run.engine.stats().confirmed_detections == 0


def test_every_option_at_once_loses_nothing():
    options = {
        'early_stop_iou': 0.9, 'early_stop_frames': 1, 'max_conditioned_memories': 1,
        'confirm_iou': 0.9,
    }
    for mode in ('window', 'online'):
        run, plain = both(lambda: ColourDetector(['red']), film(40), mode=mode, **options)
        same_results(run, plain)
        work = run.engine.stats().tracked_frames, plain.engine.stats().tracked_frames
        assert work[0] < work[1]
