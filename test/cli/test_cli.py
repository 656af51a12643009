# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""segment_video from the command line to its files, on small drawn videos."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cli_cases
import fakes
import numpy as np
import pytest
from cli_cases import (
    FRAMES,
    SIZE,
    SMALL,
    drawn,
    frames_of,
    late_detector,
    mask_of,
    records_of,
    red_box,
    use_engine,
)  # fmt: skip

from detsam2_ros.cli import options, segment_video
from detsam2_ros.engine import MemoryBank, load_sam2
from oracle import random_sam2

ROOT = Path(__file__).resolve().parents[2]

video, folder, engine = cli_cases.video, cli_cases.folder, cli_cases.engine


def test_a_video_becomes_masks_objects_overlay_and_report(engine, video, tmp_path, capsys) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(video), '-o', str(out), *SMALL]) == 0
    assert engine[0].stats().frames == engine[0].stats().encodings == FRAMES
    assert sorted(path.name for path in out.iterdir()) == [
        'masks', 'objects.jsonl', 'overlay.mp4', 'report.html']

    names = sorted(path.name for path in (out / 'masks').iterdir())
    assert names == [f'{index:06d}.png' for index in range(FRAMES)]
    for index in range(FRAMES):
        mask = mask_of(out, index)
        assert mask.dtype == np.uint16 and mask.shape == SIZE[::-1]
        # The final masks have both discs on all frames, also on those before red was detected.
        assert set(np.unique(mask)) == {0, 1, 2}
        for key, colour in ((1, 'green'), (2, 'red')):
            assert fakes.iou(mask == key, fakes.colour_mask(drawn(index), colour)) > 0.6

    overlay = frames_of(out / 'overlay.mp4')
    assert len(overlay) == FRAMES
    assert capsys.readouterr().out == ''  # --quiet


def test_objects_come_one_line_a_frame_and_revision(engine, video, tmp_path) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(video), '-o', str(out), '--mode', 'window', *SMALL]) == 0
    records = records_of(out)
    keys = [(record['frame'], record['revision']) for record in records]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    assert [key for key, revision in keys if revision == 0] == list(range(FRAMES))
    stamps = [round(index * 1e9 / 20) for index in range(FRAMES)]
    for i, record in enumerate(records):
        assert set(record) == {
            'frame', 'stamp', 'revision', 'final', 'newest', 'changed_ids', 'withdrawn_ids',
            'objects'}
        assert abs(record['stamp'] - stamps[record['frame']]) < 1000
        last = i + 1 == len(records) or records[i + 1]['frame'] != record['frame']
        assert record['final'] == last
        assert record['newest'] >= record['frame']
        for obj in record['objects']:
            assert set(obj) == {
                'id', 'class_id', 'class_name', 'score', 'box', 'visible', 'conditioned',
                'state'}
            assert obj['state'] == 'confirmed'
            assert obj['visible'] == (obj['box'] is not None)
    by_frame = {record['frame']: record for record in records}  # the last revision of each
    # Red was first detected at frame 10, the newest of its window (frames 6 to 10), whose pass
    # reached back to frame 0.
    at_once = [record for record in records if record['newest'] == 10 and record['revision']]
    assert [record['frame'] for record in at_once] == list(range(6))
    assert all(record['changed_ids'] == [2] for record in at_once)
    assert (
        by_frame[10]['objects'][1]['conditioned'] and not by_frame[9]['objects'][1]['conditioned']
    )


