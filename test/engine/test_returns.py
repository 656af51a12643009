# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that were away for long and return: with their id, unless in doubt."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, disc_box, scene
from stream_cases import EMPTY, SIZE, make_bank, picture

from detsam2_ros.engine import Detections, EngineConfig, Prompt, PromptError
from detsam2_ros.engine.tracking.dormant import Look, asleep, is_back
from detsam2_ros.engine.tracking.objects import TrackedObject

pytestmark = pytest.mark.usefixtures('both_modes')

COLOURS = ('red', 'green', 'blue')
RETURNS = {
    'window_size': 4, 'detect_interval': 4, 'max_propagation': 8, 'max_lost_frames': 8,
    'max_dormant_objects': 16, 'recall_score': 0.8,
}
AWAY = [EMPTY] * 24


def at(x: float, y: float, colour: str = 'red') -> np.ndarray:
    return scene((colour, x, y), size=SIZE)


def seen(run: Run, *images: np.ndarray) -> set[int]:
    """Show images; returns the ids visible on the last one."""
    run.push(*images)
    run.flush()
    return set(run.ids(len(run.images) - 1))


def dormant(run: Run) -> list[int]:
    return [obj.id for obj in run.stream._state.dormant]


def test_who_returns_elsewhere_keeps_the_id():
    run = Run(ColourDetector(COLOURS), **RETURNS)
    assert seen(run, *[at(14, 24)] * 8) == {1}
    assert seen(run, *AWAY) == set() and dormant(run) == [1]
    assert seen(run, *[at(50, 12)] * 8) == {1} and dormant(run) == []
    assert (run.engine.stats().objects, run.engine.stats().recalled_objects) == (1, 1)
    # And again, as often as it goes.
    seen(run, *AWAY)
    assert seen(run, *[at(14, 40)] * 8) == {1}
    assert run.engine.stats().recalled_objects == 2


def test_without_places_for_dormant_objects_it_is_new():
    run = Run(ColourDetector(COLOURS), **{**RETURNS, 'max_dormant_objects': 0})
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert dormant(run) == []
    assert seen(run, *[at(50, 12)] * 8) == {2}


def test_each_of_several_keeps_its_own():
    run = Run(ColourDetector(COLOURS), **RETURNS)
    assert seen(run, *[picture('red', 'green')] * 8) == {1, 2}
    names = {o.id: o.class_name for o in run.latest()[7].objects}
    seen(run, *AWAY)
    back = [scene(('green', 12, 10), ('red', 50, 40), size=SIZE)] * 8
    assert seen(run, *back) == {1, 2}
    assert {o.id: o.class_name for o in run.latest()[39].objects} == names


