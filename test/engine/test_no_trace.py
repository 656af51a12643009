# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An operation that fails, at whatever stage, leaves no trace, and succeeds when tried again."""

from __future__ import annotations

import ast
import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from failing import (
    BrokenStage,
    Stage,
    WatchedHolder,
    all_stages,
    counted,
    failing,
    fingerprint,
    without_what_is_computed_once,
)
from fakes import Found, colour_sam2, detections, disc_box
from stream_cases import RED, SIZE, make_bank, red

from detsam2_ros.engine import Detections, Engine, EngineConfig, Prompt, Stream
from detsam2_ros.engine.tracking.state import StreamState
from detsam2_ros.results.errors import BankError, DetectorError, PromptError

K, M = 3, 6
MODEL = colour_sam2()
GREEN = disc_box(48, 24)
QUARTER = (14.0, 24.0, 22.0, 32.0)  # of the red disc: too little overlap to match
BOTH = red(14, ('green', 48, 24))
NAMES = {0: 'red', 1: 'green'}
PARTS = [f'call {part}' for part in ('first', 'second', 'middle', 'last')]

Script = Mapping[int, Sequence[Found]]
Operation = Callable[[Stream], Any]


class StatelessDetector:
    """Finds what a script says of the image, whenever it is asked; see `numbered`."""

    class_names = NAMES

    def __init__(self, script: Script):
        self.script = script

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        return [detections(self.script.get(int(image[0, 0, 0]), ())) for image in images]


def numbered(image: np.ndarray, index: int) -> np.ndarray:
    """Write a frame's number into a corner, where no sample of the model falls."""
    image = image.copy()
    image[0, 0, 0] = index
    return image


@dataclass(frozen=True)
class Case:
    """An operation on a stream that has seen some frames."""

    operation: Operation
    frames: Sequence[np.ndarray] = ()
    script: Script | None = None  # of the stream's detector; None without one
    prepare: Operation = lambda stream: None  # after the frames
    between: Operation = lambda stream: None  # what cannot be stored: parts of a window
    after: Operation = lambda stream: None  # when the operation is done
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def engine(self) -> Engine:
        detector = None if self.script is None else StatelessDetector(self.script)
        options = {'window_size': K, 'detect_interval': K, 'max_propagation': M, **self.options}
        return Engine(MODEL, detector, EngineConfig(**options))


def add(index: int, image: np.ndarray = BOTH) -> Operation:
    return lambda stream: stream.add(numbered(image, index), 1000 * index, tag=index)


def close(stream: Stream) -> list:
    """Do all parts of a window that is due."""
    while not (results := stream.step()) and stream._runner._steps is not None:
        pass
    return results


def three_parts(stream: Stream) -> None:
    for _ in range(3):
        assert stream.step() == [] and stream.backlog.begun


def film(*images: np.ndarray) -> list[np.ndarray]:
    return [numbered(image, index) for index, image in enumerate(images)]


def in_turn(*operations: Operation) -> Operation:
    """Do several operations; returns what the last one does."""
    return lambda stream: [operation(stream) for operation in operations][-1]


def flush(stream: Stream) -> list:
    return stream.flush()


def prompt(index: int, class_name: str = '', object_id: int | None = None, **how) -> Operation:
    return lambda stream: stream.prompt(index, Prompt(**how), class_name, object_id)


def late(index: int, *found: Found) -> Operation:
    return lambda stream: stream.add_detections(index, detections(found))


def load(*names: str, replace: bool = True) -> Operation:
    return lambda stream: stream.load_bank(BANKS[names], replace)


BANKS = {names: make_bank(*names) for names in [('red',), ('green',), ('red', 'green')]}
HALF = np.zeros(SIZE, bool)
HALF[16:24, 6:22] = True
POINT = {'points': [[14.0, 20.0]], 'labels': [1]}

TWO = {0: [(0, RED), (1, GREEN)]}
# On frame 3 red is found as a whole and its quarter once more; or its quarter alone.
TWICE = {0: [(0, RED), (1, GREEN)], 3: [(0, RED), (0, QUARTER)]}
AGAIN = {0: [(0, RED), (1, GREEN)], 3: [(0, QUARTER)]}
ONLINE, WINDOW = {'mode': 'online'}, {'mode': 'window'}
BY_CLASS = {'association': 'class'}
STOPS = {'early_stop_iou': 0.9, 'early_stop_frames': 1, 'confirm_iou': 0.95}


