# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Identity measures: by hand, and equal to TrackEval's own KITTI MOTS evaluation of files."""

from __future__ import annotations

import contextlib
import functools
import io
import operator
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from segmented import NAMES, SIZE, frame, mask, random_pair, video, with_other_ids

from detsam2_ros.quality import formats
from detsam2_ros.quality.alignment import MeasureError, of_class
from detsam2_ros.quality.identity import Identity, identity
from detsam2_ros.quality.segments import SegmentedVideo

A, B = (0, 0, 10, 10), (20, 20, 30, 30)


def trackeval_of(pairs: list[tuple[SegmentedVideo, SegmentedVideo]], folder: Path) -> Any:
    """Run TrackEval's KITTI MOTS evaluation on files of some videos; returns its results."""
    trackeval = pytest.importorskip('trackeval', reason='needs requirements-oracles.txt')
    formats.write_kitti_mots([truth for truth, _ in pairs], folder / 'truth' / 'label_02')
    formats.write_kitti_mots([own for _, own in pairs], folder / 'trackers' / 'ours' / 'data')
    quiet = {'PRINT_CONFIG': False}
    dataset = trackeval.datasets.KittiMOTS({
        'GT_FOLDER': str(folder / 'truth'), 'TRACKERS_FOLDER': str(folder / 'trackers'),
        'SEQ_INFO': {truth.name: len(truth.frames) for truth, _ in pairs}, **quiet,
    })  # fmt: skip
    evaluator = trackeval.Evaluator({
        'PRINT_RESULTS': False, 'TIME_PROGRESS': False, 'OUTPUT_SUMMARY': False,
        'OUTPUT_DETAILED': False, 'PLOT_CURVES': False, 'LOG_ON_ERROR': None, **quiet,
    })  # fmt: skip
    metrics = trackeval.metrics
    with contextlib.redirect_stdout(io.StringIO()):
        results, _ = evaluator.evaluate(
            [dataset], [metrics.HOTA(), metrics.CLEAR(quiet), metrics.Identity(quiet)]
        )
    return results['KittiMOTS']['ours']


def values(own: Identity) -> dict[str, float]:
    return {
        'HOTA': own.hota, 'DetA': own.deta, 'AssA': own.assa, 'LocA': own.loca,
        'IDF1': own.idf1, 'MOTA': own.mota, 'sMOTA': own.smotsa, 'IDSW': own.switches,
    }  # fmt: skip


def test_measures_are_those_of_trackeval_on_exported_files(tmp_path: Path) -> None:
    """Of each class and video, with ignored pixels, and of the videos together."""
    pairs = [random_pair(seed, ignored=seed % 2 == 1) for seed in range(4)]
    results = trackeval_of(pairs, tmp_path)
    for name in NAMES.values():
        own = {
            truth.name: identity(of_class(truth, name), of_class(shown, name))
            for truth, shown in pairs
        }
        own['COMBINED_SEQ'] = functools.reduce(operator.add, own.values())
        for video_name, each in own.items():
            other = results[video_name][name]
            found = {k: v for metric in other.values() for k, v in metric.items()}
            expected = {key: float(np.mean(found[key])) for key in values(each)}
            assert values(each) == pytest.approx(expected, abs=1e-6), (name, video_name)
            assert 0.1 < each.hota < 0.9


@pytest.mark.parametrize(
    ('shown', 'expected'),
    [
        # Two things on two frames, seen as they are.
        ([{1: A, 2: B}, {1: A, 2: B}],
         {'HOTA': 1, 'DetA': 1, 'AssA': 1, 'LocA': 1, 'IDF1': 1, 'MOTA': 1, 'sMOTA': 1}),
        # One has another id on the second frame: AssA = (1 + 1 + 1/2 + 1/2) / 4.
        ([{1: A, 2: B}, {1: A, 3: B}],
         {'HOTA': 0.75**0.5, 'DetA': 1, 'AssA': 0.75, 'LocA': 1, 'IDF1': 0.75, 'MOTA': 0.75,
          'sMOTA': 0.75, 'IDSW': 1}),
        # One is missed: DetA = 2 / 4, and IDF1 = 2 / (2 + 1).
        ([{1: A}, {1: A}],
         {'HOTA': 0.5**0.5, 'DetA': 0.5, 'AssA': 1, 'LocA': 1, 'IDF1': 2 / 3, 'MOTA': 0.5,
          'sMOTA': 0.5}),
        # One has IoU 0.7: a match up to that threshold, 14 of 19.
        ([{1: A, 2: (20, 20, 30, 27)}] * 2, {'MOTA': 1, 'sMOTA': 0.85, 'IDF1': 1}),
        ([{}, {}], {'HOTA': 0, 'DetA': 0, 'AssA': 0, 'LocA': 1, 'IDF1': 0, 'MOTA': 0, 'sMOTA': 0}),
    ],
)  # fmt: skip
def test_by_hand(shown: Any, expected: dict[str, float]) -> None:
    own = identity(video([{1: A, 2: B}] * 2), video(shown))
    assert values(own) == pytest.approx({'IDSW': 0, **values(own), **expected})


def test_what_finds_a_thing_counts_though_it_lies_in_ignored_pixels() -> None:
    truth = SegmentedVideo('clip', SIZE, {0: frame({1: A}, mask((0, 0, 20, 10)))})
    counts = identity(truth, video([{5: A, 6: (12, 0, 20, 8), 7: B}]))
    assert counts.clear[:3].tolist() == [1, 0, 1], '6 lies there and finds nothing'


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_ids_do_not_matter_and_the_truth_is_perfect(seed: int, random: Any) -> None:
    truth, shown = random_pair(seed, frames=5, things=4)
    renamed = with_other_ids(shown, random)
    assert values(identity(truth, renamed)) == pytest.approx(values(identity(truth, shown)))
    if any(own.segments for own in truth.frames.values()):
        assert set(values(identity(truth, truth)).values()) == {1.0, 0}


def test_a_missing_library_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'motrics', None)
    with pytest.raises(MeasureError, match=r'^HOTA, .* need the package motrics: pip install mot'):
        identity(video([{1: A}]), video([{1: A}]))
