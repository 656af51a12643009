# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The command evaluate: its table, JSON and page, and what it says to what it cannot use."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segmented import NAMES, SIZE, frame, random_pair, revised, video

from detsam2_ros.cli.evaluate.main import lags_of, main
from detsam2_ros.media.video import InputError
from detsam2_ros.quality import formats
from detsam2_ros.quality.evaluation import MEASURES, curve_lags, evaluate, paired
from detsam2_ros.quality.formats.revisions import RevisionsWriter
from detsam2_ros.quality.segments import RevisedVideo, SegmentedVideo

A, B, CLOTH = (0, 0, 10, 10), (20, 20, 30, 30), (30, 0, 38, 8)
HALF = (0, 0, 10, 4)


def write_revisions(path: Path, *videos: RevisedVideo) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with RevisionsWriter(path) as writer:
        for one in videos:
            writer.begin(one.name, one.size)
            for revision in one.revisions:
                writer.take(revision, one.class_names, None)
            writer.end()
    return path


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, Path]:
    """Write results of two frames that are corrected, and their truth; returns both."""
    truth = video([{1: A, 2: B}, {1: A, 2: B}], 'cups')
    said = revised(
        (0, 0, {7: HALF, 9: CLOTH}), (1, 1, {7: A, 8: B}), (0, 4, {7: A}), (0, 12, {7: A, 8: B}),
        (1, 12, {7: A, 8: B}), name='cups',
    )  # fmt: skip
    formats.write_kitti_mots([truth], tmp_path / 'truth')
    return write_revisions(tmp_path / 'out' / 'revisions.jsonl', said), tmp_path / 'truth'


def run(*arguments: object) -> int:
    return main([*map(str, arguments), '-q'])


def test_it_prints_each_measure_at_each_lag(clip: Any, capsys: Any) -> None:
    results, truth = clip
    assert run(results, '--truth', truth) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'cups: 2 things, 2 frames' and lines[1].split() == [
        'lag', '0', 'lag', '10', 'final']  # fmt: skip
    rows = {line[:17].strip(): line[17:].strip() for line in lines[2:]}
    # J as first published: thing 1 has 0.4 and 1, thing 2 has 0 and 1.
    assert rows['J'].split() == ['0.600', '0.750', '1.000']
    # 4 true masks: 2 are found at first, beside 2 false ones; 3 are found at lag 10.
    assert rows['MOTA'].split() == ['0.000', '0.750', '1.000']
    assert rows['IDF1'].split() == ['0.500', '0.857', '1.000']
    assert rows['gain'] == '+0.400 IoU, found 50.0% at first and 100.0% in the end'
    assert rows['regret'] == '0.00% of true pixels, 0.00% of masks'
    # 4 masks at first, then one changed and one new; 40 + 64 + 200, 60 + 64 taken back, 100.
    assert rows['edit overhead'].startswith('1.50 masks and 1.32 pixels')
    assert rows['time to correct'] == (
        '2 of 2 masks wrong at first, after 8 frames (median; p95 12)')  # fmt: skip
    assert rows['ghost frames'] == '1 shown, 1 withdrawn, 0 left'
    assert rows['age at finality'] == '12 frames (median; at most 12)'


def test_json_and_page_say_the_same(clip: Any, tmp_path: Path, capsys: Any) -> None:
    results, truth = clip
    files = '--json', tmp_path / 'q.json', '--html', tmp_path / 'q.html'
    assert run(results, '--truth', truth, '--lags', 'final,0', *files) == 0
    (report,) = json.loads((tmp_path / 'q.json').read_text())['reports']
    assert list(report['lags']) == ['0', 'final'] and report['name'] == 'cups'
    assert report['lags']['0']['J'] == 0.6 and report['lags']['final']['HOTA'] == 1.0
    assert (report['gain'], report['ghosts_withdrawn'], report['corrected']) == (0.4, 1, 2)
    page = (tmp_path / 'q.html').read_text('utf-8')
    assert '<td>J</td><td>0.600</td><td>1.000</td>' in page
    assert len(re.findall('data:image/png;base64', page)) == 1
    assert not re.search(r'(src|href)="(?!data:)', page), 'the page is self-contained'