def both_modes(name: str, case: Case) -> dict[str, Case]:
    return {
        f'{name} [{mode}]': dataclasses.replace(case, options={**case.options, 'mode': mode})
        for mode in ('window', 'online')
    }


def cases() -> dict[str, Case]:
    """Return the cases by name."""
    seven, seen = film(*[BOTH] * 7), film(*[BOTH] * 6)
    shown = {'frames': seven, 'script': TWO}
    bare = {'frames': seven}
    banked = {'frames': seven, 'prepare': in_turn(load('red'), add(7), add(8), close)}
    return {
        **both_modes('add the first frame', Case(add(0), script=TWO)),
        **both_modes('add without a detector', Case(add(7), seven, None, load('red'))),
        **both_modes('add', Case(add(7), **shown)),
        'add and encode a batch': Case(
            add(7), seven, TWO, options={**WINDOW, 'encode_batch': 2}
        ),
        'add: new and known objects': Case(
            add(3), seven[:3], {**TWO, 3: [(0, RED), (0, QUARTER)]}, options=ONLINE
        ),
        'add: a lost object again': Case(add(3), seven[:3], AGAIN, options={**ONLINE, **STOPS}),
        'add: by class': Case(add(3), seven[:3], TWICE, options={**ONLINE, **BY_CLASS}),
        'add: a bank object is sure': Case(
            add(9), seven, None, in_turn(load('red'), add(7), add(8), close), options=ONLINE
        ),
        **both_modes('step', Case(close, seen[:5], TWO, add(5))),
        **both_modes('step: merged', Case(close, seen[:5], TWICE, add(5))),
        **both_modes('step: found again', Case(close, seen[:5], AGAIN, add(5))),
        **both_modes('step: by class', Case(close, seen[:5], TWICE, add(5), options=BY_CLASS)),
        **both_modes('step: stops early', Case(close, seen[:5], TWICE, add(5), options=STOPS)),
        **both_modes('step: a bank', Case(close, seen[:5], None, in_turn(load('red'), add(5)))),
        **both_modes('step: a late prompt', Case(
            close, seen[:5], None, in_turn(prompt(3, 'ball', box=RED), add(5)))),
        **both_modes('step amid a window', Case(
            close, seen[:5], TWICE, add(5), between=in_turn(three_parts, add(6)))),
        **both_modes('flush', Case(flush, **shown)),
        **both_modes('flush: late prompts alone', Case(
            flush, seen, None, prompt(4, 'ball', box=RED))),
        **both_modes('prompt: a box', Case(prompt(4, 'red', box=RED), **bare)),
        **both_modes('prompt: points', Case(prompt(6, 'red', **POINT), **bare)),
        **both_modes('prompt: a mask', Case(prompt(4, 'red', mask=HALF), **bare)),
        **both_modes('prompt: a known object', Case(
            prompt(4, object_id=1, box=GREEN), **shown)),
        **both_modes('prompt: a correction', Case(prompt(4, object_id=1, **POINT), **shown)),
        **both_modes('prompt: the same thing', Case(prompt(4, 'red', box=RED), **shown)),
        **both_modes('prompt: by class', Case(
            prompt(4, 'red', box=RED), **shown, options=BY_CLASS)),
        **both_modes('prompt amid a window', Case(
            prompt(4, 'ball', box=RED), seen[:5], TWO, add(5), between=three_parts,
            after=close)),
        'prompt: not encoded yet': Case(
            prompt(6, 'ball', box=RED), **bare, options={**WINDOW, 'encode_batch': 3}
        ),
        'detections: waiting': Case(
            late(6, (0, RED)), seven, None, late(6, (1, GREEN)), options=WINDOW
        ),
        'detections: not encoded yet': Case(
            late(6, (0, RED)), **bare, options={**WINDOW, 'encode_batch': 3}
        ),
        **both_modes('detections: new', Case(late(4, (0, RED), (1, GREEN)), **bare)),
        **both_modes('detections: matched', Case(
            late(7, (0, RED), (0, QUARTER)), seven, None,
            in_turn(late(3, (0, RED)), prompt(6, 'ball', box=GREEN), add(7), add(8), close))),
        'detections: a lost object again': Case(
            late(5, (0, QUARTER)), seven, None, late(4, (0, RED)), options=ONLINE
        ),
        **both_modes('remove', Case(lambda s: s.remove_object(1), **shown)),
        **both_modes('remove: of a bank', Case(lambda s: s.remove_object(1), **banked)),
        **both_modes('rename', Case(lambda s: s.rename_object(1, 'ball'), **shown)),
        **both_modes('rename: of a bank', Case(lambda s: s.rename_object(1, 'ball'), **banked)),
        **both_modes('load a bank', Case(load('red', 'green'), **banked)),
        **both_modes('load a bank beside another', Case(load('green', replace=False), **banked)),
        **both_modes('load a bank before all', Case(load('red'))),
        **both_modes('unload the bank', Case(lambda s: s.unload_bank(), **banked)),
        **both_modes('export', Case(lambda s: s.export_bank(1), **banked)),
        **both_modes('export what is new', Case(lambda s: s.export_bank(2, True), **shown)),
        **both_modes('reset', Case(lambda s: s.reset(), **banked)),
    }  # fmt: skip


