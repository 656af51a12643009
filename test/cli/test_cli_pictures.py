# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Drawing, choosing and holding back: the parts of segment_video that need no model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detsam2_ros.cli.report import make_highlight
from detsam2_ros.cli.summary import Presence, Summary
from detsam2_ros.media.overlay import draw_overlay, enlarged, enlargement, object_colour
from detsam2_ros.media.sheet import (
    Best,
    changed_region,
    contact_sheet,
    correction_row,
    side_by_side,
)
from detsam2_ros.media.timeline import Timeline, notable_changes
from detsam2_ros.results.frames import FrameResult, Object, ObjectInfo, ObjectState
from detsam2_ros.results.masks import Mask

SHAPE = (90, 120)


def result(
    index: int, revision: int, masks: dict[int, np.ndarray], final=False, withdrawn=(),
    tentative=(),
) -> FrameResult:
    """A result with these masks, bool [H, W], by object id."""
    labels = np.zeros(SHAPE, np.uint16)
    objects = []
    for key, mask in masks.items():
        labels[mask] = key
        state = ObjectState.TENTATIVE if key in tentative else ObjectState.CONFIRMED
        objects.append(Object(key, 3, 'ball', 0.9, False, Mask.of(mask), state))
    return FrameResult(
        stream='s', index=index, stamp=index * 1000, revision=revision, final=final,
        objects=tuple(objects), labels=labels, changed_ids=(*masks, *withdrawn),
        withdrawn_ids=withdrawn,
    )


def square(x: int, y: int, side: int = 20) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


NOTHING = np.zeros(SHAPE, bool)


def image(value: int = 60) -> np.ndarray:
    return np.full((*SHAPE, 3), value, np.uint8)


