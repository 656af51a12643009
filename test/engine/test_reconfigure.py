# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Parameters that change while streams run."""

from dataclasses import replace

import pytest
from fakes import ColourDetector, Run, ScriptedDetector, disc_box
from stream_cases import EMPTY, RED, USUAL, film, nothing_was_lost, red

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.config_fields import live_parameters
from detsam2_ros.results.errors import ConfigError


def test_detection_stops_and_starts_with_the_next_frame():
    run = Run(ScriptedDetector({0: [(0, RED)]}), **{**USUAL, 'detect_interval': 1})
    images = film(16)
    run.push(*images[:6])
    run.engine.reconfigure(detect_interval=0)
    run.push(*images[6:9])
    # Frames 4 and 5 were there before the change; 6 and 7 of the same window after it.
    assert run.engine.stats().detector_frames == 6
    run.engine.reconfigure(detect_interval=3)
    run.push(*images[9:])
    assert run.engine.stats().detector_frames == 6 + 3  # 9, 12, 15
    assert run.engine.config.detect_interval == 3
    nothing_was_lost(run, 16)


def test_a_higher_score_for_new_objects_acts_on_the_next_window():
    script = {0: [(0, RED, 0.6)], 4: [(0, RED, 0.6), (1, disc_box(48, 24), 0.6)]}
    run = Run(ScriptedDetector(script, 4), **USUAL)
    both = [red(14, ('green', 48, 24))] * 4
    run.push(*both, *both[:2])
    run.engine.reconfigure(new_object_score=0.7)
    run.push(*both[2:])
    # The object that is known is prompted on, the green one is not started.
    assert [run.ids(i) for i in (0, 7)] == [[1], [1]]
    again = Run(ScriptedDetector(script, 4), **USUAL)
    again.push(*both, *both)
    assert again.ids(7) == [1, 2]


def test_objects_retire_by_the_new_limit():
    run = Run(ColourDetector(['red']), **USUAL, max_lost_frames=100)
    run.push(*[red(14)] * 4, *[EMPTY] * 4)
    assert run.ids(7, visible=False) == [1]
    run.engine.reconfigure(max_lost_frames=4)
    run.push(*[EMPTY] * 4)
    run.push(*[EMPTY] * 4)
    assert run.ids(15, visible=False) == []


def test_all_streams_take_the_change_and_later_ones_too():
    run = Run(ScriptedDetector({}), **USUAL)
    rear = run.engine.open_stream('rear')
    run.engine.reconfigure(detect_interval=0, match_iou=0.9)
    late = run.engine.open_stream('late')
    for stream in (run.stream, rear, late):
        for i in range(4):
            stream.push(EMPTY, i)
    assert run.engine.stats().detector_frames == 0
    assert run.engine.config == replace(run.config, detect_interval=0, match_iou=0.9)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'detect_interval': 1, 'match_iou': 2.0}, r'^match_iou must be a number in 0\.\.1, got'),
    ({'detect_interval': -1}, '^detect_interval must be a whole number >= 0, got -1'),
    ({'window_size': 2}, '^window_size cannot change while streams are open; detect_interval'),
    ({'match_iou': 0.1, 'encode_batch': 2}, '^encode_batch cannot change while streams'),
    ({'speed': 1}, '^speed is no parameter; there are window_size'),
])
def test_what_cannot_change_is_refused_by_name_and_changes_nothing(changes, message):
    run = Run(None, **USUAL)
    before = run.engine.config
    with pytest.raises(ConfigError, match=message):
        run.engine.reconfigure(**changes)
    assert run.engine.config is before
    run.push(*film(4))
    nothing_was_lost(run, 4)


def test_without_streams_everything_may_change():
    run = Run(None, **USUAL)
    run.engine.close_stream('front')
    run.engine.reconfigure(window_size=2, max_propagation=4)
    stream = run.engine.open_stream('front')
    assert len(stream.push(EMPTY, 0) + stream.push(EMPTY, 1)) == 2
    run.engine.close_stream('front')
    with pytest.raises(ConfigError, match='^max_propagation'):
        run.engine.reconfigure(window_size=8)


def test_what_may_change_are_parameters():
    assert set(live_parameters(EngineConfig)) == {
        'detect_interval', 'match_iou', 'new_object_score', 'merge_iou', 'correction_iou',
        'max_lost_frames', 'early_stop_iou', 'early_stop_frames', 'confirm_iou',
        'bank_object_score', 'bank_object_frames',
    }  # fmt: skip
