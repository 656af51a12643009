# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Streams of one engine: apart, repeatable, opened, closed, reset and reconfigured."""

from dataclasses import replace

import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_sam2, disc_box, scene, tiny_sam2
from stream_cases import EMPTY, RED, USUAL, film, nothing_was_lost, red, same_results

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.config_fields import live_parameters
from detsam2_ros.engine.engine import Engine
from detsam2_ros.results.errors import ConfigError, EngineError


def interleaved(model) -> tuple[list, list]:
    """Results of two streams, one after the other in two engines, and mixed in one."""
    films = [film(12, ('green', 50, 10)), film(12)[::-1]]
    detector = ColourDetector(['red', 'green'])
    alone = []
    for images in films:
        run = Run(detector, model, **USUAL)
        run.push(*images)
        alone.append(run.results)
    engine = Engine(model, detector, run.config)
    streams = [engine.open_stream('front'), engine.open_stream('rear')]
    mixed: list[list] = [[], []]
    for i in range(12):
        for stream, images, out in zip(streams, films, mixed, strict=True):
            out += stream.push(images[i], 1000 * i)
    assert engine.stats().frames == engine.stats().encodings == 24
    return alone, mixed


@pytest.mark.usefixtures('both_modes')
@pytest.mark.parametrize('kind', ['colour', 'random'])
def test_streams_do_not_know_of_one_another(kind):
    alone, mixed = interleaved(colour_sam2() if kind == 'colour' else tiny_sam2())
    for one, other in zip(alone, mixed, strict=True):
        same_results(one, other)
    assert {r.stream for r in mixed[1]} == {'rear'}


@pytest.mark.usefixtures('both_modes')
def test_the_same_input_gives_the_same_results():
    runs = [Run(ColourDetector(['red', 'green']), tiny_sam2(), **USUAL) for _ in range(2)]
    for run in runs:
        run.push(*film(8, ('green', 50, 10)))
    same_results(*(run.results for run in runs))


def test_streams_are_opened_and_closed_by_name():
    run = Run(None, **USUAL)
    with pytest.raises(EngineError, match="'front' is open already"):
        run.engine.open_stream('front')
    assert run.engine.streams == {'front': run.stream}
    run.push(EMPTY)
    run.engine.close_stream('front')
    assert run.engine.streams == {}
    assert run.engine.stats().dropped_frames == 1
    with pytest.raises(EngineError, match="'front' is not open"):
        run.engine.close_stream('front')
    run.engine.open_stream('front')


def test_what_is_no_detector_is_refused():
    with pytest.raises(ConfigError, match=r'detector must have class_names .*, str has not'):
        Run('yolo', **USUAL)


def test_reset_starts_anew():
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*film(6))
    run.stream.reset()
    assert (run.stream.backlog.frames, run.stream.horizon) == (0, 0)
    stats = run.engine.stats()
    assert (stats.frames, stats.published_frames, stats.dropped_frames) == (6, 4, 2)
    run.results.clear()
    # Another image size is welcome now, and nothing of before is remembered.
    results = run.push(*[scene(('blue', 20, 20), size=(40, 40))] * 4)
    assert [(r.index, r.revision, r.objects) for r in results] == [(i, 0, ()) for i in range(4)]
    results = run.push(*[scene(('red', 20, 20), size=(40, 40))] * 4)
    (first,) = results[-1].objects
    assert first.id == 2  # an id of before would mean another object


# ---- parameters that change while streams run
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
        'bank_object_score', 'bank_object_frames', 'confirm_detections', 'confirm_score',
        'withdraw_detections', 'recall_score',
    }  # fmt: skip
