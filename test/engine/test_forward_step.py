# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Mode online: masks on arrival, corrections from passes that may be done between frames."""

import fakes
import numpy as np
import pytest
import torch
from fakes import ColourDetector, Run, ScriptedDetector, colour_mask, disc_box, iou, mask
from stream_cases import EMPTY, RED, USUAL, film, nothing_was_lost, red, same_results

from detsam2_ros.engine.tracking.pass_runner import Pace

ONLINE = {**USUAL, 'mode': 'online'}


def revisions(results) -> list[tuple[int, int]]:
    return [(result.index, result.revision) for result in results]


def closing(run: Run) -> tuple[int, bool, bool]:
    """Return how many frames the window has that is being closed, and what the backlog says."""
    backlog = run.stream.backlog
    return len(run.stream._runner.window), backlog.due, backlog.begun


# ---- on arrival
def test_every_frame_has_masks_on_arrival():
    run = Run(ColourDetector(['red']), **ONLINE)
    for i, image in enumerate(film(11)):
        (result,) = run.push(image)
        assert (result.index, result.revision, result.final) == (i, 0, False)
        (shown,) = result.objects
        # The detector sees its frames on arrival too.
        assert (shown.id, shown.visible, shown.conditioned) == (1, True, i % 4 == 0)
        assert iou(mask(result, 1), colour_mask(image, 'red')) > 0.5
    assert run.flush() == []  # nothing to correct
    nothing_was_lost(run, 11)


def test_one_inference_a_frame_and_object():
    run = Run(ColourDetector(['red', 'green']), **ONLINE)
    run.push(*film(12, ('green', 50, 10)))
    stats = run.engine.stats()
    # The forward track tells which detection is which object: nothing is tracked for that.
    assert (stats.forward_frames, stats.associated_frames) == (2 * 11, 0)
    assert (stats.encodings, stats.detector_frames, stats.passes) == (12, 3, 3)
    # The passes begin on frames 0, 4 and 8, the newest prompts, and stop at prompts 0 and 4.
    assert stats.tracked_frames == 2 * (0 + 3 + 3)


def test_the_newest_frame_comes_before_what_its_window_corrects():
    run = Run(ScriptedDetector({4: [(0, disc_box(16, 24))]}, 4), **ONLINE)
    images = film(8)
    for i in range(7):
        (result,) = run.push(images[i])
        assert len(result.objects) == (i >= 4)
    results = run.push(images[7])
    # In ascending frame index, a frame's revisions in order.
    assert revisions(results) == [(0, 1), (1, 1), (2, 1), (3, 1), (7, 0)]
    for result in results[:4]:
        assert result.changed_ids == (1,) and result.final
        assert iou(mask(result, 1), colour_mask(images[result.index], 'red')) > 0.5
    assert run.engine.stats().corrections == 4


def test_frames_after_the_newest_prompt_keep_the_masks_of_their_arrival():
    config = {**ONLINE, 'detect_interval': 5}
    run = Run(ScriptedDetector({5: [(0, RED)]}, 5), fakes.tiny_sam2(), **config)
    run.push(*film(8))
    corrected = {result.index for result in run.results if result.revision}
    assert corrected and max(corrected) < 5


def test_objects_without_a_new_prompt_are_not_tracked_again():
    script = {0: [(0, RED), (1, disc_box(48, 24))], 4: [(0, RED)], 8: []}
    run = Run(ScriptedDetector(script, 4), **ONLINE)
    image = red(14, ('green', 48, 24))
    run.push(*[image] * 12)
    stats = run.engine.stats()
    # Red from frame 4 back to its prompt on frame 0; the rest was read already.
    assert (stats.tracked_frames, stats.passes, stats.corrections) == (3, 2, 0)
    assert [run.ids(i) for i in range(12)] == [[1, 2]] * 12


