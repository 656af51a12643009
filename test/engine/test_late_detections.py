# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Detections of another node, in time, late or wrong; and prompts that no other frame follows."""

from collections.abc import Mapping, Sequence

import fakes
import numpy as np
import pytest
import torch
from fakes import COLOURS, ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask
from stream_cases import EMPTY, GOOD, MODES, RED, SIZE, USUAL, film, nothing_was_lost, red

from detsam2_ros.engine import Detections, EngineConfig, LateDetections, Prompt, load_sam2
from detsam2_ros.engine.tracking.frames import Frame
from detsam2_ros.engine.tracking.objects import ConditioningFrame, TrackedObject
from detsam2_ros.engine.tracking.toolbox import Toolbox
from detsam2_ros.engine.tracking.window_pass import WindowPass
from detsam2_ros.results.errors import EngineError, PromptError
from detsam2_ros.scene.scene import render

Script = Mapping[int, Sequence[fakes.Found]]


def elsewhere(script: Script, images: Sequence[np.ndarray], late: int, **config: object) -> Run:
    """Run a stream whose detections come so many frames after theirs."""
    model = config.pop('model', None)
    run = Run(None, model, **config)
    for index, image in enumerate(images):
        run.push(image)
        if index - late in script:
            found = fakes.detections(script[index - late])
            run.stream.add_detections(run.stream.find_frame(1000 * (index - late)), found)
    run.flush()
    return run


def same(a: Run, b: Run, revision: int | None = None) -> None:
    """Check that two runs published the same masks, in the end or at a revision."""
    first, second = (
        (run.latest() if revision is None else run.first()) for run in (a, b)
    )
    assert first.keys() == second.keys()
    for index, result in first.items():
        assert np.array_equal(result.labels, second[index].labels), index
        shown = [[(o.id, o.conditioned) for o in r.objects] for r in (result, second[index])]
        assert shown[0] == shown[1]


def boxes(frames, dropped: Sequence[int] = ()) -> list[fakes.Found]:
    """What a good detector finds of some balls of the demo scene."""
    return [
        (0, tuple(float(v) for v in frames.boxes[i])) for i in range(3)
        if frames.visible[i] and i not in dropped
    ]


def test_in_time_it_is_what_a_detector_within_gives_mode_window():
    frames = render(seed=5, length=20)
    script = {i: boxes(frames[i], [1] if i == 4 else []) for i in range(0, 20, 4)}
    within = Run(ScriptedDetector(script, 4), load_sam2('demo'), **USUAL)
    within.push(*[frame.image for frame in frames])
    # Each window's one detection frame is its first: its boxes are there before it closes.
    run = elsewhere(script, [f.image for f in frames], 0, model=load_sam2('demo'), **USUAL)
    assert run.ids(19)
    same(run, within, revision=0)
    same(run, within)
    assert run.engine.stats().detections == within.engine.stats().detections


def test_just_after_its_frame_it_is_what_a_detector_within_gives_mode_online():
    frames = render(seed=5, length=20)
    script = {i: boxes(frames[i]) for i in range(0, 20, 4)}
    online = {**USUAL, 'mode': 'online'}
    within = Run(ScriptedDetector(script, 4), load_sam2('demo'), **online)
    within.push(*[frame.image for frame in frames])
    within.flush()
    run = elsewhere(script, [f.image for f in frames], 0, model=load_sam2('demo'), **online)
    # Frames 0, 4, ... were published without; those after them were tracked from the prompts.
    for index in range(20):
        if index % 4:
            a, b = run.first()[index], within.first()[index]
            assert np.array_equal(a.labels, b.labels), index
    assert [o.id for o in run.latest()[19].objects] == [o.id for o in within.latest()[19].objects]
    both = [(run.latest()[i].labels, within.latest()[i].labels) for i in range(20)]
    assert np.mean([np.mean((a > 0) == (b > 0)) for a, b in both]) > 0.99


@MODES
@pytest.mark.parametrize('late', [1, 3, 5])
def test_late_ones_correct_what_is_in_reach(mode, late):
    script = {i: [(0, disc_box(12 + i, 24))] for i in range(0, 24, 4)}
    run = elsewhere(script, film(24), late, mode=mode, **USUAL)
    assert run.engine.stats().objects == 1
    for index in range(24):
        assert iou(mask(run.latest()[index], 1), colour_mask(run.images[index], 'red')) > 0.5
    assert run.engine.stats().conditioned_frames == len([i for i in script if i + late < 24])
    nothing_was_lost(run, 24)


@MODES
def test_a_late_new_object_that_was_lost_keeps_its_id(mode):
    frames = render(seed=5, length=12)
    script = {0: boxes(frames[0]), 4: boxes(frames[4]), 8: boxes(frames[8])}
    run = elsewhere(script, [f.image for f in frames], 2, model=load_sam2('demo'), mode=mode,
                    **USUAL)
    assert run.engine.stats().objects == 3


