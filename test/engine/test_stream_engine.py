# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Streams of one engine: apart from one another, repeatable, opened, closed and reset."""

import pytest
from fakes import ColourDetector, Run, colour_sam2, scene, tiny_sam2
from stream_cases import EMPTY, USUAL, film, same_results

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