def test_a_correction_of_one_object_leaves_the_others_as_they_were():
    script = {0: [(0, RED)], 4: [(1, disc_box(48, 24))]}
    run = Run(ScriptedDetector(script, 4), **ONLINE)
    run.push(*[red(14, ('green', 48, 24))] * 8)
    for i in range(4):
        first, last = run.first()[i], run.latest()[i]
        assert (last.revision, last.changed_ids) == (1, (2,))
        assert [shown.id for shown in last.objects] == [1, 2]
        np.testing.assert_array_equal(mask(last, 1), mask(first, 1))
        np.testing.assert_array_equal(last.labels == 1, first.labels == 1)


def test_when_a_pass_covers_one_window_it_makes_the_window_final():
    config = {**ONLINE, 'detect_interval': 2, 'max_propagation': 4}
    run = Run(ScriptedDetector({2: [(0, disc_box(14, 24))]}, 2), **config)
    results = run.push(*film(4))
    assert [(r.index, r.revision, r.final) for r in results] == [
        (0, 0, False), (1, 0, False), (2, 0, False), (0, 1, True), (1, 1, True), (3, 0, False)
    ]  # fmt: skip
    assert run.stream.horizon == 4


def test_a_bank_object_is_named_when_it_is_first_seen():
    maker = Run(ColourDetector(['red']), **USUAL)
    maker.push(*[red(14)] * 4)
    run = Run(None, **ONLINE)
    run.stream.load_bank(maker.stream.export_bank(2))
    results = run.push(EMPTY, EMPTY, red(14), red(15))
    assert [len(r.objects) for r in results] == [0, 0, 1, 1]
    assert run.ids(3) == [1]


def test_a_bank_that_is_loaded_corrects_the_frames_before_it():
    maker = Run(ColourDetector(['red']), **USUAL)
    maker.push(*[red(14)] * 4)
    run = Run(None, **ONLINE)
    run.push(*[red(14 + i) for i in range(6)])
    assert not any(r.objects for r in run.results)
    run.stream.load_bank(maker.stream.export_bank(2))
    results = run.push(red(20), red(21))
    assert sorted((r.index, r.revision) for r in results) == [
        (0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 0), (7, 0)]
    for index in range(8):
        assert iou(mask(run.latest()[index], 1), colour_mask(red(14 + index), 'red')) > 0.6
    # Once: what a pass has read is nothing new to the next.
    before = run.engine.stats()
    run.push(*[red(22 + i) for i in range(4)])
    assert run.engine.stats().passes == before.passes
    # Of a bank that was there from the first frame on there is nothing to tell.
    run = Run(None, **ONLINE, bank_object_frames=1)
    run.stream.load_bank(maker.stream.export_bank(2))
    run.push(*[red(14 + i) for i in range(8)])
    assert run.engine.stats().passes == 0


def test_a_lost_object_that_is_detected_again_is_recognised_before_an_id_is_spent():
    # The box on frame 4 holds a quarter of the disc: too little overlap to match.
    quarter = (14.0, 24.0, 22.0, 32.0)
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(0, quarter)]}, 4), **ONLINE)
    run.push(*[red(14)] * 5)
    (shown,) = run.results[4].objects
    assert (shown.id, shown.conditioned) == (1, True)
    stats = run.engine.stats()
    # It was followed back from frame 4 to the prompt on frame 0.
    assert (stats.objects, stats.associated_frames) == (1, 4)
    # Where it was taken to be in between does not count any more.
    (obj,) = run.stream._state.objects
    assert sorted(obj.prompts) == [0, 4] and not obj.tracked_memories
    run.push(red(14))
    (obj,) = run.stream._state.objects
    assert obj.tracked_memories.keys() == {5}


def test_an_object_of_another_colour_is_not_taken_for_the_lost_one():
    run = Run(ScriptedDetector({0: [(0, RED)], 4: [(0, disc_box(48, 24))]}, 4), **ONLINE)
    run.push(*[red(14, ('green', 48, 24))] * 8)
    assert [run.ids(i) for i in (0, 3, 4, 7)] == [[1, 2]] * 4


