# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Several things of one look that come to share a mask: one is a double, or one is lost."""

import fakes
import numpy as np
import pytest
from fakes import Run, ScriptedDetector, disc_box, iou, mask, scene
from stream_cases import EMPTY, SIZE

from detsam2_ros.engine import Prompt

pytestmark = pytest.mark.usefixtures('both_modes')

# Red and orange are apart, one that is between them is near both; so with pink.
COLOURS = {
    'red': (255, 0, 0), 'orange': (255, 110, 0), 'between': (255, 55, 0), 'green': (0, 255, 0),
    'a': (255, 0, 0), 'b': (255, 90, 0), 'c': (255, 45, 78), 'near all': (255, 45, 26),
}  # fmt: skip
CONFIG = {
    'window_size': 4, 'detect_interval': 4, 'max_propagation': 8, 'max_lost_frames': 8,
    'max_dormant_objects': 16, 'recall_score': 0.8,
}
LEFT, RIGHT = (14, 24), (48, 24)
TWO = [(0, disc_box(*LEFT)), (0, disc_box(*RIGHT))]


def drawn(*discs: tuple[str, tuple[float, float]]) -> np.ndarray:
    image = np.zeros((*SIZE, 3), np.uint8)
    for name, place in discs:
        fakes.disc(image, COLOURS[name], *place)
    return image


# The red one goes, and the other one comes to look like either.
BOTH = drawn(('red', LEFT), ('orange', RIGHT))
LOST = [BOTH] * 8 + [drawn(('between', RIGHT))] * 4


def dormant(run: Run) -> list[int]:
    return [obj.id for obj in run.stream._state.dormant]


def ids(run: Run) -> list[list[int]]:
    return [sorted(run.ids(index)) for index in range(len(run.images))]


def test_one_that_is_lost_to_another_is_dormant():
    script = {0: TWO, 4: TWO, 8: TWO[1:], 12: [*TWO[1:], (0, disc_box(20, 40))]}
    run = Run(ScriptedDetector(script, 4), **CONFIG)
    run.push(*LOST)
    assert dormant(run) == [1] and [obj.id for obj in run.stream.objects] == [2]
    assert ids(run) == [[1, 2]] * 8 + [[2]] * 4
    assert not any(result.withdrawn_ids for result in run.results)
    run.push(*[drawn(('red', (20, 40)), ('orange', RIGHT))] * 4)
    run.flush()
    assert ids(run) == [[1, 2]] * 8 + [[2]] * 4 + [[1, 2]] * 4 and dormant(run) == []
    place = fakes.colour_mask(scene(('red', 20, 40), size=SIZE), 'red')
    assert iou(mask(run.latest()[15], 1), place) > 0.8


def test_it_vanishes_from_frames_that_come_while_that_is_found():
    run = Run(ScriptedDetector({0: TWO, 4: TWO, 8: TWO[1:], 12: TWO[1:]}, 4), **CONFIG)
    for image in [*LOST, *LOST[-1:] * 3]:
        run.take(image, parts=0)
    run.flush()
    run.flush()  # reads what the one that stays took over
    assert ids(run) == [[1, 2]] * 8 + [[2]] * 7
    assert dormant(run) == [1] and not run.stream._state.has_unread_prompts


def test_what_was_taken_for_two_halves_is_merged():
    """Detected apart once, and never again."""
    run = Run(ScriptedDetector({0: TWO, 4: TWO[1:], 8: TWO[1:]}, 4), **CONFIG)
    run.push(*LOST)
    run.flush()
    assert dormant(run) == [] and [obj.id for obj in run.stream.objects] == [1]
    assert run.ids(11) == [1]


def test_of_three_two_are_lost():
    places = {'a': (9, 9), 'b': (50, 36), 'c': (50, 10)}
    three = [(0, disc_box(*place)) for place in places.values()]
    script = {0: three, 4: three, **dict.fromkeys(range(8, 20, 4), three[1:2])}
    run = Run(ScriptedDetector(script, 4), **CONFIG)
    run.push(*[drawn(*places.items())] * 8, *[drawn(('near all', places['b']))] * 12)
    run.flush()
    if run.config.mode == 'online':  # the fake model confuses colours that were tracked before
        assert ids(run) == [[1, 2, 3]] * 8 + [[2]] * 12
        assert sorted(dormant(run)) == [1, 3] and [obj.id for obj in run.stream.objects] == [2]


def test_one_that_was_found_apart_again_meanwhile_is_not_lost():
    script = {0: TWO, 4: TWO, 8: TWO[1:], **dict.fromkeys(range(12, 28, 4), TWO)}
    run = Run(ScriptedDetector(script, 4), **CONFIG, mode='online')
    for index, image in enumerate([*LOST, *[BOTH] * 16]):
        run.take(image, parts=0 if 8 <= index < 15 else 99)
    run.work()
    run.flush()
    for index in range(12, 28):
        found = {thing.id: thing.box for thing in run.latest()[index].objects if thing.visible}
        assert found.keys() == {1, 2} and found[1][2] < 32 < found[2][0], index


@pytest.mark.parametrize('late', [False, True])
def test_by_hand_it_is_found_on_frames_that_had_lost_it(late):
    there = drawn(('between', RIGHT), ('green', (14, 40)))
    script = {0: TWO, 4: TWO, **dict.fromkeys(range(8, 24, 4), TWO[1:])}
    run = Run(ScriptedDetector(script, 4), **CONFIG)
    run.push(*[BOTH] * 8)
    for image in [there] * 7:
        run.take(image, parts=0)
    run.work()
    assert dormant(run) == [1]
    prompted = run.stream.prompt(14 if late else 10, Prompt(box=disc_box(14, 40)), object_id=1)
    assert prompted.object.id == 1
    run.push(*[there] * 5)
    run.flush()
    assert all(both == [1, 2] for both in ids(run)[14 if late else 10 :])
    assert not run.stream._state.has_unread_prompts


@pytest.mark.parametrize('late', [0, 2, 4, 5])
def test_looks_at_late_detections_decide_too(late):
    """Red and green of one class are away; red returns, and is detected late each time."""
    back = [(0, disc_box(30, 24))]
    script = {0: TWO, 4: TWO, **dict.fromkeys(range(32, 68, 4), back)}
    run = Run(None, **{**CONFIG, 'detect_interval': 0, 'max_propagation': 24})
    both = scene(('red', *LEFT), ('green', *RIGHT), size=SIZE)
    for index in range(68):
        red = scene(('red', 30, 24), size=SIZE)
        run.push(both if index < 8 else EMPTY if index < 32 else red)
        if index - late in script:
            found = fakes.detections(script[index - late])
            run.stream.add_detections(run.stream.find_frame(1000 * (index - late)), found)
    run.flush()
    assert all(run.ids(index) == [1] for index in range(32, 68)) and dormant(run) == [2]
