# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that somebody points out, corrects, takes away and renames, in both modes."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask
from stream_cases import EMPTY, GOOD, MODES, RED, USUAL, film, nothing_was_lost, red

from detsam2_ros.engine import Prompt, PromptError, load_sam2
from detsam2_ros.scene.scene import SceneFrame, render

BALL = 1  # of the demo scene


def box_at(index: int) -> tuple[float, float, float, float]:
    return disc_box(12 + index, 24)


def right(run: Run, object_id: int, indices: range, colour: str = 'red') -> bool:
    """Whether the newest masks of an object are its pixels on some frames."""
    return all(
        iou(mask(run.latest()[i], object_id), colour_mask(run.images[i], colour)) > 0.5
        for i in indices
    )


@pytest.fixture(scope='module')
def balls():
    return render(seed=3, length=12)


def ball_prompt(frame: SceneFrame, kind: str) -> Prompt:
    """Point a ball out, as well as a box or a click can."""
    box = tuple(float(value) for value in frame.boxes[BALL - 1])
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    points = {'points': [[x, y], [box[0] - 12, box[1] - 12]], 'labels': [1, 0]}
    return {
        'box': Prompt(box=box),
        'points': Prompt(**points),
        'box_and_points': Prompt(box=box, **points),
        'mask': Prompt(mask=frame.labels == BALL),
    }[kind]


# ---- new objects
@MODES
def test_a_box_starts_an_object_at_once(mode):
    run = Run(None, mode=mode, **USUAL)
    run.push(*film(6))
    prompted = run.stream.prompt(run.stream.find_frame(), Prompt(box=box_at(5)), 'ball')
    assert (prompted.index, prompted.stamp) == (5, 5000)
    shown = prompted.object
    assert (shown.id, shown.class_id, shown.class_name) == (1, 0, 'ball')
    assert shown.visible and shown.conditioned and shown.score > 0.5
    assert iou(prompted.object.mask.pixels(), colour_mask(run.images[5], 'red')) > 0.5
    assert run.stream.class_names == {0: 'ball'}
    run.push(*film(12)[6:])
    run.flush()
    assert right(run, 1, range(12))
    nothing_was_lost(run, 12)
    assert run.engine.stats().prompts == 1


@MODES
@pytest.mark.parametrize('index', [1, 3, 4, 5, 6])
def test_the_next_pass_corrects_the_frames_around_the_prompt(mode, index):
    # Frames 0 to 3 are published, in mode online all of them, when the prompt comes.
    run = Run(None, mode=mode, **USUAL)
    run.push(*film(7))
    run.stream.prompt(run.stream.find_frame(1000 * index), Prompt(box=box_at(index)), 'ball')
    out = run.push(film(8)[7])
    changed = {result.index for result in out if result.revision or mode == 'window'}
    assert changed >= set(range(7))
    assert right(run, 1, range(8))


def test_frames_that_came_during_a_pass_are_corrected_by_the_one_after_it():
    run = Run(None, mode='online', **USUAL)
    for image in film(6):
        run.take(image, parts=1)  # the pass of frames 0 to 3 is under way
    assert run.stream.backlog.begun
    run.stream.prompt(run.stream.find_frame(2000), Prompt(box=box_at(2)), 'ball')
    run.work()
    assert right(run, 1, range(4))
    assert run.ids(4) == run.ids(5) == []
    for image in film(8)[6:]:
        run.take(image, parts=0)
    run.work()
    assert right(run, 1, range(8))


def test_in_mode_online_the_next_frame_shows_it():
    run = Run(None, mode='online', **USUAL)
    run.push(*film(2))
    run.stream.prompt(1, Prompt(box=box_at(1)), 'ball')
    run.push(film(3)[2])
    assert run.ids(2) == [1] and right(run, 1, range(2, 3))


@pytest.mark.parametrize('kind', ['box', 'points', 'box_and_points', 'mask'])
@MODES
def test_each_kind_of_prompt_finds_a_ball_and_is_remembered(mode, kind, balls):
    run = Run(None, load_sam2('demo'), mode=mode, **USUAL)
    run.push(*[frame.image for frame in balls[:3]])
    prompted = run.stream.prompt(2, ball_prompt(balls[2], kind), 'ball')
    assert iou(prompted.object.mask.pixels(), balls[2].labels == BALL) > 0.7
    run.push(*[frame.image for frame in balls[3:8]])
    (shown,) = run.latest()[2].objects
    assert shown.conditioned and run.stream.conditioned_frames(1) == (2,)
    for frame in balls[:8]:
        assert iou(mask(run.latest()[frame.index], 1), frame.labels == BALL) > 0.6