# ---- passes between frames
@pytest.mark.parametrize('mode', ['window', 'online'])
@pytest.mark.parametrize('parts', [0, 1, 3, 100])
def test_what_a_pass_finds_does_not_depend_on_when_it_is_done(mode, parts):
    """Frames that arrive while a window is being closed change nothing about it."""
    boxes = [(0, (4.0, 4.0, 30.0, 40.0)), (1, (30.0, 8.0, 60.0, 44.0))]
    script = {0: boxes[:1], 4: boxes, 8: boxes[1:], 12: boxes}
    config = {**USUAL, 'mode': mode, 'association': 'class', 'max_conditioned_memories': 2}
    runs = [Run(ScriptedDetector(script, 4), fakes.tiny_sam2(), **config) for _ in range(2)]
    for image in film(18, ('green', 50, 10)):
        runs[0].push(image)
        runs[1].take(image, parts)
    for run in runs:
        run.flush()
        nothing_was_lost(run, 18)
    last = [run.latest() for run in runs]
    for i in range(18):
        one, other = (results[i] for results in last)
        assert one.objects == other.objects  # their masks included
        np.testing.assert_array_equal(one.labels, other.labels)
    passes = [run.engine.stats().tracked_frames for run in runs]
    assert passes[0] == passes[1]


def test_a_pass_reads_nothing_that_forward_tracking_wrote():
    boxes = [(0, (4.0, 4.0, 30.0, 40.0)), (1, (30.0, 8.0, 60.0, 44.0))]
    config = {**ONLINE, 'detect_interval': 6}
    runs = [Run(ScriptedDetector({6: boxes}, 6), fakes.tiny_sam2(), **config) for _ in range(2)]
    for run in runs:
        run.push(*film(7))
        run.take(film(8)[7], 0)
    for obj in runs[1].stream._state.objects:
        assert obj.tracked_memories
        obj.tracked_memories.clear()
    for run in runs:
        assert run.flush()
    same_results(*(run.results for run in runs))


def test_a_part_is_about_one_frame_of_a_pass():
    run = Run(ColourDetector(['red']), **ONLINE)
    run.push(*film(7))
    run.take(film(8)[7], 0)
    assert run.stream.backlog.due
    parts = 0
    while run.stream.backlog.due:
        assert run.stream.step() == []
        parts += 1
    assert parts == 5 + 8 + 1  # from frame 4 back to 0, the masks of 8 frames, the end
    assert run.stream.step() == []


def test_a_gpu_lags_by_one_part_at_most(monkeypatch):
    """Else a frame would wait for all parts that are queued on it."""
    log = []

    class Event:
        def record(self, stream):
            log.append(('record', id(self), stream))

        def synchronize(self):
            log.append(('wait', id(self)))

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: f'of {device}')
    pace = Pace(torch.device('cuda:1'))
    for _ in range(3):
        pace.keep()
    first, second, third = (event[1] for event in log if event[0] == 'record')
    assert log == [
        ('record', first, 'of cuda:1'),
        ('record', second, 'of cuda:1'), ('wait', first),
        ('record', third, 'of cuda:1'), ('wait', second),
    ]  # fmt: skip
    log.clear()
    Pace(torch.device('cpu')).keep()
    assert not log


def test_a_part_begun_early_closes_the_window_as_it_was_then():
    script = {2: [(0, disc_box(14, 24))]}
    run = Run(ScriptedDetector(script, 2), **{**ONLINE, 'detect_interval': 2})
    images = film(5)
    run.take(images[0], 1)
    assert closing(run) == (0, False, False)  # not full: nothing is due
    for image in images[1:3]:
        run.take(image, 0)
    assert run.stream.step(early=True) == []
    assert closing(run) == (3, True, True)
    run.take(images[3], 0)
    run.take(images[4], 0)
    run.work()
    assert run.stream.backlog.frames == 2  # frames 3 and 4 are another window
    assert run.ids(0) == run.ids(1) == [1]
    run.flush()
    nothing_was_lost(run, 5)
    assert run.stream.step(early=True) == []


