# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Passes that do less: when they stop early, whom they leave out, and what stays right."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, iou, mask
from stream_cases import GOOD, RED, USUAL, film, nothing_was_lost, red

from detsam2_ros.engine import ConfigError, EngineConfig


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
        run = Run(detector(), **(USUAL | extra))
        run.push(*images)
        nothing_was_lost(run, len(images))
        runs.append(run)
    return runs


def test_a_pass_stops_where_it_finds_the_published_masks_again():
    run, plain = both(
        lambda: ColourDetector(['red']), film(24), early_stop_iou=0.9, early_stop_frames=2)
    same_results(run, plain)
    # Windows of 4 with a prompt on their first frame: 3 new frames, then 2 of 4 old ones
    # (of which one is prompted in the plain method's 3 tracked ones).
    assert plain.engine.stats().tracked_frames == 3 + 5 * 6
    assert run.engine.stats().tracked_frames == 3 + 5 * 5


def test_a_pass_does_not_stop_before_enough_frames_agree():
    run, plain = both(
        lambda: ColourDetector(['red']), film(24), early_stop_iou=0.9, early_stop_frames=4)
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


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_detections_that_tracking_knew_already_condition_nothing(mode):
    script = {0: [(0, RED)], 4: [(0, RED)], 8: shifted(2)}
    run, plain = both(
        lambda: ScriptedDetector(script, 4), [GOOD] * 12, mode=mode, confirm_iou=0.6)
    stats, expected = run.engine.stats(), plain.engine.stats()
    assert (expected.conditioned_frames, expected.confirmed_detections) == (3, 0)
    # On frame 0 it is new, on 8 it is where tracking did not see it.
    assert (stats.conditioned_frames, stats.confirmed_detections) == (2, 1)
    assert stats.objects == 1
    assert not run.latest()[4].objects[0].conditioned
    assert iou(mask(run.latest()[4], 1), colour_mask(GOOD, 'red')) > 0.6


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