@pytest.mark.parametrize('mode', ['window', 'online'])
def test_a_ghost_is_in_the_lines_and_in_no_final_mask(monkeypatch, video, tmp_path, mode) -> None:
    """Red is detected once and never again, although it is in view."""
    green = (1, fakes.disc_box(120, 25, 12))
    script = {at: [green, (0, red_box(0))] if at == 0 else [green] for at in (0, 5, 10, 15, 20)}
    use_engine(monkeypatch, lambda: fakes.ScriptedDetector(script, interval=5))
    out = tmp_path / 'out'
    options = ['-K', '5', '-D', '5', '-M', '20', '--device', 'cpu', '--withdraw-detections', '2']
    assert segment_video.main([str(video), '-o', str(out), '--mode', mode, *options]) == 0
    records = records_of(out)
    shown = [r for r in records for obj in r['objects'] if obj['class_name'] == 'class 0']
    assert {obj['state'] for r in shown for obj in r['objects'] if obj['class_id'] == 0} == {
        'tentative'}
    ghost = {obj['id'] for r in shown for obj in r['objects'] if obj['class_id'] == 0}
    assert len(ghost) == 1
    withdrawn = [r for r in records if r['withdrawn_ids']]
    assert {r['frame'] for r in withdrawn} == {r['frame'] for r in shown} >= set(range(6))
    assert all(set(r['withdrawn_ids']) == ghost <= set(r['changed_ids']) for r in withdrawn)
    last = {r['frame']: r for r in records}
    for index in range(FRAMES):
        states = [obj['state'] for obj in last[index]['objects']]
        assert states == ['confirmed'], index
        assert not set(np.unique(mask_of(out, index))) & ghost


def test_the_overlay_shows_final_masks_and_marks_corrected_frames(engine, video, tmp_path) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(video), '-o', str(out), *SMALL]) == 0
    overlay = frames_of(out / 'overlay.mp4')
    factor = overlay[0].shape[0] // SIZE[1]  # small videos come out enlarged
    assert overlay[0].shape == (SIZE[1] * factor, SIZE[0] * factor, 3)
    for index in (3, 12):
        x, y = (20 + 5 * index) * factor, 60 * factor
        inside = overlay[index][y - 8 : y + 8, x - 8 : x + 8].reshape(-1, 3).mean(0)
        assert np.abs(inside - (255, 0, 0)).max() > 40  # tinted, though red came late
        edge = overlay[index][SIZE[1] * factor // 2, 1].astype(int)
        amber = edge[0] > 180 and 100 < edge[1] < 230 and edge[2] < 90
        assert amber == (index == 3)


def test_the_report_needs_nothing_beside_it(engine, video, tmp_path) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(video), '-o', str(out), *SMALL]) == 0
    page = (out / 'report.html').read_text()
    assert page.count('data:image/png;base64,') == 3
    assert page.count('data:image/jpeg;base64,') >= 1
    assert not re.findall(r'(?:src|href)="(?!data:|overlay\.mp4)', page)
    assert 'http' not in page.replace('http-equiv', '')
    assert '>23</b><span>frames' in page
    assert 'found 2 class 0' in page
    assert 'max_propagation</td><td>15' in page


def test_a_folder_of_images_in_natural_order(engine, folder, tmp_path, capsys) -> None:
    out = tmp_path / 'out'
    arguments = [str(folder), '-o', str(out), '--fps', '10', '--overlay', 'webm', *SMALL[:-1]]
    arguments += ['--mode', 'window']
    assert segment_video.main(arguments) == 0
    said = capsys.readouterr().out
    assert '160x120, 23 frames, 10 frames/s' in said
    for part in ('frames           23', 'tracked frames', 'passes           6', 'by stage'):
        assert part in said
    assert len(frames_of(out / 'overlay.webm')) == FRAMES
    assert '<video src="overlay.webm"' in (out / 'report.html').read_text()
    records = records_of(out)
    assert records[-1]['stamp'] == 2_200_000_000
    for index in (9, 10):
        assert fakes.iou(mask_of(out, index) == 2, fakes.colour_mask(drawn(index), 'red')) > 0.75


def test_passes_are_those_of_the_engine(engine, folder, tmp_path, capsys) -> None:
    arguments = [str(folder), '-o', str(tmp_path / 'out'), '--mode', 'online', *SMALL[:-1]]
    assert segment_video.main(arguments) == 0
    assert f'passes           {engine[0].stats().passes}\n' in capsys.readouterr().out
    assert engine[0].stats().passes < 10


def test_parts_can_be_left_out_and_frames_limited(engine, folder, tmp_path) -> None:
    out = tmp_path / 'out'
    lean = ['--no-overlay', '--no-masks', '--no-report', '--max-frames', '7']
    assert segment_video.main([str(folder), '-o', str(out), *lean, *SMALL]) == 0
    assert [path.name for path in out.iterdir()] == ['objects.jsonl']
    assert max(record['frame'] for record in records_of(out)) == 6


