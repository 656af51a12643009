# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ours against peers: records, intervals, tables, and that all are driven as is said."""

import functools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness import pages
from benchmarks.quality import peers, sam2_peers
from benchmarks.quality.bootstrap import interval
from benchmarks.quality.peer_clips import CASES, Shown, shown
from benchmarks.quality.peer_records import load, load_truth, of_labels, save, save_truth
from benchmarks.quality.peer_scores import LAGS
from benchmarks.quality.peer_tables import OURS, summary, tables
from detsam2_ros.engine import Detections
from detsam2_ros.quality.segments import RevisedVideo, Revision, SegmentedFrame, SegmentedVideo
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import CLASS_NAMES

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'measured' / 'peers.md'


def frame(*lefts: int) -> SegmentedFrame:
    """Show squares side by side, ids from 1 on, classes from 2 on."""
    labels = np.zeros((20, 30), int)
    for number, left in enumerate(lefts, 1):
        labels[4:9, left : left + 4] = number
    return of_labels(labels, {number: number + 1 for number in range(1, len(lefts) + 1)})


# ---- records
def test_what_was_said_is_read_as_it_was_written(tmp_path):
    said = (
        Revision(0, 0, 3, False, frame(2, 12)),
        Revision(1, 0, 3, True, SegmentedFrame()),
        Revision(0, 1, 9, True, frame(3), frozenset({2, 7})),
    )
    video = RevisedVideo('clip', (20, 30), said, CLASS_NAMES, {0: 9, 1: 3})
    save(tmp_path / 'a' / 'run.npz', video)
    assert load(tmp_path / 'a' / 'run.npz') == video


def test_a_truth_keeps_the_pixels_to_ignore(tmp_path):
    ignored = np.zeros((20, 30), bool)
    ignored[15:, :3] = True
    frames = {0: replace(frame(5), ignored=Mask.of(ignored)), 1: frame(6, 20)}
    video = SegmentedVideo('clip', (20, 30), frames, CLASS_NAMES)
    save_truth(tmp_path / 'truth.npz', video)
    assert load_truth(tmp_path / 'truth.npz') == video


def test_masks_that_overlap_are_refused(tmp_path):
    own = frame(5).segments[0]
    twice = SegmentedFrame((own, replace(own, id=9)))
    video = RevisedVideo('clip', (20, 30), (Revision(0, 0, 0, True, twice),))
    with pytest.raises(ValueError, match='mask of 9 overlaps'):
        save(tmp_path / 'run.npz', video)


# ---- intervals and tables
def test_an_interval_holds_the_mean_and_shrinks_with_the_clips():
    few, many = interval([[0.0, 1.0, 2.0]]), interval([[0.0, 1.0, 2.0] * 12])
    assert few.mean == many.mean == 1.0
    assert few.low < many.low < 1 < many.high < few.high
    assert not few.differs and interval([[0.2, 0.3, 0.1]]).differs
    # A case counts as much as another one, however many clips each has.
    assert interval([[0.0] * 9, [1.0, 1.0]]).mean == 0.5
    assert np.isnan(interval([[3.0]]).low) and not interval([[3.0]]).differs


def row(case: str, method: str, seed: int, final: float, **given: Any) -> dict[str, Any]:
    return {
        'case': case, 'method': method, 'seed': seed, 'jf': [0.5] * (len(LAGS) - 1) + [final],
        'seconds': 8.0, 'encode_s': 2.0, 'length': 100, 'encodings': 250, 'hota': [0.4, 0.5],
        'idf1': [0.1, 0.2], 'smotsa': [0.1, 0.3], 'switches': [4, 1], 'gain': 0.02,
        'lost_pixels': 5, 'true_pixels': 1000, 'regret_masks': 0.01, 'edit_overhead': [2.0, 1.5],
        'ghosts_shown': 7, 'ghosts_left': 2,
    } | given  # fmt: skip


def cells(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table.splitlines()[2:]]
    return {name: rest for name, *rest in rows}