@MODES
def test_a_detection_later_on_is_of_the_prompted_object(mode):
    run = Run(ColourDetector(['red']), mode=mode, **{**USUAL, 'detect_interval': 8})
    run.push(EMPTY, *[GOOD] * 5)
    prompted = run.stream.prompt(5, Prompt(box=RED), 'red')
    assert prompted.object.class_id == 0  # the detector's class of that name
    run.push(*[GOOD] * 8)
    run.flush()
    assert run.engine.stats().objects == 1
    assert run.stream.conditioned_frames(1) == (5, 8)


@MODES
def test_a_prompt_holds_against_a_detection_on_its_frame(mode, balls):
    """Somebody marked a part of the ball: that stays, whatever the detector's box says."""
    box = tuple(float(v) for v in balls[0].boxes[BALL - 1])
    part = balls[0].labels == BALL
    part[: int(box[1] + box[3]) // 2] = False
    detector = ScriptedDetector({0: [(0, box)]}, 8)
    run = Run(detector, load_sam2('demo'), mode=mode, **{**USUAL, 'detect_interval': 8})
    images = [frame.image for frame in balls[:5]]
    run.push(images[0])
    prompted = run.stream.prompt(0, Prompt(mask=part), object_id=1 if mode == 'online' else None,
                                 class_name='class 0')
    assert prompted.object.id == 1
    run.push(*images[1:])
    assert run.engine.stats().objects == 1
    assert np.array_equal(mask(run.latest()[0], 1), prompted.object.mask.pixels())
    assert iou(prompted.object.mask.pixels(), part) > 0.8


@MODES
def test_what_has_this_very_mask_is_the_same_object(mode):
    run = Run(ColourDetector(['red']), mode=mode, **USUAL)
    run.push(*[GOOD] * 8)
    assert run.stream.prompt(6, Prompt(box=RED), 'red').object.id == 1
    assert run.stream.prompt(6, Prompt(box=RED), 'other').object.id == 2
    assert run.engine.stats().objects == 2


def test_by_class_there_is_one_object_of_a_class():
    run = Run(None, association='class', **USUAL)
    run.push(*[red(14, ('green', 50, 10))] * 4)
    assert run.stream.prompt(3, Prompt(box=RED), 'thing').object.id == 1
    assert run.stream.prompt(3, Prompt(box=disc_box(50, 10)), 'thing').object.id == 1


# ---- objects that are there
@MODES
def test_a_prompt_corrects_an_object_that_strayed(mode):
    """It follows green from frame 4 on, because somebody said so; then red again."""
    two = red(14, ('green', 50, 24))
    run = Run(None, mode=mode, **USUAL)
    run.push(*[two] * 4)
    run.stream.prompt(3, Prompt(box=disc_box(50, 24)), 'ball')
    run.push(*[two] * 4)
    assert right(run, 1, range(4, 8), 'green')
    run.stream.remove_object(1)
    run.stream.prompt(7, Prompt(box=RED), 'ball')
    run.push(*[two] * 4)
    run.flush()
    assert run.ids(11) == [2] and right(run, 2, range(5, 12), 'red')


@MODES
def test_what_was_tracked_after_a_prompted_frame_counts_no_more(mode):
    run = Run(ColourDetector(['red']), mode=mode, **USUAL)
    run.push(*[red(14, ('green', 50, 24))] * 8)
    (obj,) = run.stream._state.objects
    assert max(obj.tracked_memories) == 7
    run.stream.prompt(6, Prompt(box=disc_box(50, 24)), object_id=1)
    (obj,) = run.stream._state.objects
    assert obj.tracked_memories and max(obj.tracked_memories) == 5


@MODES
def test_another_prompt_for_a_frame_takes_the_place_of_the_first(mode):
    two = red(14, ('green', 50, 24))
    run = Run(None, mode=mode, **USUAL)
    run.push(*[two] * 6)
    run.stream.prompt(5, Prompt(box=RED), 'ball')
    run.push(*[two] * 2)
    assert right(run, 1, range(4, 8))
    run.stream.prompt(5, Prompt(box=disc_box(50, 24)), object_id=1)
    run.push(*[two] * 4)
    assert right(run, 1, range(4, 12), 'green')


def test_in_an_open_window_the_prompt_tells_where_an_object_is():
    """What is red was green on the prompted frame: the detection there starts nothing."""
    two = red(14, ('green', 50, 24))
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(0, disc_box(50, 24))]}, 4), **USUAL)
    run.push(*[two] * 5)
    run.stream.prompt(4, Prompt(box=disc_box(50, 24)), object_id=1)
    run.push(*[two] * 3)
    assert run.engine.stats().objects == 1