def test_videos_are_scored_by_themselves_together_and_by_class(
    tmp_path: Path, capsys: Any
) -> None:
    """The measures of DAVIS and KITTI MOTS over several videos, of results in those formats."""
    pairs = [random_pair(seed) for seed in range(2)]
    formats.write_kitti_mots([truth for truth, _ in pairs], tmp_path / 'truth')
    formats.write_kitti_mots([shown for _, shown in pairs], tmp_path / 'shown')
    given = tmp_path / 'shown', '--truth', tmp_path / 'truth', '--json', tmp_path / 'q.json'
    assert run(*given, '--by-class', '--format', 'kitti-mots') == 0
    reports = json.loads((tmp_path / 'q.json').read_text())['reports']
    assert [own['name'] for own in reports] == [
        'all videos', '0000', '0001', 'class car', 'class pedestrian'
    ]  # fmt: skip
    whole, first, second, *classes = reports
    count = [len({s.id for f in t.frames.values() for s in f.segments}) for t, _ in pairs]
    mean = np.average([first['lags']['0']['J'], second['lags']['0']['J']], weights=count)
    assert whole['lags']['0']['J'] == pytest.approx(mean, abs=1e-5), 'a mean over things'
    assert whole['object_frames'] == sum(own['object_frames'] for own in classes)
    assert whole['lags']['0'] == whole['lags']['final'], 'one view has no revisions'
    assert run(*given, '--video', '0001') == 0
    (one,) = json.loads((tmp_path / 'q.json').read_text())['reports']
    assert one == second


def test_a_truth_with_nothing_in_it_is_no_success(clip: Any, tmp_path: Path, capsys: Any) -> None:
    empty = SegmentedVideo('cups', SIZE, {0: frame({}), 1: frame({})}, NAMES)
    formats.write_davis([empty], tmp_path / 'empty')
    assert run(clip[0], '--truth', tmp_path / 'empty', '--html', tmp_path / 'q.html') == 1
    captured = capsys.readouterr()
    assert 'has nothing to find in it' in captured.err
    assert re.search(r'J +- +- +-\n', captured.out)