def test_an_object_that_appears_while_a_window_is_being_closed_stays():
    def script(frame):
        return [(0, RED)] if frame < 4 else [(0, RED), (1, disc_box(48, 24))]

    run = Run(ScriptedDetector(script, 4), **ONLINE)
    both = red(14, ('green', 48, 24))
    for _ in range(3):
        run.take(both, 0)
    run.take(both, 2)  # the pass has begun
    run.take(both, 0)  # frame 4 brings the green one
    assert run.ids(4) == [1, 2]
    run.work()
    assert run.ids(3) == [1]
    run.push(*[both] * 8)
    run.flush()
    nothing_was_lost(run, 13)
    assert all(run.ids(i) == [1, 2] for i in range(13))
    assert run.engine.stats().objects == 2
    assert run.stream.conditioned_frames(1) == (0, 4, 8, 12)


def test_an_id_that_goes_while_frames_come_vanishes_from_them_too():
    # On frame 7 the disc is found as a whole and its quarter once more: one goes a window later.
    quarter = (14.0, 24.0, 22.0, 32.0)
    script = {0: [(0, RED)], 7: [(0, RED), (0, quarter)]}
    run = Run(ScriptedDetector(script, 7), **{**ONLINE, 'detect_interval': 7})
    for i in range(16):
        run.take(red(14), 0 if 10 <= i < 14 else 100)
    run.flush()
    nothing_was_lost(run, 16)
    assert any(2 in [o.id for o in r.objects] for r in run.results)
    # Frames 0 to 3 were final before that.
    assert [run.ids(i, visible=False) for i in range(4, 16)] == [[1]] * 12


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_bank_that_is_loaded_amid_a_pass_acts_on_it(mode):
    maker = Run(ColourDetector(['green']), **USUAL)
    maker.push(*[red(14, ('green', 48, 24))] * 4)
    run = Run(ColourDetector(['red']), **{**ONLINE, 'mode': mode})
    both = red(14, ('green', 48, 24))
    run.push(*[both] * 3)
    run.take(both, 3)
    run.stream.load_bank(maker.stream.export_bank(1))
    run.work()
    # The pass was restarted.
    assert [len(run.ids(i)) for i in range(4)] == [2] * 4
    run.push(both)
    run.flush()
    assert len(run.ids(4)) == 2
    nothing_was_lost(run, 5)


def test_reset_amid_a_pass_drops_no_published_frame():
    run = Run(ColourDetector(['red']), **ONLINE)
    run.push(*film(3))
    run.take(film(4)[3], 2)
    run.stream.reset()
    assert (run.stream.backlog.frames, run.stream.backlog.due, run.stream.horizon) == (0, False, 0)
    assert run.engine.stats().dropped_frames == 0
    assert revisions(run.stream.push(red(14), 0)) == [(0, 0)]


# ---- what is held
def test_of_the_past_a_frame_needs_six_memories_and_fifteen_pointers():
    run = Run(ScriptedDetector({0: [(0, RED)]}, 4), **ONLINE)
    run.push(*[red(14)] * 40)
    (obj,) = run.stream._state.objects
    assert sorted(obj.tracked_memories) == list(range(25, 40))
    whole = [at for at, memory in obj.tracked_memories.items() if memory.spatial.numel()]
    assert whole == list(range(34, 40))


def test_prompts_beyond_the_cap_are_kept_while_forward_frames_read_them():
    run = Run(
        ColourDetector(['red']), mode='online', window_size=2, detect_interval=1,
        max_propagation=2, max_conditioned_memories=1,
    )  # fmt: skip
    run.push(*[red(14)] * 40)
    (obj,) = run.stream._state.objects
    # As sam2 reads what is beyond the cap: by nearness, up to 15 frames back.
    assert sorted(obj.prompts) == list(range(25, 40))
    assert run.stream.conditioned_frames(1) == (39,)