@MODES
def test_points_correct_the_mask_that_is_there(mode, balls):
    images = [frame.image for frame in balls]
    run = Run(None, load_sam2('demo'), mode=mode, **USUAL)
    run.push(*images[:6])
    x0, y0, x1, y1 = balls[5].boxes[BALL - 1]
    # Half the ball only; a click says that the rest belongs to it.
    truth = balls[5].labels == BALL
    half = truth.copy()
    half[int(y0 + y1) // 2 :] = False
    first = run.stream.prompt(5, Prompt(mask=half), 'ball').object.mask.pixels()
    run.push(*images[6:8])
    click = Prompt(points=[[(x0 + x1) / 2, y1 - 3]], labels=[1])
    corrected = run.stream.prompt(5, click, object_id=1)
    assert corrected.object.id == 1
    assert iou(first, truth) < 0.6 and iou(corrected.object.mask.pixels(), truth) > 0.85
    with pytest.raises(PromptError, match='points outside an object'):
        run.stream.prompt(5, Prompt(points=[[1, 1]], labels=[0]), 'another')
    run.push(*images[8:12])
    assert np.array_equal(mask(run.latest()[5], 1), corrected.object.mask.pixels())


@MODES
def test_a_removed_object_vanishes_from_the_frames_in_reach(mode):
    run = Run(None, mode=mode, **USUAL)
    run.push(*film(4))
    run.stream.prompt(3, Prompt(box=box_at(3)), 'ball')
    run.push(*film(8)[4:])
    assert run.ids(5) == [1]
    removed = run.stream.remove_object(1)
    assert (removed.id, removed.class_name, removed.visible) == (1, 'ball', True)
    run.push(*film(12)[8:])
    assert all(run.ids(i) == [] for i in range(run.stream.horizon, 12))
    corrected = [r for r in run.results if r.revision and 1 in r.changed_ids and r.index == 7]
    assert corrected and not corrected[-1].labels.any()
    with pytest.raises(PromptError, match="'front' has no object 1; it has none yet"):
        run.stream.remove_object(1)
    nothing_was_lost(run, 12)


@MODES
def test_a_removed_bank_object_is_not_found_again(mode):
    first = Run(ColourDetector(['red', 'green']), **USUAL)
    first.push(*[red(14, ('green', 50, 24))] * 4)
    run = Run(None, mode=mode, **USUAL)
    run.stream.load_bank(first.stream.export_bank(2))
    both = red(14, ('green', 50, 24))
    run.push(*[both] * 4)
    assert sorted(run.ids(3)) == [1, 2]
    (gone,) = [o.id for o in run.latest()[3].objects if o.class_name == 'red']
    run.stream.remove_object(gone)
    run.push(*[both] * 8)
    assert [o.class_name for o in run.latest()[11].objects if o.visible] == ['green']
    assert {e.class_name for e in run.stream.bank.entries} == {'green'}
    run.stream.reset()
    run.images.clear(), run.results.clear()
    run.push(*[both] * 4)
    assert len(run.ids(3)) == 1
    run.stream.remove_object(run.ids(3)[0])
    assert run.stream.bank is None


@MODES
def test_a_renamed_object_keeps_its_id_and_its_bank(mode):
    first = Run(ColourDetector(['red']), **USUAL)
    first.push(*[GOOD] * 4)
    bank = first.stream.export_bank(2)
    run = Run(None, mode=mode, **USUAL)
    run.stream.load_bank(bank)
    run.push(*[GOOD] * 4)
    renamed = run.stream.rename_object(1, 'ball')
    assert (renamed.id, renamed.class_name) == (1, 'ball')
    run.push(*[GOOD] * 8)
    (shown,) = run.latest()[11].objects
    assert (shown.id, shown.class_name, shown.visible) == (1, 'ball', True)
    assert {e.class_name for e in run.stream.bank.entries} == {'ball'}
    assert {e.class_name for e in bank.entries} == {'red'}  # what was given stays as it was
    with pytest.raises(PromptError, match='needs a class name'):
        run.stream.rename_object(1, '')
    with pytest.raises(PromptError, match='has no object 9; there are 1'):
        run.stream.rename_object(9, 'ball')


def test_a_renamed_object_is_known_by_its_new_class():
    run = Run(None, **USUAL)
    run.push(*film(4))
    box = Prompt(box=disc_box(15, 24))
    first = run.stream.prompt(3, box, 'ball')
    run.flush()
    run.stream.rename_object(first.object.id, 'cup')
    assert run.stream.prompt(3, box, 'cup').object.id == first.object.id
    other = run.stream.prompt(3, box, 'ball').object
    assert (other.id != first.object.id, other.class_name) == (True, 'ball')
