# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Objects that a detection starts: tentative, confirmed or withdrawn before they are final."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, ScriptedDetector, disc_box, scene
from stream_cases import EMPTY, SIZE, picture

from detsam2_ros.engine import Detections, EngineConfig, ObjectState, Prompt, finals
from detsam2_ros.engine.tracking.tentative import decides_in_time, seen_to_decide

pytestmark = pytest.mark.usefixtures('both_modes')

TENTATIVE, CONFIRMED = ObjectState.TENTATIVE, ObjectState.CONFIRMED
RED, GREEN = disc_box(14, 24), disc_box(48, 24)
# Frames of the window and 15 before it can change: three detection frames after the first one.
GHOSTS = {
    'window_size': 4, 'detect_interval': 4, 'max_propagation': 20, 'confirm_detections': 2,
    'withdraw_detections': 2,
}


def first_states(run: Run, index: int) -> dict[int, ObjectState]:
    """Return the states of the visible objects on a frame as first published."""
    return {o.id: o.state for o in run.first()[index].objects if o.visible}


def states(run: Run, index: int) -> dict[int, ObjectState]:
    """Return the states of the visible objects on a frame as known in the end.

    A frame whose masks stay is not published again: what confirms an id does so on all frames.
    """
    sure = {o.id for result in run.results for o in result.objects if o.state == CONFIRMED}
    shown = [o.id for o in run.latest()[index].objects if o.visible]
    return {id_: CONFIRMED if id_ in sure else TENTATIVE for id_ in shown}


def film(run: Run, count: int, *colours: str) -> None:
    """Show so many pictures of discs that stand still, and close the last window."""
    run.push(*[picture(*colours)] * count)
    run.flush()


# ---- confirmed
def test_the_second_detection_confirms():
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(0, RED)]}, 4), **GHOSTS)
    film(run, 40, 'red')
    assert first_states(run, 0) == {1: TENTATIVE}
    assert all(states(run, i) == {1: CONFIRMED} for i in range(4, 40))
    assert run.engine.stats().withdrawn_objects == 0


@pytest.mark.parametrize('detections, config', [
    ([(0, RED, 0.96)], {'confirm_score': 0.95}),
    ([(0, RED, 0.1)], {'confirm_detections': 1}),
    ([(0, RED, 0.1)], {'confirm_detections': 0}),
])
def test_what_confirms_at_once(detections, config):
    run = Run(
        ScriptedDetector({0: detections}, 4), **{**GHOSTS, 'new_object_score': 0.0, **config})
    film(run, 40, 'red')
    assert all(states(run, i) == {1: CONFIRMED} for i in range(40))
    assert all(first_states(run, i) == {1: CONFIRMED} for i in range(40))


def test_a_score_just_below_does_not_confirm():
    run = Run(ScriptedDetector({0: [(0, RED, 0.94)]}, 4), **GHOSTS, confirm_score=0.95)
    film(run, 4, 'red')
    assert states(run, 0) == {1: TENTATIVE}


def test_a_prompt_by_hand_is_confirmed_and_confirms():
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **GHOSTS)
    run.push(*[picture('red', 'green')] * 4)
    assert states(run, 3) == {1: TENTATIVE}
    run.stream.prompt(3, Prompt(box=GREEN), 'green')
    prompted = run.stream.prompt(3, Prompt(box=RED), object_id=1)
    assert prompted.object.state == CONFIRMED
    run.push(*[picture('red', 'green')] * 36)
    run.flush()
    assert states(run, 39) == {1: CONFIRMED, 2: CONFIRMED}


def test_what_a_bank_knows_is_confirmed():
    teacher = Run(ColourDetector(['red']), **GHOSTS)
    film(teacher, 8, 'red')
    run = Run(None, **GHOSTS)
    run.stream.load_bank(teacher.stream.export_bank(2))
    film(run, 8, 'red')
    assert first_states(run, 7) == {1: CONFIRMED}


# ---- withdrawn
def test_a_ghost_is_shown_at_once_and_withdrawn():
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **GHOSTS)
    film(run, 40, 'red')
    # Missed on frames 4 and 8: the window that holds frame 8 withdraws it.
    assert all(first_states(run, i) == {1: TENTATIVE} for i in range(4))
    assert all(run.ids(i, visible=False) == [] for i in range(40))
    named = [result.index for result in run.results if 1 in result.withdrawn_ids]
    published = {i for i, result in run.first().items() if 1 in [o.id for o in result.objects]}
    assert published >= set(range(8)) and sorted(named) == sorted(published)
    for result in run.results:
        assert set(result.withdrawn_ids) <= set(result.changed_ids)
        assert not any(o.id in result.withdrawn_ids for o in result.objects)
        assert result.labels.any() == bool([o for o in result.objects if o.visible])
    assert run.engine.stats().withdrawn_objects == 1


