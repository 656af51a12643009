# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""An operation that fails, at whatever stage, leaves no trace, and succeeds when tried again."""

import ast
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import failing as traces
import numpy as np
import pytest
from failing import Stage, StageError, WatchedHolder, counted, failing, fingerprint
from fakes import BrokenDetector
from stream_cases import RED
from trace_cases import ONLINE, TWO, Case, add, cases, close, film, in_turn, late, load, prompt

from detsam2_ros.engine import Stream
from detsam2_ros.engine.tracking.state import StateHolder, StreamState
from detsam2_ros.results.errors import DetectorError, EngineError

CASES = cases()
STAGES = traces.all_stages()


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
    """Return the fingerprint of what an operation that fails may not commit."""
    return fingerprint(traces.without_what_is_computed_once(state))


def calls_of(count: int) -> list[int]:
    """Return which calls of a stage fail: the first, one amid them, the last."""
    return sorted({1, (count + 1) // 2, count})


def check(stand: Stand, stage: Stage, call: int, expected: Any) -> None:
    """Let one stage fail, look for traces, and try again."""
    stream = stand.stream()
    holder = WatchedHolder.watch(stream)
    runner = stream._runner
    classes, window, steps = stream.class_names, runner.window, runner._steps
    before = essence(stream._state)
    with failing(stage, call):
        try:
            stand.case.operation(stream)
        except DetectorError as error:  # reported, and the operation is done
            in_detector = stage.name in ('_checked', '_floats', '_class_ids')
            assert in_detector and 'the detector failed' in str(error)
            return
        except StageError:
            pass
        else:
            raise AssertionError('the failure was swallowed')
    assert all(essence(state) == before for state in holder.commits)
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
    calls = {s: count for s, count in stand.calls.items() if stand.case.stages in str(s)}
    assert calls
    for stage, count in calls.items():
        for call in calls_of(count):
            try:
                check(stand, stage, call, expected)
            except Exception as error:
                what = f'{type(error).__name__}: {error}'.splitlines()[0]
                wrong.append(f'call {call} of {count} of {stage}: {what}')
    assert not wrong, '\n'.join(wrong)


def test_all_that_matters_is_made_to_fail() -> None:
    """A stage that no operation calls would be tested by nobody."""
    called: set[str] = set()
    for case in CASES.values():
        stand = Stand(case)
        stand.outcome(stand.stream(), STAGES)
        called |= {str(stage) for stage in stand.calls if case.stages in str(stage)}
    expected = {
        'engine.bank.bank.MemoryBank.check', 'engine.detector.classes.ClassTable.find',
        'engine.sam2.memory.Memory.to', 'engine.sam2.memory_attention.KeyCache.take',
        'engine.sam2.memory_attention.SharedAttention.fuse', 'engine.sam2.prompts.decode_masks',
        'engine.sam2.prompts.decode_points', 'engine.sam2.resize.MaskResizer.boxes',
        'engine.sam2.resize.MaskResizer.labels', 'engine.sam2.resize.MaskResizer.masks',
        'engine.sam2.steps.encode_memory', 'engine.sam2.steps.track', 'engine.stream.check_image',
        'engine.stream.encode', 'engine.stream.revise',
        'engine.tracking.bank_objects.bank_objects', 'engine.tracking.conditioning.assign',
        'engine.tracking.conditioning.assign_by_class',
        'engine.tracking.conditioning.decode_boxes', 'engine.tracking.conditioning.encode_memory',
        'engine.tracking.conditioning.track_objects', 'engine.tracking.edits.decode_prompt',
        'engine.tracking.edits.encode_memory', 'engine.tracking.edits.reidentify',
        'engine.tracking.edits.renamed', 'engine.tracking.edits.without',
        'engine.tracking.forward_step.encode_memories', 'engine.tracking.forward_step.reidentify',
        'engine.tracking.forward_step.track_objects', 'engine.tracking.frames.Frame.with_result',
        'engine.tracking.ids.IdAllocator.take', 'engine.tracking.ids.IdAssigner.note',
        'engine.tracking.intake._checked', 'engine.tracking.intake.encode_image',
        'engine.tracking.objects.BankView.joined', 'engine.tracking.objects.TrackedObject.absorb',
        'engine.tracking.objects.TrackedObject.forget', 'engine.tracking.objects.choose',
        'engine.tracking.pass_runner.detect', 'engine.tracking.pass_runner.encode',
        'engine.tracking.pass_runner.look_for_bank', 'engine.tracking.pass_runner.revise',
        'engine.tracking.reidentification.same_before_birth',
        'engine.tracking.reverse_pass._found_again',
        'engine.tracking.reverse_pass.encode_memories',
        'engine.tracking.reverse_pass.select_context',
        'engine.tracking.reverse_pass.track_objects', 'engine.tracking.state.StateHolder.commit',
        'engine.tracking.window_pass.WindowPass._merge',
        'engine.tracking.window_pass.WindowPass._rejoin',
        'engine.tracking.window_pass.same_before_birth',
        'engine.tracking.window_pass.shared_frames', 'engine.tracking.window_pass.shared_masks',
        'results.masks.Mask.of_crop',
    }  # fmt: skip
    assert expected <= called, sorted(expected - called)


# ---- what is refused
SEVEN = {'frames': film(7)}
FULL = {**ONLINE, 'max_objects': 2}
MANY = in_turn(*[add(index) for index in range(7, 13)])

REFUSED = {
    'an image': (Case(add(7, np.zeros((8, 8, 3), np.uint8)), **SEVEN), 'the image is 8x8'),
    'a stamp': (Case(lambda s: s.add(film(1)[0], 0.5), **SEVEN), 'must be int nanoseconds'),
    'more frames': (Case(add(13), film(4), TWO, in_turn(
        *[add(index) for index in range(4, 12)])), '9 frames wait'),
    'a prompt on nothing': (Case(prompt(6, 'cup', points=[[32.0, 40.0]], labels=[1]), **SEVEN),
                            'nothing is found'),
    'a prompt elsewhere': (Case(prompt(6, 'cup', box=(90, 0, 99, 9)), **SEVEN), 'no pixel inside'),
    'a prompt without a class': (Case(prompt(6, box=RED), **SEVEN), 'needs a class name'),
    'a prompt for nobody': (Case(prompt(6, object_id=9, box=RED), **SEVEN), 'has no object 9'),
    'a prompt of another class': (
        Case(prompt(5, 'cup', 1, box=RED), **SEVEN, script=TWO), "object 1 is a 'red'"),
    'one prompt too many': (
        Case(prompt(6, 'cup', box=RED), **SEVEN, script=TWO, options=FULL), 'has 2 objects'),
    'a prompt on a past frame': (Case(prompt(0, 'cup', box=RED), **SEVEN), 'hold frame 0'),
    'detections of two': (Case(late(6, (0, RED)), **SEVEN, script=TWO), 'of its own'),
    'no name': (Case(lambda s: s.rename_object(1, ''), **SEVEN, script=TWO), 'a class name'),
    'a name of nobody': (Case(lambda s: s.rename_object(9, 'cup'), **SEVEN), 'has no object 9'),
    'to remove nobody': (Case(lambda s: s.remove_object(9), **SEVEN), 'has no object 9'),
    'the bank of another model': (Case(load('other'), **SEVEN, prepare=load('red')), 'colour-1'),
    'a bank too large': (Case(load('red', 'green', replace=False), **SEVEN, prepare=load('red'),
                              options={'max_objects': 1}), 'holds 2 objects'),
    'one key for two classes': (Case(load('as cup', replace=False), **SEVEN,
                                     prepare=load('red')), 'red-1'),
    'no entries': (Case(lambda s: s.export_bank(0), **SEVEN, prepare=load('red')), '>= 1'),
}  # fmt: skip


@pytest.mark.parametrize('mode', ['window', 'online'])
@pytest.mark.parametrize('name', REFUSED)
def test_what_is_refused_leaves_no_trace(name: str, mode: str) -> None:
    case, why = REFUSED[name]
    stand = Stand(dataclasses.replace(case, options={'mode': mode, **case.options}))
    stream = stand.stream()
    classes, runner = stream.class_names, stream._runner
    window, steps = runner.window, runner._steps
    with pytest.raises((EngineError, ValueError), match=why):
        stand.case.operation(stream)
    assert essence(stream._state) == essence(stand.state)
    assert fingerprint(stand.state) == stand.before
    assert (stream.class_names, runner.window, runner._steps) == (classes, window, steps)


# ---- detectors
@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_detector_that_fails_is_one_that_found_nothing(mode: str) -> None:
    operation = add(3) if mode == 'online' else close
    seen = film(3) if mode == 'online' else film(5)
    prepare = add(5) if mode == 'window' else (lambda stream: None)
    stand = Stand(Case(operation, seen, TWO, prepare, options={'mode': mode}))
    expected = stand.case.operation(other := stand.stream())
    stream = stand.stream()
    stream._detector = BrokenDetector(OSError('no camera'))
    with pytest.raises(DetectorError, match='failed on frames 3 .*no camera') as caught:
        stand.case.operation(stream)
    assert fingerprint(caught.value.results, {}) == fingerprint(expected, {})
    states = stream._state, other._state
    assert [state.frames[3].searched for state in states] == [False, True]
    one, two = (
        state.with_frames([dataclasses.replace(state.frames[3], searched=True)])
        for state in states)
    assert fingerprint(one, {}) == fingerprint(two, {})
    stream.flush()
    assert stream._detector.calls == 1  # it is not asked again
    assert fingerprint(stand.state) == stand.before


# ---- by construction
CONTENTS = {field.name for field in dataclasses.fields(StreamState)}
CHANGES = {'add', 'append', 'clear', 'difference_update', 'discard', 'extend', 'insert', 'pop',
           'popitem', 'remove', 'setdefault', 'sort', 'update'}  # fmt: skip
SETTERS = {'setattr', 'delattr', '__setattr__', '__delattr__'}


def of_state(node: ast.expr) -> bool:
    """Tell whether an expression reads a stream's state, or something that it holds."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        if isinstance(node, ast.Call):
            node = node.func
            continue
        if isinstance(node, ast.Attribute) and node.attr.strip('_') == 'state':
            return True
        node = node.value
    return isinstance(node, ast.Name) and node.id == 'state'


def changes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what changes a stream's state in place, or replaces it."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            replaced = isinstance(node, ast.Attribute) and node.attr == '_state'
            if replaced or of_state(node.value):
                yield node
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition('.')[2]
            if name in SETTERS and node.args and of_state(node.args[0]):
                yield node
            elif name in CHANGES and isinstance(node.func, ast.Attribute):
                held = node.func.value
                if isinstance(held, ast.Attribute) and held.attr in CONTENTS and of_state(held):
                    yield node


@pytest.mark.parametrize('code', [
    'state.window = ()', 'self._state.horizon += 1', 'self._holder._state = state',
    'del state.frames[3]', 'self.state.frames[3] = frame', 'state.objects[0].id = 3',
    'stream._holder.state.ids._last = 0', 'self._state.frames.pop(3)', 'setattr(state, "ids", 3)',
    'object.__setattr__(self._state, "ids", 3)', 'state.frames.update(frames)',
])  # fmt: skip
def test_changes_are_seen(code: str) -> None:
    assert list(changes(ast.parse(code)))


def test_the_state_is_frozen_and_commit_alone_replaces_it(root: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        StreamState().horizon = 1  # type: ignore[misc]
    found = []
    for path in sorted((root / 'detsam2_ros/engine').rglob('*.py')):
        tree = ast.parse(path.read_text())
        for node in changes(tree):
            found.append((path.name, ast.unparse(node), node.lineno))
    lines = (root / 'detsam2_ros/engine/tracking/state.py').read_text().splitlines()
    assert [(name, code) for name, code, _ in found] == [('state.py', 'self._state')] * 2, found
    assert [lines[line - 1].strip() for *_, line in found] == ['self._state = state'] * 2
    methods = [name for name, own in vars(StateHolder).items() if callable(own)]
    assert methods == ['__init__', 'close', 'commit']  # the first and the last have one each