def test_another_look_is_new():
    run = Run(ScriptedDetector({
        0: [(0, disc_box(14, 24))], 4: [(0, disc_box(14, 24))], 32: [(0, disc_box(14, 24))],
    }, 4), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert seen(run, *[at(14, 24, 'blue')] * 4) == {2}


def test_another_class_is_new():
    run = Run(ScriptedDetector({
        0: [(0, disc_box(14, 24))], 4: [(0, disc_box(14, 24))], 32: [(1, disc_box(14, 24))],
    }, 4), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert seen(run, *[at(14, 24)] * 4) == {2}


def test_a_thing_of_another_class_is_not_taken_for_it():
    """A detection of its class is there too, but elsewhere."""
    red, green = disc_box(14, 24), disc_box(48, 24)
    script = {0: [(0, red)], 4: [(0, red)], 32: [(1, red), (0, green)]}
    run = Run(ScriptedDetector(script, 4), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert seen(run, *[picture('red', 'green')] * 4) == {2, 3}
    assert dormant(run) == [1]


def test_of_two_that_look_alike_nobody_is_taken_for_the_other():
    run = Run(ColourDetector(COLOURS), **{**RETURNS, 'recall_score': 1.0})
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert seen(run, *[at(48, 24)] * 8) == {2}  # nobody is that sure
    seen(run, *AWAY)
    assert dormant(run) == [1, 2]
    run.engine.reconfigure(recall_score=0.8)
    assert seen(run, *[at(30, 24)] * 4) == {3}
    assert run.engine.stats().recalled_objects == 0


@pytest.mark.parametrize(('colour', 'id_'), [('red', 1), ('green', 2)])
def test_one_class_of_different_looks(colour, id_):
    """Either may be meant, so one look does not decide."""
    both, back = [(0, disc_box(14, 24)), (0, disc_box(48, 24))], [(0, disc_box(30, 24))]
    script = {0: both, 4: both, **dict.fromkeys(range(32, 60, 4), back)}
    run = Run(ScriptedDetector(script, 4), **{**RETURNS, 'max_propagation': 16})
    assert seen(run, *[picture('red', 'green')] * 8, *AWAY) == set()
    assert seen(run, *[at(30, 24, colour)] * 8) == {3}
    assert seen(run, *[at(30, 24, colour)] * 4) == {id_}
    assert all(run.ids(index) == [id_] for index in range(32, 44))
    assert dormant(run) == [3 - id_]


def back_after(first: int, later: int) -> tuple[Run, set[int], set[int]]:
    """Show red and green of one class, nothing, then red from one frame on and green later.

    Returns the run, with the ids on the frame `later`, and three detections on.
    """
    red, green = (0, disc_box(14, 24)), (0, disc_box(48, 24))
    script = {0: [red, green], 4: [red, green]}
    script |= {i: [(0, disc_box(14, 40))] for i in range(first, later, 4)}
    script |= {i: [(0, disc_box(14, 40)), (0, disc_box(48, 12))] for i in range(later, 72, 4)}
    run = Run(ScriptedDetector(script, 4), **{**RETURNS, 'max_propagation': 16})
    seen(run, *[picture('red', 'green')] * 8, *[EMPTY] * (first - 8))
    run.push(*[at(14, 40)] * (later - first))
    both = scene(('red', 14, 40), ('green', 48, 12), size=SIZE)
    at_first = seen(run, *[both] * 4)
    return run, at_first, seen(run, *[both] * 8)


def test_several_of_a_class_that_return_together():
    """Each is found at its own place: three looks decide."""
    run, at_first, in_the_end = back_after(32, 32)
    assert at_first == {3, 4} and in_the_end == {1, 2}
    assert run.ids(32) == [1, 2] and dormant(run) == []


def test_who_is_found_at_one_that_often_looked_like_it_is_not_meant_elsewhere():
    run, at_first, in_the_end = back_after(32, 40)
    assert at_first == {1, 2} == in_the_end
    assert run.engine.stats().objects == 3  # red alone was new at first


def test_when_nobody_else_is_away_one_look_decides():
    green = (0, disc_box(48, 24))
    both, back = [(0, disc_box(14, 24)), green], [(0, disc_box(30, 40)), green]
    script = {0: both, 4: both, **dict.fromkeys(range(8, 32, 4), [green]), 32: back}
    run = Run(ScriptedDetector(script, 4), **RETURNS)
    seen(run, *[picture('red', 'green')] * 8, *[at(48, 24, 'green')] * 24)
    assert dormant(run) == [1]
    assert seen(run, *[scene(('red', 30, 40), ('green', 48, 24), size=SIZE)] * 4) == {1, 2}


def test_a_living_one_that_is_out_of_sight_may_be_meant_too():
    both = [(0, disc_box(14, 24)), (0, disc_box(48, 24))]
    alone = [(0, disc_box(48, 24))]
    script = {0: both, 4: both, 8: alone, 12: alone, 16: alone, 20: [(0, disc_box(30, 40))]}
    run = Run(ScriptedDetector(script, 4), **RETURNS)
    # Red is dormant when it returns, and green has been out of sight for two frames.
    seen(run, *[picture('red', 'green')] * 8, *[at(48, 24, 'green')] * 10, *[EMPTY] * 2)
    assert dormant(run) == [1]
    assert seen(run, *[at(30, 40)] * 4) == {3}


@pytest.mark.parametrize(('looks', 'back'), [
    ('a', False), ('aa', False), ('aaa', True), ('aab', False), ('aabaaa', True), ('aa-a', True),
    ('aa-', False), ('aa?a', False), ('aa?aaa', True), ('A', True), ('aA', True), ('bA', True),
])
def test_looks(looks, back):
    """Contested ones in lower case; -: nobody was found, ?: in doubt."""
    away = {name: TrackedObject(1, 0, name) for name in 'ab'}
    thing = TrackedObject(2, 0, 'thing')
    found = [None if c == '-' else Look(away.get(c.lower()), not c.isupper()) for c in looks]
    assert [is_back(thing, each) for each in found][-1] == back


def test_who_is_not_recognised_at_first_is_later():
    run = Run(ColourDetector(COLOURS), **{**RETURNS, 'recall_score': 1.0})
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert seen(run, *[at(50, 12)] * 4) == {2}
    run.engine.reconfigure(recall_score=0.8)
    assert seen(run, *[at(50, 12)] * 4) == {1} and dormant(run) == []
    assert all(run.ids(index) == [1] for index in range(32, 40))
    assert run.engine.stats().recalled_objects == 1
    assert seen(run, *AWAY, *[at(14, 24)] * 4) == {1}


def test_one_that_was_never_confirmed_is_forgotten():
    run = Run(
        ScriptedDetector({0: [(0, disc_box(14, 24))]}, 4), **RETURNS, confirm_detections=2)
    seen(run, *[at(14, 24)] * 4, *AWAY)
    assert dormant(run) == []


def test_the_longest_unseen_goes_first():
    colours = ('red', 'green', 'blue', 'yellow')
    run = Run(ColourDetector(colours), **{**RETURNS, 'max_dormant_objects': 2})
    for colour in colours[:3]:
        seen(run, *[at(14, 24, colour)] * 8, *[EMPTY] * 12)
    assert dormant(run) == [2, 3]
    assert seen(run, *[at(14, 24, 'red')] * 8) == {4}
    assert seen(run, *[EMPTY] * 12, *[at(14, 24, 'blue')] * 8) == {3}


def test_it_keeps_the_memories_that_it_reads():
    run = Run(ColourDetector(COLOURS), **RETURNS)
    run.push(*[at(14, 24)] * 12)
    (obj,) = run.stream._state.objects
    assert len(obj.prompts) == 3
    (kept,) = asleep((), [obj], EngineConfig(max_conditioned_memories=2))
    assert list(kept.prompts) == obj.attended(2) and len(obj.prompts) == 3


def test_nothing_is_searched_without_an_unmatched_detection():
    run = Run(ColourDetector(('red', 'green')), **RETURNS)
    seen(run, *[picture('red', 'green')] * 8, *[at(14, 24, 'green')] * 24)
    assert len(dormant(run)) == 1
    before = run.engine.stats()
    seen(run, *[at(14, 24, 'green')] * 24)
    after = run.engine.stats()
    per_detection = 1 if run.config.mode == 'window' else 0
    assert after.associated_frames - before.associated_frames == 6 * per_detection


def test_a_reset_forgets_them():
    run = Run(ColourDetector(COLOURS), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    run.stream.reset()
    assert dormant(run) == []
    run.results.clear()
    run.images.clear()
    assert seen(run, *[at(14, 24)] * 8) == {2}


def test_each_stream_has_its_own():
    run = Run(ColourDetector(COLOURS), **RETURNS)
    other = run.engine.open_stream('rear')
    seen(run, *[at(14, 24)] * 8, *AWAY)
    results = [r for i in range(8) for r in other.push(at(50, 12), i)] + other.flush()
    assert {o.id for r in results for o in r.objects} == {1}  # an id of its own
    assert run.engine.stats().recalled_objects == 0 and dormant(run) == [1]


def test_ids_of_dormant_objects_are_not_given_again(monkeypatch):
    monkeypatch.setattr('detsam2_ros.engine.tracking.ids.MAX_OBJECT_ID', 3)
    run = Run(ColourDetector((*COLOURS, 'yellow')), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert seen(run, *[at(14, 24, 'green')] * 8) == {2}
    run.stream.remove_object(2)
    assert seen(run, *AWAY, *[at(14, 24, 'blue')] * 8) == {3}
    assert seen(run, *[at(14, 24, 'yellow')] * 8) == {2}  # not 1, after 3
    assert seen(run, *AWAY, *[at(50, 12)] * 8) == {1}


# ---- by hand, and in banks
def test_a_dormant_object_is_named_by_hand():
    run = Run(ScriptedDetector({0: [(0, disc_box(14, 24))]}, 4), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert dormant(run) == [1]
    run.push(*[at(50, 12)] * 4)
    prompted = run.stream.prompt(35, Prompt(box=disc_box(50, 12)), object_id=1)
    assert prompted.object.id == 1 and dormant(run) == []
    assert seen(run, *[at(50, 12)] * 4) == {1}
    assert run.engine.stats().recalled_objects == 1


def test_a_dormant_object_is_removed_and_renamed():
    run = Run(ColourDetector(('red', 'green')), **RETURNS)
    seen(run, *[picture('red', 'green')] * 8, *AWAY)
    assert run.stream.rename_object(1, 'cup').class_name == 'cup'
    removed = run.stream.remove_object(2)
    assert not removed.visible and dormant(run) == [1]
    with pytest.raises(PromptError, match='has no object 2'):
        run.stream.remove_object(2)
    # Renamed, it is of no class that the detector finds.
    assert seen(run, *[picture('red', 'green')] * 8) == {3, 4}


def test_a_place_is_needed_for_who_is_named_by_hand():
    run = Run(ScriptedDetector({0: [(0, disc_box(14, 24))]}, 4), **RETURNS, max_objects=1)
    seen(run, *[at(14, 24)] * 8, *AWAY, *[at(50, 12, 'green')] * 4)
    run.stream.prompt(35, Prompt(box=disc_box(50, 12)), 'cup')
    with pytest.raises(PromptError, match='raise max_objects'):
        run.stream.prompt(35, Prompt(box=disc_box(50, 12)), object_id=1)
    assert dormant(run) == [1]


def test_a_bank_holds_them_when_asked():
    run = Run(ColourDetector(COLOURS), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert not run.stream.export_bank(2).entries
    bank = run.stream.export_bank(2, dormant=True)
    assert {entry.class_name for entry in bank.entries} == {'red'}
    other = Run(None, **RETURNS)
    other.stream.load_bank(bank)
    assert seen(other, *[at(50, 12)] * 8) == {1}


def test_what_a_bank_knows_returns_with_its_id():
    """A bank's key names one thing, so nobody is in doubt."""
    bank = make_bank('red', 'green')
    for most, back in ((16, {1}), (0, {2})):
        run = Run(None, **{**RETURNS, 'max_dormant_objects': most})
        run.stream.load_bank(bank)
        assert seen(run, *[at(14, 24)] * 8) == {1}
        assert seen(run, *AWAY) == set()
        assert seen(run, *[at(50, 12)] * 8) == back
        assert run.engine.stats().recalled_objects == len(back & {1})


# ---- beside other things that happen
def test_who_returns_in_a_late_detection_keeps_the_id():
    run = Run(None, **{**RETURNS, 'detect_interval': 0})
    box = Detections(np.array([disc_box(14, 24)], np.float32), np.array([0]), np.array([0.9]))
    run.push(*[at(14, 24)] * 4)
    run.stream.add_detections(3, box)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    assert dormant(run) == [1]
    run.push(*[at(14, 24)] * 4)
    late = run.stream.add_detections(len(run.images) - 1, box)
    assert (late.matched, late.started) == (1, 0) or late.waiting
    assert seen(run, *[at(14, 24)] * 4) == {1} and dormant(run) == []


def test_who_returns_while_a_window_is_closed_part_by_part():
    run = Run(ColourDetector(COLOURS), **RETURNS)
    seen(run, *[at(14, 24)] * 8, *AWAY)
    for image in [at(50, 12)] * 16:
        run.take(image, parts=1)
    run.work()
    run.flush()
    assert set(run.ids(47)) == {1} and dormant(run) == []
    assert run.engine.stats().objects == 1


def test_who_is_recognised_late_shows_on_frames_that_came_meanwhile():
    run = Run(ColourDetector(COLOURS), mode='online', **{**RETURNS, 'recall_score': 1.0})
    seen(run, *[at(14, 24)] * 8, *AWAY)
    run.push(*[at(50, 12)] * 5)
    run.engine.reconfigure(recall_score=0.8)
    for _ in range(3):
        run.take(at(50, 12), parts=0)
    for _ in range(3):  # while the window is closed that knows it
        run.take(at(50, 12), parts=2)
    assert run.ids(42) == [2]
    run.work()
    run.flush()
    assert all(run.ids(index) == [1] for index in range(32, 43))


def test_one_that_is_taken_for_two_leaves_the_other_dormant(monkeypatch):
    """Each detection frame of a window is asked, of who is not recognised yet."""
    config = {**RETURNS, 'window_size': 8, 'max_propagation': 16, 'recall_score': 1.0}
    run = Run(ColourDetector(COLOURS), **config)
    seen(run, *[at(14, 24)] * 8, *AWAY, *[at(48, 24)] * 8, *AWAY)
    assert dormant(run) == [1, 2]
    run.push(*[at(30, 24)] * 8)  # new on the first of two detection frames
    monkeypatch.setattr(
        'detsam2_ros.engine.tracking.window_pass.recalled',
            lambda *given: {0: Look(given[4][0], contested=False)})
    assert seen(run, *[at(30, 24)] * 8) == {1}
    assert dormant(run) == [2] and run.engine.stats().recalled_objects == 1
