# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The study of banks: what is planned, what is chosen, and the tables of made-up runs."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bank_cases import entry
from fakes import Run, ScriptedDetector, disc_box
from stream_cases import USUAL, film

from benchmarks.harness import pages
from benchmarks.quality import bank_tables, banks
from benchmarks.quality.bank_scenes import pick
from benchmarks.quality.clips import played
from detsam2_ros.results.masks import Mask

ROOT = Path(__file__).resolve().parents[2]


def planned(**options: object) -> list[banks.Job]:
    given = {'clips': 2, 'looks': 1, 'frames': 40, 'quick': False, **options}
    return list(banks.planned(argparse.Namespace(**given)))


def found(job: banks.Job) -> dict:
    """Make up a run: IoU grows with entries, absent objects show up on a quarter of frames."""
    iou = 0.9 if job.choice == 'detector' else 0.03 * job.entries
    sums = {'ious': 100 * iou, 'balls': 100, 'found': int(100 * iou), 'wrong': 10, 'false': 20,
            'absent': 80, 'false_objects': 1, 'absent_objects': 2}  # fmt: skip
    tracked = 240
    return {
        **{f'{name}_{key}': value for name in ('first', 'final') for key, value in sums.items()},
        'tracked': tracked, 'seconds': tracked * (0.02 + 0.001 * job.entries),
        'entry_bytes': 33_000,
    }  # fmt: skip


def test_no_run_is_planned_twice_and_a_line_of_a_file_is_a_run(tmp_path: Path):
    jobs = planned()
    assert len(set(jobs)) == len(jobs) > 50
    file = tmp_path / 'runs.jsonl'
    file.write_text(json.dumps({**asdict(jobs[0]), 'final_iou': 0.5}) + '\n')
    assert banks.journal(file).lines == {jobs[0]: {**asdict(jobs[0]), 'final_iou': 0.5}}
    assert len(planned(quick=True)) == 4


def test_tables_say_what_the_runs_say():
    rows = [{**asdict(job), **found(job)} for job in planned()]
    text = bank_tables.entries_table(rows)
    assert '| same table | detector | - | 2 | 0.900 | 1.00 | 90% | 10% | 25% |' in text
    assert '| other table | curated | 8 | 2 | 0.240 | 0.27 | 24% | 10% | 25% |' in text
    assert '| same table | 0.95 | 10 | 0.240 | 0.240 |' in bank_tables.gates_table(rows)
    entry_ms, object_ms, size = bank_tables.cost(rows)
    assert (entry_ms, object_ms, size) == pytest.approx((1.0, 20.0, 33_000))


def test_a_page_takes_every_table(tmp_path: Path):
    rows = [{**asdict(job), **found(job)} for job in planned()]
    page = tmp_path / 'banks.md'
    page.write_text((ROOT / 'docs' / 'measured' / 'banks.md').read_text('utf-8'), 'utf-8')
    pages.write(page, bank_tables.tables(rows))
    bank_tables.plot(rows, tmp_path / 'banks.png')
    assert 'an entry costs 1.0 ms' in page.read_text('utf-8')
    once = page.read_text('utf-8')
    pages.write(page, bank_tables.tables(rows))
    assert page.read_text('utf-8') == once and (tmp_path / 'banks.png').stat().st_size > 1000


def test_choosing_is_the_same_every_time():
    pool = [entry('cup', stamp, stamp) for stamp in range(10)]
    curated = [e.stamp for e in pick(pool, 4, 'curated')]
    assert len(set(curated)) == 4 and 9 in curated  # the newest
    drawn = [[e.stamp for e in pick(pool, 4, f'random {seed}')] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert pick(pool, 20, 'curated') == pool


def test_a_mask_counts_under_its_own_class():
    labels = np.zeros((4, 4), int)
    labels[:2] = 7
    frame = argparse.Namespace(
        ids=np.array([7]), class_ids=np.array([2]), visible_fraction=np.array([1.0]), labels=labels
    )
    right, wrong = Mask.of(labels == 7), Mask.of(labels == 0)
    told = banks.tallied('x', [frame] * 3, [{2: [right]}, {2: [wrong], 5: [right]}, {}], [5])
    assert (told['x_ious'], told['x_found'], told['x_wrong'], told['x_balls']) == (1.0, 1, 1, 3)
    assert (told['x_false'], told['x_absent'], told['x_false_objects']) == (1, 3, 1)


@pytest.mark.parametrize(('mode', 'waits'), [('window', [3, 2, 1, 0, 3, 2, 1, 0, 1, 0]),
                                             ('online', [0] * 10)])  # fmt: skip
def test_a_clip_is_kept_as_first_published_and_in_the_end(mode: str, waits: list[int]):
    shown = [SimpleNamespace(image=image, index=150 + i) for i, image in enumerate(film(10))]
    detector = ScriptedDetector(lambda i: [(0, disc_box(12 + i, 24))] if i else [], 4)
    run = Run(detector, **{**USUAL, 'mode': mode})
    clip = played(run.stream, shown)
    assert clip.waits == waits
    assert list(clip.first) == list(clip.final) == list(range(10))
    assert {result.revision for result in clip.first.values()} == {0}
    assert not clip.first[2].objects and [o.id for o in clip.final[2].objects] == [1]
