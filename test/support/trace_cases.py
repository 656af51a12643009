# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Operations on streams that have seen some frames, one of each kind, to be tried and failed."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fakes import Found, colour_sam2, detections, disc_box, tiny_sam2
from stream_cases import RED, SIZE, make_bank, red

from detsam2_ros.engine import Detections, Engine, EngineConfig, Prompt, Stream
from detsam2_ros.engine.sam2.model import Sam2Model

K, M = 3, 6
MODEL, TINY = colour_sam2(), tiny_sam2()
GREEN = disc_box(48, 24)
QUARTER = (14.0, 24.0, 22.0, 32.0)  # of the red disc: too little overlap to match
BOTH = red(14, ('green', 48, 24))
NAMES = {0: 'red', 1: 'green'}

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
    model: Sam2Model = MODEL
    stages: str = ''  # fail those alone whose name has this part

    def engine(self) -> Engine:
        detector = None if self.script is None else StatelessDetector(self.script)
        options = {
            'window_size': K, 'detect_interval': K, 'max_propagation': M, 'confirm_detections': 0,
            'max_dormant_objects': 0, 'windows': 'plain', **self.options,
        }
        return Engine(self.model, detector, EngineConfig(**options))


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


def film(count: int) -> list[np.ndarray]:
    return [numbered(BOTH, index) for index in range(count)]


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
BANKS['other',] = make_bank('red', model=colour_sam2(seed=1))
BANKS['as cup',] = dataclasses.replace(BANKS['red',], entries=tuple(
    dataclasses.replace(entry, class_name='cup', stamp=entry.stamp + 1)
    for entry in BANKS['red',].entries
))  # fmt: skip
HALF = np.zeros(SIZE, bool)
HALF[16:24, 6:22] = True
POINT = {'points': [[14.0, 20.0]], 'labels': [1]}

TWO = {0: [(0, RED), (1, GREEN)]}
# On frame 3 red is found as a whole and its quarter once more; or its quarter alone.
TWICE = {0: [(0, RED), (1, GREEN)], 3: [(0, RED), (0, QUARTER)]}
AGAIN = {0: [(0, RED), (1, GREEN)], 3: [(0, QUARTER)]}
ONLINE, WINDOW = {'mode': 'online'}, {'mode': 'window'}
BY_CLASS = {'association': 'class'}
GHOSTS = {'confirm_detections': 2, 'withdraw_detections': 1}
# Red is seen up to frame 2 and away for longer than an object may be.
RETURNS = {'max_lost_frames': 2, 'max_dormant_objects': 2, 'recall_score': 0.8}
AWAY = {0: [(0, RED)], 9: [(0, RED)]}
STOPS = {'early_stop_iou': 0.9, 'early_stop_frames': 1, 'confirm_iou': 0.95}


def both_modes(name: str, case: Case) -> dict[str, Case]:
    return {
        f'{name} [{mode}]': dataclasses.replace(case, options={**case.options, 'mode': mode})
        for mode in ('window', 'online')
    }


def cases() -> dict[str, Case]:
    return {
        **_of_frames(), **_of_prompts(), **_of_detections(), **_of_objects_and_banks(),
        **_of_ghosts_and_returns(),
    }


def _of_frames() -> dict[str, Case]:
    seven, seen = film(7), film(5)
    shown = {'frames': seven, 'script': TWO}
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
        **both_modes('step', Case(close, seen, TWO, add(5))),
        **both_modes('step: merged', Case(close, seen, TWICE, add(5))),
        **both_modes('step: found again', Case(close, seen, AGAIN, add(5))),
        **both_modes('step: by class', Case(close, seen, TWICE, add(5), options=BY_CLASS)),
        **both_modes('step: stops early', Case(close, seen, TWICE, add(5), options=STOPS)),
        **both_modes('step: a bank', Case(close, seen, None, in_turn(load('red'), add(5)))),
        **both_modes('step: a late prompt', Case(
            close, seen, None, in_turn(prompt(3, 'ball', box=RED), add(5)))),
        **both_modes('step amid a window', Case(
            close, seen, TWICE, add(5), between=in_turn(three_parts, add(6)))),
        **both_modes('flush', Case(flush, **shown)),
        **both_modes('flush: late prompts alone', Case(
            flush, film(6), None, prompt(4, 'ball', box=RED))),
        # Memory attention of our own, which the model that goes by colour has not.
        'add: attention': Case(add(7), **shown, options=ONLINE, model=TINY, stages='attention'),
        **both_modes('step: attention', Case(
            close, seen, TWICE, add(5), model=TINY, stages='attention')),
    }  # fmt: skip


