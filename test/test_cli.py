# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""segment_video from the command line to its files, on small drawn videos."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import fakes
import numpy as np
import pytest

from detsam2_ros.cli import loop, options, segment_video
from detsam2_ros.cli.video import CODECS, InputError, VideoWriter, open_source
from detsam2_ros.engine import (
    ConfigError,
    DetectorError,
    Engine,
    EngineConfig,
    MemoryBank,
    load_sam2,
)

SIZE = (160, 120)  # width, height
FRAMES = 23
SMALL = ['-K', '5', '-D', '10', '-M', '15', '--device', 'cpu', '--quiet']


def drawn(index: int) -> np.ndarray:
    """A red disc on its way through the picture, and a green one that rests."""
    return fakes.scene(('red', 20 + 5 * index, 60, 14), ('green', 120, 25, 12), size=SIZE[::-1])


def red_box(index: int) -> tuple:
    return fakes.disc_box(20 + 5 * index, 60, 14)


def late_detector() -> fakes.ScriptedDetector:
    """Sees green from the start and red only at frame 10: ten frames are there to correct."""
    green = (1, fakes.disc_box(120, 25, 12))
    script = {0: [green], 10: [green, (0, red_box(10))], 20: [green, (0, red_box(20))]}
    return fakes.ScriptedDetector(script, interval=10)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / 'in.mp4'
    with VideoWriter(path, SIZE, 20.0) as writer:
        for index in range(FRAMES):
            writer.write(drawn(index))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / 'images'
    path.mkdir()
    for index in range(FRAMES):
        # Natural order: 9.png comes before 10.png.
        cv2.imwrite(str(path / f'{index}.png'), drawn(index)[..., ::-1])
    (path / 'notes.txt').write_text('not an image')
    return path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """Let the command run on a SAM 2 that segments by colour; returns the engines made."""
    made: list[Engine] = []

    def make(given: object, config: EngineConfig) -> Engine:
        made.append(Engine(fakes.colour_sam2(128), late_detector(), config))
        return made[-1]

    monkeypatch.setattr(segment_video, '_engine', make)
    return made


def frames_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        good, image = capture.read()
        if not good:
            return frames
        frames.append(image[..., ::-1])


def records_of(folder: Path) -> list[dict]:
    lines = (folder / 'objects.jsonl').read_text().splitlines()
    return [json.loads(line) for line in lines]


def mask_of(folder: Path, index: int) -> np.ndarray:
    return cv2.imread(str(folder / 'masks' / f'{index:06d}.png'), cv2.IMREAD_UNCHANGED)


def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """Run the command, expect exit code 2 and one line that says why; returns the line."""
    assert segment_video.main([*arguments, *SMALL]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith('segment_video: ')]
    assert len(lines) == 1 and 'Traceback' not in err, err
    assert not out
    return lines[0]


def test_a_video_becomes_masks_objects_overlay_and_report(engine, video, tmp_path, capsys) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(video), '-o', str(out), *SMALL]) == 0
    assert engine[0].stats().frames == engine[0].stats().encodings == FRAMES
    assert sorted(path.name for path in out.iterdir()) == [
        'masks',
        'objects.jsonl',
        'overlay.mp4',
        'report.html',
    ]

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
    assert segment_video.main([str(video), '-o', str(out), *SMALL]) == 0
    records = records_of(out)
    keys = [(record['frame'], record['revision']) for record in records]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)
    assert [key for key, revision in keys if revision == 0] == list(range(FRAMES))
    stamps = [round(index * 1e9 / 20) for index in range(FRAMES)]
    for i, record in enumerate(records):
        assert set(record) == {
            'frame',
            'stamp',
            'revision',
            'final',
            'newest',
            'changed_ids',
            'objects',
        }
        assert abs(record['stamp'] - stamps[record['frame']]) < 1000
        last = i + 1 == len(records) or records[i + 1]['frame'] != record['frame']
        assert record['final'] == last
        assert record['newest'] >= record['frame']
        for thing in record['objects']:
            assert set(thing) == {
                'id',
                'class_id',
                'class_name',
                'score',
                'box',
                'visible',
                'conditioned',
            }
            assert thing['visible'] == (thing['box'] is not None)
    by_frame = {record['frame']: record for record in records}  # the last revision of each
    # Red was first detected at frame 10, whose pass (newest frame 14) reached back to frame 0.
    assert [f for f, record in by_frame.items() if record['revision']] == list(range(10))
    assert all(
        by_frame[f]['newest'] == 14 and by_frame[f]['changed_ids'] == [2] for f in range(10)
    )
    assert (
        by_frame[10]['objects'][1]['conditioned'] and not by_frame[9]['objects'][1]['conditioned']
    )


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
    assert segment_video.main(arguments) == 0
    said = capsys.readouterr().out
    assert '160x120, 23 frames, 10 frames/s' in said
    for part in ('frames           23', 'tracked frames', 'passes           5', 'by stage'):
        assert part in said
    assert len(frames_of(out / 'overlay.webm')) == FRAMES
    assert '<video src="overlay.webm"' in (out / 'report.html').read_text()
    records = records_of(out)
    assert records[-1]['stamp'] == 2_200_000_000
    for index in (9, 10):
        assert fakes.iou(mask_of(out, index) == 2, fakes.colour_mask(drawn(index), 'red')) > 0.75