def test_a_ghost_that_is_not_seen_is_not_missed():
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **GHOSTS, max_lost_frames=100)
    run.push(*[picture('red')] * 4, *[EMPTY] * 36)
    run.flush()
    assert run.engine.stats().withdrawn_objects == 0
    # But it is undecided: no final frame shows it.
    assert all(states(run, i) == {} for i in range(4))
    assert all(first_states(run, i) == {1: TENTATIVE} for i in range(4))


@pytest.mark.parametrize('reach', [8, 10, 16])
def test_a_ghost_in_view_is_withdrawn_however_short_the_reach(reach):
    """Misses count that a pass saw on frames that are final by now."""
    script = {i: [(1, GREEN)] for i in range(0, 60, 4)}
    script[8] = [(0, RED), (1, GREEN)]
    config = {**GHOSTS, 'max_propagation': reach, 'withdraw_detections': 3}
    run = Run(ScriptedDetector(script, 4), **config)
    film(run, 60, 'red', 'green')
    stats = run.engine.stats()
    assert stats.withdrawn_objects == 1 and len(run.stream.objects) == 1
    assert all(states(run, i) == {1: CONFIRMED} for i in range(28, 60))


def test_no_final_frame_shows_a_tentative_object():
    """Whatever the detector does: found now and then, by chance, at several places."""
    random = np.random.default_rng(5)
    script = {
        frame: [(int(c), (RED, GREEN)[c]) for c in range(2) if random.random() < 0.15]
        for frame in range(0, 160, 4)
    }
    run = Run(ScriptedDetector(script, 4), **GHOSTS)
    for _ in range(160):
        run.push(picture('red', 'green'))
    run.flush()
    assert run.engine.stats().withdrawn_objects > 0
    for index in range(160 - 20):  # what is final
        assert all(state == CONFIRMED for state in states(run, index).values())


def test_a_frame_on_which_the_detector_failed_says_nothing():
    class Failing(ScriptedDetector):
        def detect(self, images):
            found = super().detect(images)
            if self.frames[-1] in (4, 8, 12):
                raise RuntimeError('no answer')
            return found

    run = Run(Failing({0: [(0, RED)], 16: [(0, RED)]}, 4), **{**GHOSTS, 'max_propagation': 40})
    for _ in range(40):
        try:
            run.push(picture('red'))
        except Exception as error:  # its results count
            run.results += error.results
    run.flush()
    assert run.engine.stats().withdrawn_objects == 0
    assert all(states(run, i) == {1: CONFIRMED} for i in range(40))


def test_covered_by_another_one_it_is_not_missed():
    """A disc that is half behind another one from frame 4 on: no detector can tell."""
    counts = []
    for x in (48, 19):  # the other one's place: beside, and in front
        later = {i: [(1, disc_box(x, 24))] for i in range(4, 40, 4)}
        script = {0: [(0, RED), (1, disc_box(48, 24))], **later}
        run = Run(ScriptedDetector(script, 4), **GHOSTS)
        run.push(*[picture('red', 'green')] * 4)
        run.push(*[scene(('red', 14, 24), ('green', x, 24), size=SIZE)] * 36)
        run.flush()
        counts.append(run.engine.stats().withdrawn_objects)
    assert counts == [1, 0]


def test_a_double_of_another_class_is_withdrawn():
    """Two classes detected at one place: the one that is found again is the thing."""
    script = {0: [(0, RED), (1, RED)], **{frame: [(0, RED)] for frame in range(4, 80, 4)}}
    run = Run(ScriptedDetector(script, 4), **GHOSTS)
    film(run, 40, 'red')
    assert all(states(run, i) == {1: CONFIRMED} for i in range(40))
    assert run.engine.stats().withdrawn_objects == 1
    assert any(2 in result.withdrawn_ids for result in run.results)


def test_a_withdrawn_id_does_not_come_again():
    script = {frame: [(0, RED)] for frame in range(0, 80, 20)}
    run = Run(ScriptedDetector(script, 4), **GHOSTS)
    film(run, 80, 'red')
    assert run.engine.stats().withdrawn_objects == 4
    named = {id_ for result in run.results for id_ in result.withdrawn_ids}
    assert named == {1, 2, 3, 4}
    assert all(states(run, i) == {} for i in range(60))


@pytest.mark.parametrize('lost, reach', [(8, 20), (60, 20), (20, 60)])
def test_one_that_leaves_undecided_is_in_no_final_frame(lost, reach):
    config = {**GHOSTS, 'max_lost_frames': lost, 'max_propagation': reach}
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **config)
    run.push(*[picture('red')] * 4, *[EMPTY] * 96)
    assert all(first_states(run, i) == {1: TENTATIVE} for i in range(4))
    assert all(states(run, i) == {} for i in range(4))


