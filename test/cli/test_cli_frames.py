# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The frames of segment_video, in order through the engine; and arguments that cannot be used."""

import re
from pathlib import Path

import cli_cases
import cv2
import fakes
import numpy as np
import pytest
from cli_cases import FRAMES, SIZE, SMALL, drawn, frames_of, records_of

from detsam2_ros.cli import loop, options, segment_video
from detsam2_ros.cli.summary import Summary
from detsam2_ros.engine import ConfigError, DetectorError, Engine, EngineConfig
from detsam2_ros.media.video import CODECS, InputError, VideoWriter, open_source

video, folder, engine = cli_cases.video, cli_cases.folder, cli_cases.engine
WINDOW = EngineConfig(window_size=5, max_propagation=10, mode='window')


def test_frames_wait_no_longer_than_they_have_to(folder) -> None:
    """Memory is bounded: never more than M frames wait to become final."""
    engine = Engine(fakes.colour_sam2(64), None, WINDOW)
    order, waiting, summary = [], [], Summary()
    run = loop.run(
        open_source(folder).frames(), engine.open_stream('s'),
        lambda settled: order.append(settled.index), summary,
        progress=lambda: waiting.append(summary.frames - len(order)),
    )
    assert run is None and order == list(range(FRAMES)) and max(waiting) <= 10


def test_results_of_a_failed_window_are_used(folder) -> None:
    engine = Engine(fakes.colour_sam2(64), None, WINDOW)
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
    assert source.size_wh == (size[0] + size[0] % 2, size[1] + size[1] % 2)
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


# ---- arguments: what cannot be used is refused in one line that names it
def refused(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """Run the command, expect exit code 2 and one line that says why; returns the line."""
    assert segment_video.main([*arguments, *SMALL]) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith('segment_video: ')]
    assert len(lines) == 1 and 'Traceback' not in err, err
    assert not out
    return lines[0]


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
        (('--match-iou', '2'), '--match-iou must be'),
        (('--image-size', '7'), '--image-size must be >= 32'),
        (('--confidence', '2'), '--confidence must lie'),
        (('--max-objects', '0'), '--max-objects must be'),
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
    message = refused(capsys, str(folder), '-o', str(out))
    assert '12.png cannot be read' in message
    assert message.endswith('; broken off after 12 of 23 frames')
    assert len(frames_of(out / 'overlay.mp4')) == len(list((out / 'masks').iterdir())) == 12
    assert (out / 'report.html').is_file()


def test_a_jpeg_that_is_cut_short_ends_the_run(engine, folder, tmp_path, capsys) -> None:
    data = cv2.imencode('.jpg', drawn(12), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    (folder / '12.png').write_bytes(data[: 3 * len(data) // 4])
    assert '12.png cannot be read: it is cut short' in refused(
        capsys, str(folder), '-o', str(tmp_path / 'out'))


def test_images_of_other_types_are_named(folder, caplog) -> None:
    (folder / 'b.GIF').touch()
    (folder / 'a.heic').touch()
    assert open_source(folder).count == FRAMES
    assert '2 images of ' in caplog.text and 'type .gif, .heic are not read' in caplog.text


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


def test_every_parameter_of_the_engine_has_an_option() -> None:
    given = options.parser().parse_args(
        ['in.mp4', '-o', 'out', '-K', '4', '--max-propagation', '9', '--association', 'class'])
    assert options.engine_config(given) == EngineConfig(
        window_size=4, max_propagation=9, association='class')
    given.quality = 'balanced'
    assert options.engine_config(given) == EngineConfig.of(
        'balanced', window_size=4, max_propagation=9, association='class')
    with pytest.raises(ConfigError, match='association'):
        given.association = 'nonsense'
        options.engine_config(given)
    text = options.parser().format_help()
    for name in EngineConfig.__dataclass_fields__:
        assert '--' + name.replace('_', '-') in text
