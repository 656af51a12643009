# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Videos whose header lies about the rate or the number of frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cli_cases
import cv2
import numpy as np
import pytest
from cli_cases import FRAMES, SIZE, SMALL, drawn

from detsam2_ros.cli import segment_video
from detsam2_ros.media.video import VideoSource, VideoWriter, open_source

video, engine = cli_cases.video, cli_cases.engine
NAN, INF = float('nan'), float('inf')


def stating(monkeypatch: pytest.MonkeyPatch, rate: float, count: float, step: float) -> None:
    """Let every video state a rate and a count, with `step` ms from frame to frame."""
    real = cv2.VideoCapture

    class Stating:
        def __init__(self, *arguments: object) -> None:
            self.capture, self.index = real(*arguments), -1

        def read(self) -> tuple[bool, np.ndarray | None]:
            self.index += 1
            return self.capture.read()

        def grab(self) -> bool:
            self.index += 1
            return self.capture.grab()

        def get(self, what: int) -> float:
            stated = {cv2.CAP_PROP_FPS: rate, cv2.CAP_PROP_FRAME_COUNT: count}
            return self.index * step if what == cv2.CAP_PROP_POS_MSEC else stated[what]

        def __getattr__(self, name: str) -> object:
            return getattr(self.capture, name)

    monkeypatch.setattr(cv2, 'VideoCapture', Stating)


@pytest.mark.parametrize(('rate', 'count', 'step', 'fps', 'known'), [
    (20, FRAMES, 50, 20, FRAMES),  # right
    (1000, 1150, 50, 20, None),  # the clock's rate
    (200, -9.2e18, 50, 20, None),
    (0, 0, 50, 20, None),
    (NAN, NAN, 50, 20, None),
    (-5, -1, 50, 20, None),
    (INF, INF, 50, 20, None),
    (90000, 9e9, 50, 20, None),
    (60, 69, 50, 20, None),  # three times as many as there are
    (5, 6, 50, 20, None),
    (24, FRAMES, 50, 24, FRAMES),  # the mean of a variable rate
    (240, FRAMES, 1000 / 240, 240, FRAMES),  # a fast camera
    (25, FRAMES, 0, 25, FRAMES),  # without frame times
    (0, FRAMES, 0, 30, None),
    (NAN, FRAMES, NAN, 30, None),
    (1.2e6, FRAMES, 1 / 1200, 30, None),  # times of a clock, too
])  # fmt: skip
def test_the_rate_is_that_of_the_frames(rate, count, step, fps, known, video, monkeypatch) -> None:
    stating(monkeypatch, rate, count, step)
    source = open_source(video)
    assert source.fps == pytest.approx(fps) and source.count == known
    stamps = [frame.stamp for frame in source.frames()]
    assert len(stamps) == FRAMES and stamps[0] == 0
    length = step if 1 < step < INF else 1000 / fps
    assert stamps[-1] == pytest.approx((FRAMES - 1) * length * 1e6, rel=1e-3)
    assert source.missing() is None


def test_the_rate_that_is_asked_for_stands(video, monkeypatch) -> None:
    stating(monkeypatch, 1000, 1150, 50)
    source = open_source(video, 10)
    assert (source.fps, source.count) == (10, None)
    assert [frame.stamp for frame in source.frames()][:3] == [0, 10**8, 2 * 10**8]


def test_a_count_is_missed_only_where_time_is_missing_too(video, monkeypatch) -> None:
    stating(monkeypatch, 20, 100, 50)
    source = open_source(video)
    list(source.frames())
    assert source.missing() == f'{video} says it has 100 frames, but only {FRAMES} could be read'
    stating(monkeypatch, 20, 35, 76)  # some frames were dropped while it was recorded
    source = open_source(video)
    list(source.frames())
    assert source.count == 35 and source.missing() is None


def test_the_overlay_of_a_lying_video_plays_in_the_right_time(
    engine, video, tmp_path, monkeypatch, capsys
) -> None:
    real = cv2.VideoCapture
    stating(monkeypatch, 1000, 1150, 50)
    out = tmp_path / 'out'
    loud = [part for part in SMALL if part != '--quiet']
    assert segment_video.main([str(video), '-o', str(out), *loud]) == 0
    overlay = real(str(out / 'overlay.mp4'))
    assert overlay.get(cv2.CAP_PROP_FPS) == 20 and overlay.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    said = capsys.readouterr()
    assert ', 20 frames/s' in said.out and '1150' not in said.out + said.err
    assert f'frames           {FRAMES}' in said.out and f'{FRAMES}/{FRAMES}' in said.err


def recorded(path: Path, codec: str, rate: int, stamps: list[int], **options: str) -> Path:
    """Write a video with frames at some milliseconds."""
    av = pytest.importorskip('av', reason='writing such a video needs av')
    clock = Fraction(1, 1000)
    with av.open(str(path), 'w', options=options) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *SIZE, 'yuv420p'
        stream.codec_context.time_base = clock
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(drawn(index), format='rgb24')
            frame.pts, frame.time_base = stamp, clock
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_a_recording_of_a_browser(tmp_path) -> None:
    stamps = [33 * i + i * 7 % 5 for i in range(30)]
    source = VideoSource(recorded(tmp_path / 'v.webm', 'libvpx', 1000, stamps, live='1'))
    assert 27 < source.fps < 31 and source.count is None
    assert [frame.stamp // 10**6 for frame in source.frames()] == stamps


@pytest.mark.parametrize(('name', 'codec'), [('v.mp4', 'mpeg4'), ('v.webm', 'libvpx')])
def test_a_recording_of_a_phone(name, codec, tmp_path) -> None:
    stamps = np.cumsum([0, *[33, 33, 33, 50, 66] * 8]).tolist()
    source = VideoSource(recorded(tmp_path / name, codec, 30, stamps))
    assert 20 < source.fps < 31
    found = [frame.stamp / 1e6 for frame in source.frames()]
    assert np.abs(np.array(found) - stamps).max() < 1.5
    assert source.missing() is None


@pytest.mark.parametrize('fps', [66.6667, 71.42857, 59.94006, 119.88, 333.333, 1000.0])
def test_any_rate_can_be_written(fps, tmp_path) -> None:
    with VideoWriter(tmp_path / 'v.mp4', SIZE, fps) as writer:
        for index in range(5):
            writer.write(drawn(index))
    assert cv2.VideoCapture(str(tmp_path / 'v.mp4')).get(cv2.CAP_PROP_FPS) == pytest.approx(
        fps, rel=2e-4)  # fmt: skip