def test_a_failing_detector_is_warned_of_once(folder, tmp_path, monkeypatch, caplog) -> None:
    broken = fakes.BrokenDetector(RuntimeError('no power'))
    cli_cases.use_engine(monkeypatch, lambda: broken)
    out = tmp_path / 'out'
    assert segment_video.main([str(folder), '-o', str(out), *SMALL]) == 1  # it failed each time
    assert broken.calls == 3
    warnings = [record for record in caplog.records if 'no power' in record.getMessage()]
    assert len(warnings) == 1
    assert len(frames_of(out / 'overlay.mp4')) == FRAMES


def test_a_memory_bank_leads_where_there_is_no_detector(folder, tmp_path, monkeypatch) -> None:
    """What the first run remembers of red, the second one finds without any detector."""
    detectors = {'first': late_detector(), 'second': None}
    for name, more in (
        ('first', ['--bank-out', str(tmp_path / 'b.safetensors'), '--bank-entries', '2']),
        ('second', ['--bank-in', str(tmp_path / 'b.safetensors'), '--no-detector']),
    ):
        cli_cases.use_engine(monkeypatch, lambda detector=detectors[name]: detector)
        out = ['-o', str(tmp_path / name), '--no-overlay', '--no-report']
        assert segment_video.main([str(folder), *out, *more, *SMALL]) == 0
    assert len(MemoryBank.load(tmp_path / 'b.safetensors').objects()) == 2
    final = {record['frame']: record for record in records_of(tmp_path / 'second')}
    assert {obj['class_name'] for obj in final[5]['objects']} == {'class 0', 'class 1'}
    assert not any(obj['conditioned'] for obj in final[5]['objects'])


def test_a_random_sam2_from_a_checkpoint(folder, tmp_path, monkeypatch) -> None:
    """Loads a model by path as a user does; its masks mean nothing, but all files come out."""
    checkpoint, config = random_sam2.save(tmp_path, 'sam21', 0, 64)
    monkeypatch.setattr(options, 'YoloDetector', lambda *_, **__: late_detector())
    model = ['--sam2', str(checkpoint), '--sam2-config', str(config), '--dtype', 'float32']
    out = tmp_path / 'out'
    run = [str(folder), '-o', str(out), *model, '--max-frames', '12', *SMALL]
    assert segment_video.main(run) == 0
    assert len(list((out / 'masks').iterdir())) == len(frames_of(out / 'overlay.mp4')) == 12
    assert load_sam2(checkpoint, config).image_size == 64


def test_ctrl_c_leaves_whole_files(video, tmp_path) -> None:
    script = f"""
import sys, time
sys.path[:0] = {[str(ROOT), str(ROOT / 'test' / 'support')]!r}
import cli_cases, fakes
from detsam2_ros.cli import options, segment_video
from detsam2_ros.engine import Engine, Stream

push = Stream.push
def slow(self, image, stamp):
    if self._state.next_index == 17:
        print('here', flush=True)
        time.sleep(1.5)
    return push(self, image, stamp)
Stream.push = slow
options.build_engine = lambda given, config: Engine(
    fakes.colour_sam2(128), cli_cases.late_detector(), config)
sys.exit(segment_video.main(sys.argv[1:]))
"""
    out = tmp_path / 'out'
    arguments = [str(video), '-o', str(out), '--mode', 'window', *SMALL[:-1]]
    process = subprocess.Popen(
        [sys.executable, '-c', script, *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert process.stdout is not None
    while process.stdout.readline() != 'here\n':
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert 'stopping' in err and 'Traceback' not in err
    assert 'segment_video: broken off after 16 of 23 frames\n' in err
    bar = err.rpartition('\r')[2]  # its last state
    assert ' 18/23 ' in bar and 'corrected=6, objects=2' in bar
    # Windows of frames 0, 1-5, 6-10 and 11-15 were closed; 16-17 have no masks and are left out.
    records = records_of(out)
    assert sorted({record['frame'] for record in records}) == list(range(16))
    assert len(list((out / 'masks').iterdir())) == len(frames_of(out / 'overlay.mp4')) == 16
    final = {record['frame']: record['final'] for record in records}
    # Frames up to 5 could not be reached any more (M = 15, K = 5, newest 15); the rest could.
    assert [index for index, done in final.items() if done] == list(range(6))
    assert 'broken off after 16 of 23 frames' in (out / 'report.html').read_text()