def _of_prompts() -> dict[str, Case]:
    seven, seen = film(7), film(5)
    shown, bare = {'frames': seven, 'script': TWO}, {'frames': seven}
    return {
        **both_modes('prompt: a box', Case(prompt(4, 'red', box=RED), **bare)),
        **both_modes('prompt: points', Case(prompt(6, 'red', **POINT), **bare)),
        **both_modes('prompt: a mask', Case(prompt(4, 'red', mask=HALF), **bare)),
        **both_modes('prompt: a known object', Case(
            prompt(4, object_id=1, box=GREEN), **shown)),
        **both_modes('prompt: a mask of a known object', Case(
            prompt(4, object_id=1, mask=HALF), **shown)),
        **both_modes('prompt: a correction', Case(prompt(4, object_id=1, **POINT), **shown)),
        **both_modes('prompt: the same thing', Case(prompt(4, 'red', box=RED), **shown)),
        **both_modes('prompt: by class', Case(
            prompt(4, 'red', box=RED), **shown, options=BY_CLASS)),
        **both_modes('prompt amid a window', Case(
            prompt(4, 'ball', box=RED), seen, TWO, add(5), between=three_parts,
            after=close)),
        'prompt: not encoded yet': Case(
            prompt(6, 'ball', box=RED), **bare, options={**WINDOW, 'encode_batch': 3}
        ),
    }  # fmt: skip


def _of_detections() -> dict[str, Case]:
    seven = film(7)
    bare = {'frames': seven}
    return {
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
    }  # fmt: skip


def _of_objects_and_banks() -> dict[str, Case]:
    shown = {'frames': film(7), 'script': TWO}
    banked = {'frames': film(7), 'prepare': in_turn(load('red'), add(7), add(8), close)}
    return {
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


def _of_ghosts_and_returns() -> dict[str, Case]:
    seen = film(5)
    once = {0: [(0, RED), (1, GREEN)], 3: [(0, RED)]}
    away = [*film(3), *(numbered(red(90), index) for index in range(3, 9))]
    gone = {'frames': away, 'options': RETURNS}
    return {
        **both_modes('step: withdrawn', Case(close, seen, once, add(5), options=GHOSTS)),
        **both_modes('step: repeated', Case(close, seen, {
            0: [(0, RED), (1, RED)], 3: [(0, RED)]}, add(5), options=GHOSTS)),
        **both_modes('step: retired', Case(
            close, away[:8], AWAY, add(8, away[8]), options=RETURNS)),
        'add: back again': Case(
            add(9), script=AWAY, prepare=close, **{**gone, 'options': {**RETURNS, **ONLINE}}),
        **both_modes('step: back again', Case(
            close, script=AWAY, prepare=in_turn(add(9), add(10), add(11)), **gone)),
        **both_modes('step: known late', Case(
            close, script={**AWAY, 12: AWAY[9]}, prepare=in_turn(
                *map(add, range(9, 13)), close, lambda s: s.reconfigure(
                    dataclasses.replace(s._config, recall_score=0.8)), add(13), add(14)),
            **{**gone, 'options': {**RETURNS, 'recall_score': 1.0}})),
        **both_modes('prompt: back again', Case(prompt(8, object_id=1, box=RED), away[:8], {
            0: [(0, RED)]}, add(8), options=RETURNS)),
        'detections: back again': Case(
            late(9, (0, RED)), away, None, add(9), options={**RETURNS, **ONLINE},
            between=lambda s: None),
        **both_modes('remove: dormant', Case(
            lambda s: s.remove_object(1), script={0: [(0, RED)]}, **gone)),
        **both_modes('rename: dormant', Case(
            lambda s: s.rename_object(1, 'ball'), script={0: [(0, RED)]}, **gone)),
        **both_modes('export: dormant', Case(
            lambda s: s.export_bank(1, dormant=True), script={0: [(0, RED)]}, **gone)),
    }  # fmt: skip