def test_parts_can_be_left_out_and_frames_limited(engine, folder, tmp_path) -> None:
    out = tmp_path / 'out'
    lean = ['--no-overlay', '--no-masks', '--no-report', '--max-frames', '7']
    assert segment_video.main([str(folder), '-o', str(out), *lean, *SMALL]) == 0
    assert [path.name for path in out.iterdir()] == ['objects.jsonl']
    assert max(record['frame'] for record in records_of(out)) == 6


def test_an_output_with_something_in_it_needs_force(engine, folder, tmp_path, capsys) -> None:
    out = tmp_path / 'out'
    (out / 'masks').mkdir(parents=True)
    (out / 'masks' / '999999.png').write_text('old')
    (out / 'mine.txt').write_text('keep me')
    message = refused(capsys, str(folder), '-o', str(out))
    assert str(out) in message and '--force' in message
    assert not engine  # found out before a model was loaded
    # A mistake later on does not cost the earlier results either.
    message = refused(capsys, str(folder), '-o', str(out), '--force', '--bank-in', 'no.such')
    assert 'no.such' in message and (out / 'masks' / '999999.png').exists()
    run = [str(folder), '-o', str(out), '--force', '--max-frames', '3', *SMALL]
    assert segment_video.main(run) == 0
    assert (out / 'mine.txt').read_text() == 'keep me'
    assert len(list((out / 'masks').iterdir())) == 3


def test_bad_inputs_are_named(engine, folder, tmp_path, capsys) -> None:
    out = str(tmp_path / 'out')
    missing, empty, text = (tmp_path / name for name in ('no.mp4', 'empty.mp4', 'text.mp4'))
    empty.touch()
    text.write_text('this is not a video\n' * 100)
    bare = tmp_path / 'bare'
    bare.mkdir()
    for path, part in (
        (missing, 'does not exist'),
        (empty, 'is empty'),
        (text, 'is no video that OpenCV can read'),
        (bare, 'holds no images'),
    ):
        message = refused(capsys, str(path), '-o', out)
        assert str(path) in message and part in message
    file = tmp_path / 'file'
    file.touch()
    assert 'is a file' in refused(capsys, str(folder), '-o', str(file))
    assert 'cannot make' in refused(capsys, str(folder), '-o', str(file / 'below'))
    assert not engine and not Path(out).exists()


def test_bad_parameters_are_named(engine, folder, tmp_path, capsys) -> None:
    start = (str(folder), '-o', str(tmp_path / 'out'))
    for more, part in (
        (('--match-iou', '2'), 'match_iou'),
        (('--max-objects', '0'), 'max_objects'),
        (('--max-frames', '0'), '--max-frames'),
        (('--fps', '-3'), '--fps'),
        (('--bank-entries', '0'), '--bank-entries'),
        (('--no-detector',), '--bank-in'),
        (('--bank-in', str(tmp_path / 'no.safetensors')), 'no.safetensors'),
        (('--bank-out', str(tmp_path / 'no' / 'b.safetensors')), 'no such folder'),
    ):
        assert part in refused(capsys, *start, *more)
    with pytest.raises(SystemExit) as error:
        segment_video.main([*start, '--window-size', 'ten'])
    assert error.value.code == 2
    assert not engine


def test_models_that_are_not_there_are_named(folder, tmp_path, capsys) -> None:
    message = refused(capsys, str(folder), '-o', str(tmp_path / 'out'), '--sam2', 'no/such.pt')
    assert 'no/such.pt' in message