def test_methods_are_compared_on_the_same_clips():
    rows = [row('clean', OURS, seed, 0.9) for seed in range(3)]
    rows += [row('clean', 'sam2 offline', seed, 0.8) for seed in (1, 2)]
    rows += [row('late', OURS, 0, 0.7)]
    rows += [row('clean', 'sam2 offline', 9, 0.1)]  # none of ours
    rows += [row('clean', "report's rule", 9, 0.1)]
    made = tables(rows, list(CASES), list(peers.METHODS))
    different = cells(made['difference'])
    assert different['sam2 offline'] == ['**-10.0** (-10.0 .. -10.0)', '', '']
    assert different["report's rule"] == ['', '', '']
    assert cells(made['final'])[OURS][:2] == ['90.0 (90.0 .. 90.0)', '70.0']
    assert cells(made['first'])[OURS][1] == '50.0'
    assert cells(made['time'])[OURS][:2] == ['100', '100']
    assert cells(made['revisions'])[OURS][6] == '0.50'
    assert cells(made['final'])['clips'] == ['1 .. 3', '1', '']
    assert sorted(pages.names_on(PAGE)) == sorted(made)


def test_the_summary_has_the_methods_that_were_measured_in_all_cases():
    rows = [row('clean', OURS, seed, 0.9) for seed in range(3)] + [row('late', OURS, 0, 0.7)]
    rows += [row('clean', 'sam2 offline', 0, 0.8)]
    made = cells(summary(rows, list(CASES), list(peers.METHODS)))
    assert made == {OURS: ['50.0', '80.0', '50.0', '20.0', '0.50', '100']}
    assert pages.names_on(peers.QUALITY) == ['summary']


# ---- the methods
LENGTH = 24
DROPPED = 10  # on this frame one ball is not detected


@functools.lru_cache(maxsize=1)
def clip() -> Shown:
    """Show three balls of different classes; one is missed on a detection frame."""
    whole = shown('clean', 1_009_001, LENGTH)
    found = dict(whole.found)
    seen = found[DROPPED]
    assert len(set(seen.class_ids.tolist())) == len(seen) == 3
    found[DROPPED] = Detections(seen.boxes[1:], seen.class_ids[1:], seen.scores[1:])
    return Shown(whole.name, whole.film, found)


@functools.lru_cache(maxsize=8)
def said(method: str) -> sam2_peers.Said:
    return peers.METHODS[method](clip())


def ious(one: Iterable[Revision], other: Iterable[Revision]) -> float:
    """Return the mean IoU of each class on each frame, in what was said last."""
    views = [{each.frame: each.shown for each in own} for own in (one, other)]
    assert views[0].keys() == views[1].keys() == set(range(LENGTH))
    found = []
    for index in range(LENGTH):
        masks = [{s.class_id: s.mask for s in view[index].segments} for view in views]
        assert masks[0].keys() == masks[1].keys()
        found += [mask.iou(masks[1][class_id]) for class_id, mask in masks[0].items()]
    return float(np.mean(found))


def test_forward_with_all_boxes_is_what_the_engine_says_first():
    first = [each for each in said('ours, online, exact').revisions if each.revision == 0]
    assert ious(first, said('sam2 forward, all boxes').revisions) > 0.99


def test_backward_is_the_engine_in_mode_window():
    own, other = said('ours, window, exact'), said('sam2 backward')
    assert own.settled == other.settled
    assert ious(own.revisions, other.revisions) > 0.99


def test_the_reports_rule_conditions_who_is_missed_as_absent_for_good():
    missed = int(shown('clean', 1_009_001, LENGTH).found[DROPPED].class_ids[0])
    classes = {}
    for method in ("report's rule", 'sam2 backward'):
        last = {each.frame: each.shown for each in said(method).revisions}
        classes[method] = {s.class_id for s in last[DROPPED].segments}
    assert classes['sam2 backward'] - classes["report's rule"] == {missed}


def test_offline_is_said_once_when_the_clip_is_over():
    for method in ('sam2 offline', 'sam2 offline, true ids'):
        own = said(method)
        assert [each.frame for each in own.revisions] == list(range(LENGTH))
        assert {each.newest for each in own.revisions} == {LENGTH - 1}
    assert ious(said('sam2 offline').revisions, said('sam2 offline, true ids').revisions) > 0.99


def test_a_false_box_is_a_thing_of_its_own():
    own = clip()
    found = own.found[0]
    boxes = np.concatenate([found.boxes, found.boxes[:1] + 3])
    ids = np.append(found.class_ids, found.class_ids[0])
    more = Detections(boxes, ids, np.ones(len(boxes)))
    owners = Shown(own.name, own.film, {0: more}).owners(0)
    assert owners[:3] == own.film[0].ids.tolist() and owners[3] > 100