def test_a_correction_has_the_states_of_now():
    """Also of objects that it leaves as they are."""
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(0, RED)]}, 4), **GHOSTS)
    run.push(*[picture('red', 'green')] * 8)
    run.stream.prompt(6, Prompt(box=GREEN), 'green')
    run.push(*[picture('red', 'green')] * 4)
    run.flush()
    assert first_states(run, 2) == {1: TENTATIVE} and run.latest()[2].revision > 0
    assert {o.id: o.state for o in run.latest()[2].objects} == {1: CONFIRMED, 2: CONFIRMED}


def test_detections_that_come_while_a_window_is_closed_confirm():
    run = Run(None, **{**GHOSTS, 'detect_interval': 0, 'max_propagation': 32})
    red = Detections(np.array([RED], np.float32), np.array([0]), np.array([0.9]))
    for i in range(60):
        run.results += run.stream.add(picture('red'), 1000 * i)
        run.images.append(picture('red'))
        run.results += run.stream.step()  # a window that is due has begun
        if i % 4 == 0 and i >= 8:
            assert run.stream.backlog.begun
            run.stream.add_detections(i - 8, red)
        while run.stream.backlog.due and i % 4 == 2:
            run.results += run.stream.step()
    run.flush()
    assert all(list(states(run, i).values()) == [CONFIRMED] for i in range(20))


# ---- detections from elsewhere
@pytest.mark.parametrize('late', [0, 3, 6])
def test_detections_from_elsewhere_decide_too(late):
    """A detector that looks at every fourth frame and answers some frames later."""
    run = Run(None, **{**GHOSTS, 'detect_interval': 0, 'max_propagation': 32})
    found = {0: [(0, RED), (1, GREEN)]}
    for i in range(60):
        run.push(picture('red', 'green'))
        asked = i - late
        if asked >= 0 and asked % 4 == 0:
            boxes = found.get(asked, [(0, RED)])
            run.stream.add_detections(asked, Detections(
                np.array([box for _, box in boxes], np.float32),
                np.array([class_id for class_id, _ in boxes]), np.full(len(boxes), 0.9)))
    run.flush()
    assert run.engine.stats().withdrawn_objects == 1
    for i in range(20):
        assert list(states(run, i).values()) == [CONFIRMED]


def test_a_single_look_from_elsewhere_decides_nothing():
    run = Run(None, **{**GHOSTS, 'detect_interval': 0})
    run.push(*[picture('red')] * 2)
    run.stream.add_detections(
        1, Detections(np.array([RED], np.float32), np.array([0]), np.array([0.9])))
    run.push(*[picture('red')] * 58)
    run.flush()
    assert all(list(states(run, i).values()) == [TENTATIVE] for i in range(60))


def test_finals_know_of_a_later_confirmation():
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(0, RED)]}, 4), **GHOSTS)
    shown = list(finals(run.stream, ((picture('red'), i) for i in range(24))))
    assert [[o.state for o in result.objects] for result in shown] == [[CONFIRMED]] * 24


# ---- whether there is time
@pytest.mark.parametrize('M, K, D, confirm, enough', [
    (40, 10, 10, 2, True), (19, 10, 10, 2, False), (20, 10, 10, 2, True), (39, 10, 10, 4, False),
    (40, 10, 10, 4, True), (10, 10, 10, 0, True), (10, 10, 10, 1, True), (11, 5, 7, 2, False),
])
def test_the_reach_that_is_needed(M, K, D, confirm, enough):
    config = EngineConfig(
        max_propagation=M, window_size=K, detect_interval=D, confirm_detections=confirm)
    assert decides_in_time(config, D) == enough


def test_the_interval_of_detections_from_elsewhere_is_seen():
    config = EngineConfig(
        max_propagation=20, window_size=4, detect_interval=0, confirm_detections=2)
    assert not seen_to_decide(config, [], 40) and not seen_to_decide(config, [36], 40)
    assert seen_to_decide(config, [30, 35, 40], 40)
    assert not seen_to_decide(config, [8, 40], 40)
    # What frame 30 shows is not there on frame 43, and comes with frame 44, just in time.
    assert seen_to_decide(config, [24, 26, 28], 43)
    assert not seen_to_decide(config, [24, 26, 28], 44)  # they come too late
    assert not decides_in_time(config, 0)


def test_where_there_is_no_time_nothing_is_hidden():
    config = {**GHOSTS, 'max_propagation': 7, 'withdraw_detections': 99}
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **config)
    film(run, 40, 'red')
    assert all(states(run, i) == {1: TENTATIVE} for i in range(40))