@MODES
def test_what_becomes_of_each_is_told(mode):
    run = Run(None, mode=mode, max_objects=2, **USUAL)
    run.push(*[red(14, ('green', 50, 10))] * 8)
    found = fakes.detections([
        (0, RED), (0, RED, 0.8), (1, disc_box(50, 10)), (2, (30, 30, 40, 40)),
        (0, (np.nan, 0, 1, 1)), (1, (70, 0, 80, 9)), (1, (0, 30, 9, 40), 0.01),
    ])  # fmt: skip
    answer = run.stream.add_detections(7, found)
    assert answer == LateDetections(matched=0, started=2, ignored=5)
    assert run.engine.stats().rejected_detections == 2
    run.push(*[red(14, ('green', 50, 10))] * 4)
    assert run.ids(11) == [1, 2]
    assert run.stream.add_detections(11, found) == LateDetections(matched=2, ignored=5)
    assert run.stream.add_detections(11, found) == LateDetections(ignored=7)  # once is enough


def test_in_an_open_window_they_wait():
    run = Run(None, **USUAL)
    run.push(*film(6))
    found = fakes.detections([(0, disc_box(17, 24))])
    assert run.stream.add_detections(5, found) == LateDetections(waiting=True)
    assert run.stream.add_detections(5, found) == LateDetections(waiting=True)
    run.push(*film(8)[6:])
    assert run.ids(7) == [1] and run.stream.conditioned_frames(1) == (5,)


def test_a_window_that_is_being_closed_is_not_disturbed():
    """Detections of frames it reads are kept for the next pass; ids and prompts are not lost."""
    run = Run(None, mode='online', **USUAL)
    for image in film(5):
        run.take(image, parts=1)
    assert run.stream.backlog.begun
    answer = run.stream.add_detections(2, fakes.detections([(0, disc_box(14, 24))]))
    assert answer.started == 1 and run.stream.backlog.begun
    run.work()
    assert run.stream.conditioned_frames(1) == (2,)
    for image in film(8)[5:]:
        run.take(image, parts=1)
    assert run.stream.backlog.begun
    # Of an object that the pass under way knows.
    answer = run.stream.add_detections(6, fakes.detections([(0, disc_box(18, 24))]))
    answer = run.stream.add_detections(5, fakes.detections([(0, disc_box(17, 24))]))
    assert answer.matched == 1 and run.stream.backlog.begun
    run.work()
    assert run.stream.conditioned_frames(1) == (2, 5, 6)
    run.work()
    for index in range(8):
        assert iou(mask(run.latest()[index], 1), colour_mask(run.images[index], 'red')) > 0.5


@MODES
def test_those_that_come_while_a_window_is_closed_leave_no_room_for_its_own(mode):
    run = Run(None, mode=mode, max_objects=3, **USUAL)
    places = dict(zip(COLOURS, [(10, 10), (50, 10), (10, 38), (50, 38)], strict=False))
    image = fakes.scene(*[(name, *at, 6) for name, at in places.items()], size=SIZE)
    run.push(*[image] * 4)
    for _ in range(4):
        run.take(image, parts=0)
    each = [fakes.detections([(i, disc_box(*at, 6))]) for i, at in enumerate(places.values())]
    for found in each[:2]:  # in the window that is being closed next
        run.stream.add_detections(5, found)
    run.stream.step()
    assert run.stream.backlog.begun
    for found in each[2:]:
        run.stream.add_detections(2, found)
    run.work()
    assert len(run.stream.objects) == 3
    assert run.engine.stats().ignored_detections == 1


def test_who_is_back_keeps_the_place_that_a_late_one_takes_meanwhile():
    """Of a window's objects those go first that nobody has heard of."""
    config = {**USUAL, 'detect_interval': 0, 'max_propagation': 16, 'max_lost_frames': 8,
              'max_dormant_objects': 4}
    run = Run(None, mode='window', **config, max_objects=2, recall_score=1.0)
    places = {'red': RED, 'green': disc_box(48, 24), 'blue': disc_box(30, 40)}
    found = {
        name: fakes.detections([(i, box)]) for i, (name, box) in enumerate(places.items())
    }
    both = fakes.detections([(0, places['red']), (1, places['green'])])
    image = fakes.scene(('red', 14, 24), ('green', 48, 24), ('blue', 30, 40), size=SIZE)
    run.push(*[GOOD] * 3)
    run.stream.add_detections(1, found['red'])
    run.push(*[GOOD] * 5, *[EMPTY] * 24)
    run.flush()
    assert [obj.id for obj in run.stream._state.dormant] == [1]
    run.push(image)
    run.stream.add_detections(32, found['red'])
    run.push(*[image] * 3)
    assert run.ids(32) == [2]  # nobody is that sure
    run.engine.reconfigure(recall_score=0.8)
    run.take(image, 0)
    run.stream.add_detections(36, both)
    for _ in range(3):
        run.take(image, 0)
    for _ in range(2):
        run.results += run.stream.step()
    assert run.stream.add_detections(33, found['blue']).started == 1
    run.work()
    run.flush()
    assert run.ids(35) == [1, 3] and len(run.stream.objects) == 2