def test_a_broken_image_ends_the_run_with_what_is_there(engine, folder, tmp_path, capsys) -> None:
    (folder / '12.png').write_text('broken')
    out = tmp_path / 'out'
    assert '12.png cannot be read' in refused(capsys, str(folder), '-o', str(out))
    assert len(frames_of(out / 'overlay.mp4')) == len(list((out / 'masks').iterdir())) == 12
    assert (out / 'report.html').is_file()


def test_an_input_among_the_results_is_not_overwritten(engine, folder, tmp_path, capsys) -> None:
    out = tmp_path / 'out'
    assert segment_video.main([str(folder), '-o', str(out), '--max-frames', '3', *SMALL]) == 0
    for name in ('overlay.mp4', 'masks'):
        message = refused(capsys, str(out / name), '-o', str(out), '--force')
        assert str(out / name) in message and 'would be overwritten' in message
        assert (out / name).exists()


def test_an_image_of_another_size_is_named(engine, folder, tmp_path, capsys) -> None:
    cv2.imwrite(str(folder / '6.png'), np.zeros((50, 60, 3), np.uint8))
    message = refused(capsys, str(folder), '-o', str(tmp_path / 'out'))
    assert '6.png is 60x50 pixels but the first frame is 160x120' in message


def test_a_failing_detector_is_warned_of_once(folder, tmp_path, monkeypatch, caplog) -> None:
    broken = fakes.BrokenDetector(RuntimeError('no power'))
    monkeypatch.setattr(
        segment_video,
        '_engine',
        lambda given, config: Engine(fakes.colour_sam2(128), broken, config),
    )
    out = tmp_path / 'out'
    assert segment_video.main([str(folder), '-o', str(out), *SMALL]) == 0
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
        monkeypatch.setattr(
            segment_video,
            '_engine',
            lambda given, config, detector=detectors[name]: Engine(
                fakes.colour_sam2(128), detector, config
            ),
        )
        out = ['-o', str(tmp_path / name), '--no-overlay', '--no-report']
        assert segment_video.main([str(folder), *out, *more, *SMALL]) == 0
    assert len(MemoryBank.load(tmp_path / 'b.safetensors').objects()) == 2
    final = {record['frame']: record for record in records_of(tmp_path / 'second')}
    assert {thing['class_name'] for thing in final[5]['objects']} == {'class 0', 'class 1'}
    assert not any(thing['conditioned'] for thing in final[5]['objects'])


def test_a_random_sam2_from_a_checkpoint(folder, tmp_path, monkeypatch) -> None:
    """Loads a model by path as a user does; its masks mean nothing, but all files come out."""
    import random_sam2

    checkpoint, config = random_sam2.save(tmp_path, 'sam21', 0, 64)
    monkeypatch.setattr(segment_video, 'YoloDetector', lambda *_, **__: late_detector())
    model = ['--sam2', str(checkpoint), '--sam2-config', str(config), '--dtype', 'float32']
    out = tmp_path / 'out'
    run = [str(folder), '-o', str(out), *model, '--max-frames', '12', *SMALL]
    assert segment_video.main(run) == 0
    assert len(list((out / 'masks').iterdir())) == len(frames_of(out / 'overlay.mp4')) == 12
    assert load_sam2(checkpoint, config).image_size == 64


def test_ctrl_c_leaves_whole_files(video, tmp_path) -> None:
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fakes, test_cli
from detsam2_ros.cli import segment_video
from detsam2_ros.engine import Engine, Stream

push = Stream.push
def slow(self, image, stamp):
    if self._next_index == 17:
        print('here', flush=True)
        time.sleep(1.5)
    return push(self, image, stamp)
Stream.push = slow
segment_video._engine = lambda given, config: Engine(
    fakes.colour_sam2(128), test_cli.late_detector(), config)