@pytest.mark.parametrize(
    ('truth', 'options', 'message'),
    [
        (video({7: {1: A}}, 'cups'), (), r"out/revisions.jsonl against \S+: video 'cups': results "
         'of frames 0 to 1 and truth of frames 7 to 7 share no frame: both must count frames fro'),
        (SegmentedVideo('cups', (20, 20), {0: frame({})}), (), 'the truth is 20x20, the results '
         'are 48x40: give results at the size of the truth'),
        (video([{1: A}], 'cups'), ('--video', 'mugs'), "the truth has no video 'mugs'; it has 'c"),
        (video([{1: A}], 'cups'), ('--lags', '0,K'), "--lags: 'K' is neither a number of frames"),
        (video([{1: A}], 'cups'), ('--format', 'scene'), r'--format scene: \S+ is none; give sc'),
        (video([{1: A}], 'cups'), ('--lags', ','), '--lags names none'),
        (video([{1: A}], 'cups'), ('--json', 'no/q.json'), '--json no/q.json: there is no such'),
        (video([{1: A}], 'cups'), ('--html', '.'), '--html . cannot be written'),
        (video([{1: A}], 'cups'), ('--json', 'q', '--html', './q'), '--json and --html both name'),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_sentence(
    clip: Any, tmp_path: Path, capsys: Any, truth: SegmentedVideo, options: Any, message: str
) -> None:
    formats.write_davis([truth], tmp_path / 'other')
    assert run(clip[0], '--truth', tmp_path / 'other', *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('evaluate: ') and re.search(message, line), line


def test_frames_of_which_nothing_was_said_are_missed_and_mentioned(
    clip: Any, tmp_path: Path, capsys: Any, caplog: Any
) -> None:
    formats.write_davis([video([{1: A}] * 4, 'cups')], tmp_path / 'longer')
    assert run(clip[0], '--truth', tmp_path / 'longer') == 0
    assert "video 'cups': nothing was ever said of 2 of the 4 frames of the truth" in caplog.text
    assert 'found 25.0% at first and 50.0% in the end' in capsys.readouterr().out


def test_results_that_count_from_one_are_suspected(
    clip: Any, tmp_path: Path, caplog: Any
) -> None:
    formats.write_kitti_mots([video({1: {1: A}, 2: {1: A}}, 'cups')], tmp_path / 'one')
    (tmp_path / 'one.detsam2.json').unlink()
    assert run(tmp_path / 'one', '--truth', clip[1]) == 0
    assert "video 'cups': the results show nothing on the first frame of the truth" in caplog.text
    caplog.clear()
    assert run(*clip[:1], '--truth', clip[1]) == 0
    assert not caplog.records


def test_a_run_is_no_truth(clip: Any, tmp_path: Path, capsys: Any) -> None:
    results, truth = clip
    assert run(truth, '--truth', results.parent) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'out is what segment_video wrote, and no truth; if it is the results, name it' in line


@pytest.mark.parametrize(('sink', 'status', 'says'), [
    ('/dev/full', 2, 'evaluate: the figures cannot be printed: No space left on device\n'),
    (None, 0, ''),
])  # fmt: skip
def test_an_output_that_is_full_or_closed(
    clip: Any, sink: str | None, status: int, says: str
) -> None:
    if sink is not None and not Path(sink).exists():
        pytest.skip(f'there is no {sink}')
    command = [sys.executable, '-m', 'detsam2_ros.cli.evaluate', clip[0], '--truth', clip[1], '-q']
    with contextlib.ExitStack() as stack:
        if sink is not None:
            out = stack.enter_context(open(sink, 'w'))
        else:
            read, write = os.pipe()
            os.close(read)
            out = stack.enter_context(os.fdopen(write, 'w'))
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, says)


@pytest.mark.parametrize('place', ['results', 'truth'])
def test_files_that_are_not_there_are_named(place: str, clip: Any, capsys: Any) -> None:
    results, truth = clip
    given = ('none', '--truth', truth) if place == 'results' else (results, '--truth', 'none')
    assert run(*given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('evaluate: ') and 'none' in line


def test_videos_are_paired_by_name_and_missing_ones_are_named() -> None:
    true = [video([{1: A}], name) for name in ('a', 'b')]
    own = [revised((0, 0, {}), name=name) for name in ('b', 'c')]
    with pytest.raises(ValueError, match=r"no video 'a'; they have 'b', 'c': .* --video NAME"):
        paired(true, own)
    assert paired(true, own, ['b']) == [(true[1], own[0])]
    with pytest.raises(ValueError, match="the results have two videos named 'b': give one of"):
        paired(true, [*own, own[0]])
    assert paired(true[:1], own[1:]) == [(true[0], own[1])], 'one of each need no same name'


@pytest.mark.parametrize(
    ('text', 'lags'), [('0,10,final', [0, 10, None]), (' final ,5,0,5', [0, 5, None]), ('3', [3])]
)
def test_lags_are_read_in_order(text: str, lags: list[int | None]) -> None:
    assert lags_of(text) == lags


@pytest.mark.parametrize('text', ['-1', '1.5', 'last', '٣', '9' * 12])
def test_lags_that_are_none_are_named(text: str) -> None:
    with pytest.raises(InputError, match=f"--lags: '{text}' is neither"):
        lags_of(text)


@pytest.mark.parametrize(('reach', 'count'), [(0, 1), (1, 2), (7, 8), (19, 20), (200, 20)])
def test_the_curve_goes_from_the_first_lag_to_the_last(reach: int, count: int) -> None:
    lags = curve_lags([revised((0, 0, {}), (0, reach, {}))])
    assert lags[0] == 0 and lags[-1] == reach and len(lags) <= count + 1
    assert lags == sorted(set(lags))


def test_every_measure_lies_between_nothing_and_1_and_rises_with_corrections() -> None:
    truth, shown = random_pair(3)
    numbers = [(number, number, {}) for number in truth.frames]
    final = [
        (number, number + 9, {s.id: s.mask for s in own.segments})
        for number, own in truth.frames.items()
    ]  # fmt: skip
    own = evaluate(truth, revised(*numbers, *final, name=truth.name), [0, 5, 9, None])
    for name in MEASURES:
        values = own.values(name)
        assert values[9] == values[None] == 1.0
        assert values[0] == values[5] <= 1.0 and (values[0] < 1.0 or name == 'LocA')


def test_a_long_clip_takes_seconds(tmp_path: Path) -> None:
    """150 frames of 9 things at 256 px, each revised twice; a second here, so 15 anywhere."""
    rng = np.random.default_rng(0)
    size, true, said = (256, 256), {}, []
    for number in range(150):
        things = {}
        for thing in range(9):
            x, y = 28 * thing + number % 20, (60 * thing + number) % 220
            things[thing + 1] = (x, y, x + 26, y + 26)
        true[number] = things
        said += [
            (number, number + 10 * place, {
                id_: (x0 + dx, y0, x1 + dx, y1) for id_, (x0, y0, x1, y1) in things.items()
                if rng.random() < 0.9 for dx in [int(rng.integers(0, 3))]
            })
            for place in range(3)
        ]  # fmt: skip
    begin = time.monotonic()
    truth = SegmentedVideo('long', size, {n: frame(own, size=size) for n, own in true.items()})
    own = evaluate(truth, revised(*said, name='long', size=size), [0, 10, None])
    assert time.monotonic() - begin < 15
    assert 0.6 < own.values('J')[None] < 0.95
