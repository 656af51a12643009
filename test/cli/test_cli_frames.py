# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The frames of segment_video: read from a file, in order through the engine, into a video."""

import re

import cli_cases
import cv2
import fakes
import numpy as np
import pytest
from cli_cases import FRAMES, SIZE, SMALL, drawn, records_of

from detsam2_ros.cli import loop, segment_video
from detsam2_ros.cli.summary import Summary
from detsam2_ros.engine import DetectorError, Engine, EngineConfig
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