class TestOverlay:
    def test_tints_objects_and_leaves_the_rest_and_the_input_alone(self) -> None:
        picture, shown = image(), result(0, 0, {7: square(40, 30)})
        drawn = draw_overlay(picture, shown.labels, shown.objects, tags=False)
        assert (picture == 60).all()
        assert drawn.shape == picture.shape and drawn.dtype == np.uint8
        expected = 0.55 * 60 + 0.45 * np.array(object_colour(7))
        assert np.abs(drawn[40, 50].astype(float) - expected).max() <= 1
        far = np.ones(SHAPE, bool)
        far[25:56, 35:66] = False
        assert (drawn[far] == 60).all()

    def test_ids_up_to_the_largest(self) -> None:
        shown = result(0, 0, {65535: square(10, 10), 1: square(60, 60)})
        drawn = draw_overlay(image(), shown.labels, shown.objects)
        assert (drawn != 60).any()
        assert object_colour(65535) != object_colour(1) and object_colour(1) == object_colour(1)

    def test_marks_corrected_frames(self) -> None:
        shown = result(0, 1, {7: square(40, 30)})
        plain = draw_overlay(image(), shown.labels, shown.objects, tags=False)
        marked = draw_overlay(image(), shown.labels, shown.objects, tags=False, corrected_ids=(7,))
        assert (plain[:, 0] == 60).all() and (marked[:, 0] != 60).any()
        near_white = (marked.min(axis=2) > 200).sum()
        assert near_white > (plain.min(axis=2) > 200).sum() + 40

    def test_an_object_without_pixels_or_a_vanished_one_is_no_trouble(self) -> None:
        shown = result(0, 1, {7: NOTHING})
        drawn = draw_overlay(image(), shown.labels, shown.objects, corrected_ids=(7, 8))
        assert drawn.shape == (*SHAPE, 3)

    @pytest.mark.parametrize('place', [(0, 0), (100, 70), (0, 70), (100, 0)])
    def test_tags_stay_in_the_picture(self, place) -> None:
        shown = result(0, 0, {1: square(*place)})
        plain = draw_overlay(image(), shown.labels, shown.objects, tags=False)
        tagged = draw_overlay(image(), shown.labels, shown.objects)
        # As much is written in a corner as in the middle.
        middle = result(0, 0, {1: square(50, 35)})
        there = draw_overlay(image(), middle.labels, middle.objects)
        without = draw_overlay(image(), middle.labels, middle.objects, tags=False)
        written = (tagged != plain).any(axis=2).sum()
        assert written >= 0.9 * (there != without).any(axis=2).sum()

    def test_a_tag_goes_to_the_largest_part(self) -> None:
        split = square(80, 60) | square(2, 2, 3)
        shown, alone = (result(0, 0, {1: mask}) for mask in (split, square(80, 60)))
        tagged = draw_overlay(image(), shown.labels, shown.objects)
        expected = draw_overlay(image(), alone.labels, alone.objects)
        assert np.array_equal(tagged[30:, 30:], expected[30:, 30:])

    def test_any_size_and_any_name(self) -> None:
        for shape in ((1, 1), (5, 300), (300, 5), (64, 64)):
            labels = np.ones(shape, np.uint16)
            thing = ObjectInfo(1, 0, 'Überlänge 球', 1.0, None, True, False)
            picture = np.zeros((*shape, 3), np.uint8)
            drawn = draw_overlay(
                picture, labels, [thing], badge='b', caption='c', corrected_ids=[1])
            assert drawn.shape == picture.shape

    def test_a_tentative_object_has_a_dashed_outline_a_question_mark_and_no_tint(self) -> None:
        mask = square(20, 20, 50)
        sure, ghost = result(0, 0, {7: mask}), result(0, 0, {7: mask}, tentative=(7,))
        solid, dashed = (
            draw_overlay(image(), shown.labels, shown.objects, tags=False)
            for shown in (sure, ghost)
        )
        # Drawn in smooth lines: a pixel of the outline is red enough. Dashes on every side.
        for side in (np.s_[20, 20:70], np.s_[69, 20:70], np.s_[20:70, 20], np.s_[20:70, 69]):
            assert (solid[side][:, 0] > 150).all()
            assert 0.4 < (dashed[side][:, 0] > 150).mean() < 0.75
            assert (dashed[side] == 60).all(axis=1).mean() > 0.2
        assert (dashed[24:66, 24:66] == 60).all() and (solid[24:66, 24:66] != 60).all()
        marked, plain = (
            draw_overlay(image(), shown.labels, shown.objects) for shown in (ghost, sure)
        )
        named = draw_overlay(
            image(), ghost.labels,
            [ObjectInfo(7, 3, 'ball?', 1.0, None, True, False)],
        )
        outside = np.ones(SHAPE, bool)
        outside[17:73, 17:73] = False
        assert np.array_equal(marked[outside], named[outside])
        assert not np.array_equal(marked[outside], plain[outside])

    def test_small_pictures_are_enlarged_by_whole_factors(self) -> None:
        assert [enlargement(shape) for shape in ((720, 1280), (480, 480), (256, 300), (9, 9))] == [
            1, 1, 2, 4]
        big, labels = enlarged(image(), square(10, 10).astype(np.uint16) * 300)
        assert big.shape == (360, 480, 3) and labels.shape == (360, 480)
        assert set(np.unique(labels)) == {0, 300}

    def test_needs_no_torch(self) -> None:
        # The ROS node draws with it in a thread that has nothing to do with the model.
        script = 'import sys, detsam2_ros.media.overlay; print("torch" in sys.modules)'
        done = subprocess.run(
            [sys.executable, '-c', script], cwd=Path(__file__).resolve().parents[2],
            capture_output=True, text=True, timeout=60, check=True,
        )
        assert done.stdout.strip() == 'False'