CASES = cases()
STAGES = all_stages()


class Stand:
    """Streams of one case that stand at the operation, as often as needed."""

    def __init__(self, case: Case):
        self.case = case
        engine = case.engine()
        stream = engine.open_stream('front')
        for index, image in enumerate(case.frames):
            stream.push(image, 1000 * index, tag=index)
        case.prepare(stream)
        self.state: StreamState = stream._state
        self.classes = engine.classes
        self.before = fingerprint(self.state)

    def stream(self) -> Stream:
        """Return a new stream that holds what the first one held."""
        engine = self.case.engine()
        engine.classes.take_over(self.classes)
        stream = engine.open_stream('front')
        stream._holder.commit(self.state)
        self.case.between(stream)
        return stream

    def outcome(self, stream: Stream, stages: Sequence[Stage] = ()) -> Any:
        """Do the operation; returns all that came of it, comparable between streams."""
        with counted(stages) as self.calls:
            result = self.case.operation(stream)
        result = result, self.case.after(stream)
        return fingerprint((result, stream._state, stream.class_names, stream.backlog), {})


def essence(state: StreamState) -> Any:
    return fingerprint(without_what_is_computed_once(state))


def calls_of(count: int) -> list[int]:
    """Return which calls of a stage fail: the first, the second, one amid them, the last."""
    return sorted({1, min(2, count), (count + 1) // 2, count})


def check(stand: Stand, stage: Stage, call: int, expected: Any) -> None:
    """Let one stage fail, look for traces, and try again."""
    stream = stand.stream()
    holder = WatchedHolder.watch(stream)
    runner = stream._runner
    classes, window, steps = stream.class_names, runner.window, runner._steps
    with failing(stage, call):
        try:
            stand.case.operation(stream)
        except DetectorError as error:  # a detector's failure is told, the operation is done
            assert 'the detector failed' in str(error)
            return
        except BrokenStage:
            pass
        else:
            raise AssertionError('the failure was swallowed')
    assert all(essence(state) == essence(stand.state) for state in holder.commits)
    assert fingerprint(stream._state) == holder.fingerprint, 'changed without a commit'
    assert stream.class_names == classes, 'the class table was changed'
    if window and stand.case.operation is not close:
        assert (runner.window, runner._steps) == (window, steps), 'a pass under way was dropped'
    assert not runner.window or runner._steps is not None, 'a window is begun without its steps'
    assert stand.outcome(stream) == expected, 'another outcome than without the failure'
    assert fingerprint(stand.state) == stand.before, 'changed in place'


@pytest.mark.parametrize('name', CASES)
def test_a_stage_that_fails_leaves_no_trace(name: str) -> None:
    stand = Stand(CASES[name])
    expected = stand.outcome(stand.stream())
    assert stand.outcome(stand.stream(), STAGES) == expected, 'the operation is not deterministic'
    wrong = []
    for stage, count in stand.calls.items():
        for call in calls_of(count):
            try:
                check(stand, stage, call, expected)
            except Exception as error:
                what = f'{type(error).__name__}: {error}'.splitlines()[0]
                wrong.append(f'call {call} of {count} of {stage}: {what}')
    assert not wrong, '\n'.join(wrong)
