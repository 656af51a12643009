# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Calls with what the engine cannot take: its own errors, in one sentence, and nothing changed."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_sam2, disc_box
from stream_cases import GOOD, RED, USUAL, film, make_bank, nothing_was_lost, red

from detsam2_ros.engine import (
    BankError,
    ConfigError,
    Detections,
    Engine,
    EngineError,
    ImageError,
    Prompt,
    PromptError,
)

MODES = pytest.mark.parametrize('mode', ['window', 'online'])
BOX = [[0, 0, 9, 9]]


@pytest.mark.parametrize(('boxes', 'ids', 'scores', 'message'), [
    (BOX, [-1], [0.5], 'class_ids must be whole numbers in 0..2147483647, got .*-1'),
    (BOX, [1.5], [0.5], 'got .*1.5'),
    (BOX, [np.nan], [0.5], 'got .*nan'),
    (BOX, [2**31], [0.5], 'got .*2147483648'),
    (BOX, ['cup'], [0.5], "got .*'cup'.*; a name goes into class_names"),
    ([['a', 0, 9, 9]], [0], [0.5], 'boxes must be numbers'),
    (BOX, [0], ['sure'], 'scores must be numbers'),
])  # fmt: skip
def test_what_are_no_detections(boxes, ids, scores, message) -> None:
    with pytest.raises(ValueError, match=message):
        Detections(boxes, ids, scores)


def test_class_ids_may_be_whole_floats() -> None:
    found = Detections(BOX * 2, [0.0, 7.0], [0.5, 0.5])
    assert found.class_ids.dtype == np.int64 and found.class_ids.tolist() == [0, 7]


@pytest.mark.parametrize(('names', 'message'), [
    (['cup'], 'class_names must map ids to names, got list'),
    ({0: 5}, 'class 0 must have a text as its name, got 5'),
    ({-1: 'cup'}, 'class ids must be whole numbers in 0..2147483647, got -1'),
    ({'0': 'cup'}, "got '0'"),
    ({True: 'cup'}, 'got True'),
    ({0: 'cup', 3: '\t'}, "the name of the detector's class 3 is empty"),
    ({0: 'c\x00p'}, 'is not printable'),
    ({0: 'c' * 1025}, 'has more than 1024 characters'),
])  # fmt: skip
def test_what_are_no_class_names(names, message) -> None:
    detector = ColourDetector([])
    detector.class_names = names
    with pytest.raises(ConfigError, match=message):
        Engine(colour_sam2(), detector)


def test_class_names_of_a_detector_come_without_blanks() -> None:
    detector = ColourDetector([])
    detector.class_names = {np.int64(2): ' cup\r\n'}
    assert Engine(colour_sam2(), detector).classes.names == {2: 'cup'}


@MODES
def test_arguments_of_another_type(mode) -> None:
    run = Run(None, mode=mode, **USUAL)
    run.push(*film(2))
    stream = run.stream
    for call, error, message in (
        (lambda: stream.load_bank(None), BankError, 'got NoneType; unload_bank drops'),
        (lambda: stream.load_bank('cups.safetensors'), BankError, 'as MemoryBank.load.* got str'),
        (lambda: stream.add_detections(0, None), PromptError, 'takes Detections.* got NoneType'),
        (lambda: stream.prompt(0, RED, 'cup'), PromptError, 'takes a Prompt.* got tuple'),
        (lambda: stream.prompt(0, Prompt(box=RED), 5), PromptError, 'a class name is a text'),
        (lambda: stream.prompt(0, Prompt(box=RED), 'a\x07'), PromptError, 'is not printable'),
        (lambda: stream.prompt('0', Prompt(box=RED), 'cup'), PromptError, "hold frame '0'"),
    ):
        with pytest.raises(error, match=message):
            call()
    assert run.engine.stats().prompts == 0 and stream.bank is None
    assert stream.prompt(1, Prompt(box=RED), ' ball\r').object.class_name == 'ball'
    assert stream.rename_object(1, ' cup ').class_name == 'cup'
    with pytest.raises(PromptError, match='a class name is a text, got 7'):
        stream.rename_object(1, 7)


def test_a_stream_without_frames_says_so() -> None:
    stream = Run(None, **USUAL).stream
    for call in (
        lambda: stream.prompt(0, Prompt(box=RED), 'cup'),
        lambda: stream.add_detections(0, Detections.empty()),
        stream.find_frame,
    ):
        with pytest.raises(PromptError, match="'front' has no frame yet; try again"):
            call()


# ---- after the end