class TestTimeline:
    def test_frames_leave_in_order_once_they_are_before_the_horizon(self) -> None:
        timeline = Timeline()
        for index in range(4):
            timeline.add_frame(index, image(index), index * 1000)
        firsts = [result(index, 0, {1: square(10, 10)}) for index in range(4)]
        assert timeline.add_results(firsts, horizon=0) == []
        corrections = [result(1, 1, {1: square(14, 10)}), result(2, 1, {1: square(10, 11)})]
        done = timeline.add_results(corrections, horizon=2)
        assert [settled.index for settled in done] == [0, 1] and len(timeline) == 2
        assert done[0].first is done[0].last and done[0].corrected == ()
        assert (done[1].first.revision, done[1].last.revision) == (0, 1)
        assert done[1].corrected == (1,) and (done[1].image == 1).all()
        assert [record['final'] for record in done[1].records] == [False, True]
        rest = timeline.drain(final=False)
        assert [settled.index for settled in rest] == [2, 3] and len(timeline) == 0
        assert [record['final'] for record in rest[0].records] == [False, False]

    def test_frames_without_masks_do_not_come_out(self) -> None:
        timeline = Timeline()
        for index in range(3):
            timeline.add_frame(index, image(), index)
        timeline.add_results([result(0, 0, {})], horizon=0)
        assert [settled.index for settled in timeline.drain(final=False)] == [0]

    def test_states_as_known_in_the_end_and_what_was_withdrawn(self) -> None:
        timeline = Timeline()
        for index in range(3):
            timeline.add_frame(index, image(), index)
        ball, ghost = square(10, 10), square(60, 50)
        timeline.add_results(
            [result(i, 0, {1: ball, 2: ghost}, tentative=(1, 2)) for i in range(2)], horizon=0)
        done = timeline.add_results(
            [result(1, 1, {1: ball}, withdrawn=(2,)), result(2, 0, {1: ball})], horizon=3)
        assert [settled.withdrawn for settled in done] == [(), (2,), ()]
        states = [
            [[obj['state'] for obj in record['objects']] for record in settled.records]
            for settled in done
        ]
        assert states == [
            [['confirmed', 'tentative']], [['tentative', 'tentative'], ['confirmed']],
            [['confirmed']]]
        assert [[record['withdrawn_ids'] for record in each.records] for each in done] == [
            [[]], [[], [2]], [[]]]
        assert [obj.state.name for obj in done[0].last.objects] == ['CONFIRMED', 'TENTATIVE']
        assert [obj.state.name for obj in done[0].first.objects] == ['TENTATIVE', 'TENTATIVE']
        assert 'withdrawn 2 ball' in make_highlight(done[1]).title
        summary = Summary()
        for settled in done[1:]:
            summary.add_settled(settled)
        assert summary.withdrawn == {2} and '; 1 more shown and withdrawn' in summary.text()

    def test_notable_changes(self) -> None:
        before = result(0, 0, {1: square(10, 10), 2: square(50, 50), 3: NOTHING, 4: square(80, 5)})
        slightly = square(10, 10)
        slightly[10, 10] = False
        after = result(0, 1, {1: slightly, 2: NOTHING, 3: square(30, 60), 5: NOTHING})
        # 1 by a pixel only; 2 vanished, 3 appeared, 4 is gone altogether, 5 was never there.
        assert notable_changes(before, after) == (2, 3, 4)
        assert notable_changes(before, before) == ()


class TestSheet:
    def settled(self):
        timeline = Timeline()
        timeline.add_frame(0, image(), 0)
        timeline.add_results([result(0, 0, {1: square(10, 10)})], horizon=0)
        done = timeline.add_results([result(0, 1, {1: square(60, 50)})], horizon=1)
        return done[0]

    def test_rows_show_where_it_changed(self) -> None:
        settled = self.settled()
        x0, y0, x1, y1 = changed_region(settled)
        assert 0 <= x0 <= 10 and 0 <= y0 <= 10 and 80 <= x1 <= 120 and 70 <= y1 <= 90
        row = correction_row(settled)
        assert len({picture.shape for picture in row}) == 1 and len(row) == 3
        assert not np.array_equal(row[1], row[2])
        sheet = contact_sheet([row, row], ('a', 'b', 'c'), ('first', 'second'), tile_width=100)
        assert sheet.shape[1] == 3 * 108 + 8 and sheet.dtype == np.uint8
        assert side_by_side(row, 50).shape[1] == 3 * 50 + 2 * 8

    def test_best_are_few_and_lie_apart(self) -> None:
        best: Best[int] = Best(3, apart=10)
        for index in range(1000):
            best.offer(index % 137, index, lambda index=index: index)
        chosen = best.items()
        assert len(chosen) == 3 and chosen == sorted(chosen)
        assert min(b - a for a, b in zip(chosen, chosen[1:], strict=False)) >= 10
        assert all(index % 137 == 136 for index in chosen)
        neighbours: Best[str] = Best(2, apart=10)
        for index, score in ((9, 5), (10, 6), (30, 1)):
            neighbours.offer(score, index, lambda index=index: str(index))
        assert neighbours.items() == ['10', '30']


class TestSummary:
    def test_runs_of_an_object(self) -> None:
        presence = Presence('ball')
        for index in (3, 4, 5, 9, 10):
            presence.see(index)
        assert presence.runs == [[3, 5], [9, 10]] and presence.frames == 5

    def test_an_empty_run_has_a_summary_too(self) -> None:
        text = Summary().text()
        assert 'frames           0' in text