sys.exit(segment_video.main(sys.argv[1:]))
"""
    out = tmp_path / 'out'
    arguments = [str(video), '-o', str(out), *SMALL]
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(
        [sys.executable, '-c', script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(root)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == 'here\n'
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    assert 'stopping' in err and 'Traceback' not in err
    # Windows of frames 0-4, 5-9 and 10-14 were closed; 15-17 have no masks and are left out.
    records = records_of(out)
    assert sorted({record['frame'] for record in records}) == list(range(15))
    assert len(list((out / 'masks').iterdir())) == len(frames_of(out / 'overlay.mp4')) == 15
    final = {record['frame']: record['final'] for record in records}
    # Frames up to 4 could not be reached any more (M = 15, K = 5, newest 14); the rest could.
    assert [index for index, done in final.items() if done] == list(range(5))
    assert 'broken off by the user' in (out / 'report.html').read_text()


def test_frames_wait_no_longer_than_they_have_to(folder) -> None:
    """Memory is bounded: never more than M frames wait to become final."""
    from detsam2_ros.cli.summary import Summary

    engine = Engine(fakes.colour_sam2(64), None, EngineConfig(window_size=5, max_propagation=10))
    order, waiting, summary = [], [], Summary()
    run = loop.run(
        open_source(folder).frames(),
        engine.open_stream('s'),
        lambda settled: order.append(settled.index),
        summary,
        progress=lambda: waiting.append(summary.frames - len(order)),
    )
    assert run is None and order == list(range(FRAMES)) and max(waiting) <= 10


def test_results_of_a_failed_window_are_used(folder) -> None:
    from detsam2_ros.cli.summary import Summary

    engine = Engine(fakes.colour_sam2(64), None, EngineConfig(window_size=5, max_propagation=10))
    stream = engine.open_stream('s')

    class Failing:
        horizon = property(lambda self: stream.horizon)

        def push(self, image, stamp):
            results = stream.push(image, stamp)
            if results:
                raise DetectorError('gone', results)
            return results

        flush = stream.flush

    order: list[int] = []
    frames = open_source(folder).frames()
    loop.run(frames, Failing(), lambda done: order.append(done.index), Summary())
    assert order == list(range(FRAMES))


def test_every_parameter_of_the_engine_has_an_option() -> None:
    given = options.parser().parse_args(
        ['in.mp4', '-o', 'out', '-K', '4', '--max-propagation', '9', '--association', 'class']
    )
    assert options.engine_config(given) == EngineConfig(
        window_size=4, max_propagation=9, association='class'
    )
    with pytest.raises(ConfigError, match='association'):
        given.association = 'nonsense'
        options.engine_config(given)
    text = options.parser().format_help()
    for name in EngineConfig.__dataclass_fields__:
        assert '--' + name.replace('_', '-') in text


@pytest.mark.parametrize('kind', sorted(CODECS))
@pytest.mark.parametrize('size', [(64, 48), (65, 47)])
def test_videos_are_written_so_that_they_play(kind, size, tmp_path) -> None:
    path = tmp_path / f'v.{kind}'
    with VideoWriter(path, size, 12.5) as writer:
        for index in range(5):
            writer.write(np.full((size[1], size[0], 3), (40 * index, 100, 200), np.uint8))
    source = open_source(path)
    frames = list(source.frames())
    assert len(frames) == 5 and abs(source.fps - 12.5) < 0.01
    assert source.size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert [round(frame.stamp / 1e7) for frame in frames] == [0, 8, 16, 24, 32]
    assert np.abs(frames[4].image.reshape(-1, 3).mean(0) - (160, 100, 200)).max() < 12


def test_stamps_grow_whatever_the_file_says(video, monkeypatch) -> None:
    class Clockless:
        """A capture without frame times, as some containers have none."""

        def __init__(self, *arguments: object) -> None:
            self.capture = real(*arguments)

        def get(self, what: int) -> float:
            return 0.0 if what == cv2.CAP_PROP_POS_MSEC else self.capture.get(what)

        def __getattr__(self, name: str) -> object:
            return getattr(self.capture, name)

    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, 'VideoCapture', Clockless)
    stamps = [frame.stamp for frame in open_source(video).frames()]
    assert stamps == [index * 50_000_000 for index in range(FRAMES)]


def test_a_video_that_ends_early_gives_what_can_be_decoded(engine, tmp_path, caplog) -> None:
    cut = tmp_path / 'cut.avi'
    writer = cv2.VideoWriter(str(cut), cv2.VideoWriter.fourcc(*'MJPG'), 20, SIZE)
    for index in range(FRAMES):
        writer.write(drawn(index))
    writer.release()
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    out = tmp_path / 'out'
    lean = ['--no-overlay', '--no-masks', '--no-report']
    assert segment_video.main([str(cut), '-o', str(out), *lean, *SMALL]) == 0
    assert 0 < len({record['frame'] for record in records_of(out)}) < FRAMES
    assert 'says it has 23 frames, but only' in caplog.text
    cut.write_bytes(data[:40])
    with pytest.raises(InputError, match=re.escape(str(cut))):
        open_source(cut)