def test_a_closed_engine_says_so_and_lets_the_model_go() -> None:
    run = Run(ColourDetector(['red']), **USUAL)
    run.push(*film(2))
    model, stream = weakref.ref(run.engine.model), run.stream
    run.engine.close()
    run.engine.close()
    with pytest.raises(EngineError, match='the engine is closed; make a new one'):
        run.engine.open_stream('rear')
    for call in (
        lambda: stream.push(GOOD, 0), lambda: stream.add(GOOD, 0), stream.step, stream.flush,
        stream.reset, lambda: stream.load_bank(make_bank('red')), stream.unload_bank,
        lambda: stream.export_bank(1), lambda: stream.prompt(0, Prompt(box=RED), 'cup'),
        lambda: stream.add_detections(0, Detections.empty()), stream.find_frame,
        lambda: stream.remove_object(1), lambda: stream.rename_object(1, 'cup'),
        lambda: stream.objects, lambda: stream.horizon, lambda: stream.backlog,
    ):  # fmt: skip
        with pytest.raises(EngineError, match="stream 'front' is closed; open a new one"):
            call()
    assert run.engine.stats().frames == 2
    gc.collect()
    assert model() is None  # although the caller still holds the stream


def test_a_closed_stream_leaves_the_others_at_work() -> None:
    run = Run(None, **USUAL)
    other = run.engine.open_stream('rear')
    run.engine.close_stream('rear')
    with pytest.raises(EngineError, match="'rear' is closed"):
        other.push(GOOD, 0)
    run.push(*film(4))
    nothing_was_lost(run, 4)


# ---- the same thing twice, and one too many


@MODES
def test_the_same_prompt_twice_before_a_pass_is_one_object(mode) -> None:
    run = Run(None, mode=mode, **USUAL)
    run.push(*film(2))
    ids = [run.stream.prompt(1, Prompt(box=RED), name).object.id for name in ('a', 'a', 'b', 'a')]
    assert ids == [1, 1, 2, 1] and run.engine.stats().objects == 2
    run.push(*film(8)[2:])
    run.flush()
    assert run.ids(7) == [1, 2]


def test_a_prompt_for_what_was_detected_late_is_that_object() -> None:
    run = Run(None, mode='online', **USUAL)
    run.push(*film(4))
    late = run.stream.add_detections(3, Detections([RED], [0], [0.9]))
    assert late.started == 1
    known = run.stream.objects[0]
    assert run.stream.prompt(3, Prompt(box=RED), known.class_name).object.id == known.id


@MODES
def test_living_and_banked_objects_together_are_no_more_than_max_objects(mode) -> None:
    run = Run(None, mode=mode, max_objects=2, **USUAL)
    run.push(*[red(14, ('green', 50, 24))] * 4)
    run.stream.prompt(3, Prompt(box=RED), 'ball')
    with pytest.raises(BankError, match=r'would be 3 objects \(2 of .*, but max_objects is 2'):
        run.stream.load_bank(make_bank('blue', 'green'))
    assert run.stream.bank is None
    run.stream.load_bank(make_bank('blue'))
    with pytest.raises(PromptError, match=r'has 2 objects already \(1 of them looked for'):
        run.stream.prompt(3, Prompt(box=disc_box(50, 24)), 'cup')
    with pytest.raises(BankError, match='would be 3 objects'):
        run.stream.load_bank(make_bank('green'), replace=False)
    assert len(run.stream.bank.objects()) == 1


@MODES
def test_a_banked_object_keeps_its_place_from_detections(mode) -> None:
    boxes = [(0, RED), (1, disc_box(50, 24))]
    run = Run(ScriptedDetector(lambda _: boxes, 4), mode=mode, max_objects=2, **USUAL)
    run.stream.load_bank(make_bank('blue'))
    run.push(*[red(14, ('green', 50, 24))] * 8)
    assert len(run.ids(7, visible=False)) == 1
    assert run.engine.stats().ignored_detections > 0


# ---- frames that wait


def test_push_closes_windows_where_too_many_frames_wait() -> None:
    run = Run(ColourDetector(['red']), mode='window', **USUAL)
    frames = film(13)
    for i, image in enumerate(frames[:12]):
        run.images.append(image)
        assert run.stream.add(image, 1000 * i) == []
    with pytest.raises(EngineError, match='12 frames wait .* step until nothing is due'):
        run.stream.add(GOOD, 0)
    with pytest.raises(ImageError):
        run.stream.push(GOOD[:1], 0)
    assert run.stream.backlog.frames == 12
    run.push(frames[12])
    assert run.stream.backlog.frames == 1
    run.flush()
    nothing_was_lost(run, 13)


def test_push_says_why_no_window_closes(monkeypatch) -> None:
    from detsam2_ros.engine.tracking.window_pass import WindowPass

    def fail(*_: object) -> None:
        raise MemoryError('no room')

    run = Run(None, mode='window', **USUAL)
    for i in range(12):
        run.stream.add(GOOD, i)
    monkeypatch.setattr(WindowPass, 'finish', fail)
    with pytest.raises(EngineError, match=r'12 frames wait .* \(MemoryError: no room\)'):
        run.stream.push(GOOD, 12)
    monkeypatch.undo()
    assert len(run.stream.push(GOOD, 12)) == 12