@MODES
def test_a_flood_costs_nothing_that_stays(mode):
    run = Run(None, mode=mode, **USUAL)
    for index, image in enumerate(film(24)):
        run.push(image)
        for _ in range(20):
            run.stream.add_detections(index, fakes.detections([(0, disc_box(12 + index, 24))] * 3))
    run.flush()
    assert run.engine.stats().objects == 1
    assert len(run.stream.conditioned_frames(1)) <= run.config.max_conditioned_memories
    nothing_was_lost(run, 24)


def test_what_cannot_be():
    within = Run(ScriptedDetector({}), **USUAL)
    within.push(*film(2))
    with pytest.raises(EngineError, match="'front' has a detector of its own"):
        within.stream.add_detections(1, Detections.empty())
    run = Run(None, **USUAL)
    with pytest.raises(PromptError, match='has no frame yet'):
        run.stream.add_detections(0, Detections.empty())
    run.push(*film(13))
    with pytest.raises(PromptError, match='does not hold frame 2;.* from 8 to 12'):
        run.stream.add_detections(2, Detections.empty())
    assert run.stream.add_detections(12, Detections.empty()) == LateDetections(waiting=True)


def test_classes_get_ids_by_name():
    run = Run(None, **USUAL)
    ids = [run.stream.class_id(name) for name in ('cup', 'ball', 'cup')]
    assert ids == [0, 1, 0] and run.stream.class_names == {0: 'cup', 1: 'ball'}
    other = run.engine.open_stream('rear')
    assert other.class_id('ball') == 1  # one table for all cameras
    within = Run(ScriptedDetector({}, classes=2), **USUAL)
    assert within.stream.class_id('class 1') == 1 and within.stream.class_id('cup') == 2
    assert within.engine.detector.class_names == {0: 'class 0', 1: 'class 1'}


# ---- prompts on frames that no other frame follows: a camera that paused, a bag that was stopped
def finish(run: Run, flush: bool) -> list:
    """Let the stream do what is left without another frame."""
    if flush:
        return run.flush()
    out = []
    while run.stream.backlog.corrections or run.stream.backlog.due:
        out += run.stream.step(early=True)
    run.results += out
    return out


@MODES
@pytest.mark.parametrize('flush', [True, False])
def test_a_prompt_after_the_last_frame_corrects_what_is_in_reach(mode, flush):
    run = Run(None, mode=mode, **USUAL)
    run.push(*film(12))
    assert not run.stream.backlog.frames and not run.stream.backlog.corrections
    assert finish(run, flush) == []
    run.stream.prompt(9, Prompt(box=disc_box(21, 24)), 'ball')
    assert run.stream.backlog.corrections
    horizon = run.stream.horizon
    out = finish(run, flush)
    assert [(r.index, r.revision, r.final) for r in out] == [(i, 1, False) for i in range(8, 12)]
    assert run.stream.horizon == horizon == 8
    for result in out:
        assert iou(mask(result, 1), colour_mask(run.images[result.index], 'red')) > 0.5
    assert not run.stream.backlog.corrections and finish(run, flush) == []
    run.push(*film(16)[12:])  # and all goes on
    assert run.ids(15) == [1]


@MODES
def test_what_was_removed_after_the_last_frame_vanishes(mode):
    run = Run(ColourDetector(['red']), mode=mode, **USUAL)
    run.push(*film(8))
    run.stream.remove_object(1)
    assert run.stream.backlog.corrections
    out = run.flush()
    assert out and not any(result.labels.any() for result in out)
    assert not run.stream.backlog.corrections and run.flush() == []


@MODES
def test_detections_of_a_window_are_not_used_again(mode):
    """One that started nothing when its window closed starts nothing now."""
    script = {4: [(0, disc_box(16, 24)), (0, disc_box(50, 10), 0.3)]}
    run = Run(ScriptedDetector(script, 4), mode=mode, **{**USUAL, 'new_object_score': 0.5})
    run.push(*[red(16, ('green', 50, 10))] * 8)
    run.stream.prompt(6, Prompt(box=disc_box(16, 24)), object_id=1)
    before = run.engine.stats()
    finish(run, flush=True)
    after = run.engine.stats()
    assert (after.detections, after.objects) == (before.detections, before.objects) == (2, 1)
    assert after.frames == after.encodings == 8


def test_options_that_leave_work_out_do_not_keep_a_late_prompt_from_the_past():
    """A pass ends early before all prompts that no pass has read, and the prompt before these."""
    config = EngineConfig(window_size=4, max_propagation=8, mode='window')
    seen = torch.ones(2, 2, dtype=torch.bool)
    frames = {i: Frame(i, 1000 * i, None, published_masks={1: seen}) for i in range(8)}
    tools = Toolbox('front', None, None, config, None, None, None)
    window = [frames[i] for i in range(4, 8)]
    run = WindowPass(tools=tools, frames=frames, window=window, objects=[], oldest=0)
    obj = TrackedObject(1, 0, 'ball', born=2, last_seen=7)
    obj.prompts = {
        at: ConditioningFrame(None, None, 1000 * at, at, read=at == 2) for at in (2, 3, 6)
    }
    assert sorted(run._published_masks(obj, 7)) == [0, 1]
    obj.read(7)
    assert sorted(run._published_masks(obj, 7)) == list(range(8))
