# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""J and F: by hand, equal to two libraries' own evaluations, and what must not change them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as rle
from segmented import SIZE, frame, mask, random_pair, to_labels, video, with_other_ids

from detsam2_ros.quality import formats
from detsam2_ros.quality.regions import Regions, boundary_f, regions
from detsam2_ros.quality.segments import SegmentedVideo
from detsam2_ros.results.masks import Mask

A, B = (0, 0, 10, 10), (20, 20, 30, 30)


def test_equal_to_vos_benchmark_on_exported_files(tmp_path: Path) -> None:
    """Its command pairs things by id, and counts a thing from the frame on that first has it.

    So the ids here are those of the truth, and the first frame has all things.
    """
    benchmark = pytest.importorskip('vos_benchmark.benchmark', reason='requirements-oracles.txt')
    pairs, total = [], Regions()
    for seed in range(3):
        truth, _ = random_pair(seed)
        every = frame({id_: (6 * id_, 0, 6 * id_ + 5, 5) for id_ in range(1, 7)})
        truth = replace(truth, frames={0: every, **{n + 1: o for n, o in truth.frames.items()}})
        shown = jittered(truth, seed)
        pairs.append((truth, shown))
        total += regions(truth, shown)
    formats.write_davis([truth for truth, _ in pairs], tmp_path / 'truth')
    formats.write_davis([shown for _, shown in pairs], tmp_path / 'shown')
    (jf,), (j,), (f,), _ = benchmark.benchmark(
        [str(tmp_path / 'truth')], [str(tmp_path / 'shown')], num_processes=1, verbose=False,
        skip_first_and_last=False,
    )  # fmt: skip
    assert (total.jf, total.j, total.f) == pytest.approx((jf / 100, j / 100, f / 100), abs=1e-6)
    assert 0.3 < total.j < 0.9 and 0.3 < total.f < 0.99


def jittered(truth: SegmentedVideo, seed: int) -> SegmentedVideo:
    """Shift every mask by a pixel, and drop some."""
    rng = np.random.default_rng(seed)
    frames = {}
    for number, own in truth.frames.items():
        moved = np.roll(to_labels(own), tuple(rng.integers(-1, 2, 2)), (0, 1))
        kept = [id_ for id_ in np.unique(moved) if id_ and rng.random() < 0.9]
        frames[number] = frame({int(id_): Mask.of(moved == id_) for id_ in kept})
    return SegmentedVideo(truth.name, truth.size, frames, truth.class_names)


@pytest.mark.parametrize('seed', range(6))
def test_pairs_and_values_are_those_of_trackeval(seed: int) -> None:
    """TrackEval's J&F of DAVIS unsupervised, which pairs things by J over the whole video."""
    trackeval = pytest.importorskip('trackeval', reason='needs requirements-oracles.txt')
    truth, shown = random_pair(seed, things=2 + seed)

    def side(one: SegmentedVideo) -> tuple[list[np.ndarray], list[Any], int]:
        order = sorted({s.id for own in one.frames.values() for s in own.segments})
        ids = [np.array([order.index(s.id) for s in own.segments], int)
               for own in one.frames.values()]  # fmt: skip
        masks = [[rle.encode(np.asfortranarray(s.mask.pixels().astype(np.uint8)))
                  for s in own.segments] for own in one.frames.values()]  # fmt: skip
        return ids, masks, len(order)

    true, said = side(truth), side(shown)
    other = trackeval.metrics.JAndF().eval_sequence({
        'num_timesteps': len(truth.frames), 'gt_ids': true[0], 'gt_dets': true[1],
        'num_gt_ids': true[2], 'tracker_ids': said[0], 'tracker_dets': said[1],
        'num_tracker_ids': said[2],
    })  # fmt: skip
    own = regions(truth, shown)
    expected = (other['J-Mean'], other['F-Mean'], other['J&F'])
    assert (own.j, own.f, own.jf) == pytest.approx(expected, abs=1e-6)


def test_by_hand() -> None:
    truth = video([{1: A, 2: B}, {1: A}])
    # Thing 1 is half covered on the first frame; thing 2 is never shown, and absent on one frame.
    shown = video([{7: (0, 0, 10, 5)}, {7: A}])
    own = regions(truth, shown)
    assert own.regions == pytest.approx((0.75, 0.5))
    assert own.boundaries[1] == 0.5 and 0.5 < own.boundaries[0] < 1
    assert own.j == pytest.approx(0.625) and own.jf == pytest.approx((own.j + own.f) / 2)
    assert np.isnan(regions(video([{}]), video([{1: A}])).jf), 'no true thing, nothing to score'


@pytest.mark.parametrize(
    ('shown', 'expected'),
    [
        (B, 1.0),
        ((20, 20, 30, 29), 1.0),  # within ceil(0.008 * 62.5) = 1 pixel
        # The near side is 2 pixels off: 11 of 40 true pixels agree with nothing, 7 of 36 shown.
        ((20, 20, 30, 28), 2 * 29 / (40 + 36)),
        ((5, 5, 15, 15), 0.0),
    ],
)
def test_boundaries_that_nearly_meet_agree(shown: Any, expected: float) -> None:
    assert boundary_f(mask(B), mask(shown)) == pytest.approx(expected)


def test_ignored_pixels_count_neither_for_nor_against() -> None:
    region = mask((10, 0, 20, 10))
    truth = SegmentedVideo('clip', SIZE, {0: frame({1: A}, region)})
    spilled = video([{5: (0, 0, 20, 10)}])
    assert regions(truth, spilled).jf == 1.0
    assert regions(video([{1: A}]), spilled).j == 0.5


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_ids_do_not_matter_and_the_truth_is_perfect(seed: int, random: Any) -> None:
    truth, shown = random_pair(seed, frames=5, things=4)
    renamed = with_other_ids(shown, random)
    assert regions(truth, renamed).j == pytest.approx(regions(truth, shown).j)
    perfect = regions(truth, truth)
    assert set(perfect.regions + perfect.boundaries) == {1.0}
