# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The viewer: what it shows of images and frames, its command, and a recording read back."""

import importlib.util
import itertools
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest
from client_cases import STEP, correction, labels_of, masks, objects

from detsam2_ros.client import MaskTimeline
from detsam2_ros.viewer import main as command
from detsam2_ros.viewer.follow import Change, Follower

FIRST = labels_of(0, 0, 1, 1, 0, 0, 1, 1)
AFTER = labels_of(0, 1, 1, 1, 0, 0, 2, 1)
MS = 1_000_000


class Notes:
    """A screen that writes down what it shows."""

    def __init__(self):
        self.shown: list[tuple] = []

    def picture(self, picture) -> None:
        self.shown.append(('picture', picture.stamp, picture.width, picture.height))

    def masks(self, frame, picture, now) -> None:
        assert picture is None or picture.stamp == frame.stamp
        self.shown.append(('masks', frame.stamp, frame.revision))

    def correction(self, frame, picture, change, now) -> None:
        stamp = None if picture is None else picture.stamp
        self.shown.append(('correction', frame.stamp, frame.revision, stamp, change))

    def latency(self, what, milliseconds, now) -> None:
        self.shown.append(('latency', what, milliseconds))

    def of(self, kind: str) -> list[tuple]:
        return [entry[1:] for entry in self.shown if entry[0] == kind]


def feed(follower: Follower, frames: int = 3, late: bool = True) -> MaskTimeline:
    """Send frames of 4 x 2 pixels, and a correction of frame 1."""
    timeline = MaskTimeline()
    for index in range(frames):
        stamp = index * STEP
        follower.add_image(np.full((2, 4, 3), 200, np.uint8), stamp)
        timeline.add_masks(masks(FIRST, stamp))
        follower.add_frame(timeline.add_objects(objects(stamp, index)))
    if late:
        changed = timeline.add_correction(correction(FIRST, AFTER, STEP, 1, ids=(1, 2)))
        follower.add_frame(changed)
    return timeline


def follow(screen, **options) -> Follower:
    """Make a follower whose clock goes on by 1 ms with each look at it."""
    ticks = itertools.count(0, MS)
    return Follower(screen, clock=lambda: next(ticks), **options)


def test_images_masks_and_corrections_are_put_together() -> None:
    notes = Notes()
    feed(follow(notes))
    assert notes.of('picture') == [(index * STEP, 4, 2) for index in range(3)]
    assert notes.of('masks') == [(index * STEP, 0) for index in range(3)]
    assert notes.of('correction') == [(STEP, 1, STEP, Change((1, 0, 3, 2), (1, 2)))]
    # A tick for the image and one for the masks, three frames; the correction is the seventh.
    expected = [('masks', 1.0), ('masks', 1.0), ('masks', 1.0), ('corrections', 4.0)]
    assert notes.of('latency') == expected


def test_what_is_kept_is_bounded() -> None:
    notes = Notes()
    follower = follow(notes, length=2)
    timeline = feed(follower, frames=6, late=False)
    assert len(follower._pictures) == len(follower._shown) == 2
    # Of frame 1 there is no image any more, and nothing to compare with.
    follower.add_frame(timeline.add_correction(correction(FIRST, AFTER, STEP, 1)))
    assert notes.of('correction') == [(STEP, 1, None, None)]
    assert len(notes.of('latency')) == 6


def test_a_stream_that_starts_over_is_not_compared_with_the_one_before() -> None:
    notes = Notes()
    follower = follow(notes)
    timeline = feed(follower)
    for index in range(2):  # time goes back to the start
        timeline.add_masks(masks(AFTER, index * STEP))
        follower.add_frame(timeline.add_objects(objects(index * STEP, index)))
    assert timeline.latest().stream == 1
    assert set(follower._shown) == {0, STEP}
    assert notes.of('masks')[3:] == [(0, 0), (STEP, 0)]


def test_images_are_kept_as_jpeg() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = (200, 30, 90)
    follower = follow(Notes(), quality=90)
    follower.add_image(image, 5)
    kept = follower._pictures[5]
    decoded = cv2.imdecode(np.frombuffer(kept.jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(decoded[:, :25].astype(int) - (200, 30, 90)).max() < 12


def test_without_the_library_one_sentence(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, 'rerun', None)
    monkeypatch.delitem(sys.modules, 'detsam2_ros.viewer.screen', raising=False)
    assert command.main([]) == 2
    said = capsys.readouterr().err
    assert 'pip install rerun-sdk' in said and said.count('\n') == 1


def test_options_that_cannot_work_are_refused(capsys) -> None:
    with socket.socket() as taken:
        taken.bind(('', 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for options, says in (
            (['--no-web', '--ros-args', '-p', 'x:=1'], '--save'),
            (['--quality', '0'], '--quality'),
            (['--port', '99999'], '--port'),
            (['--port', '9876'], 'must differ'),
            (['--data-port', port], f'--data-port {port} cannot be used'),
        ):
            assert command.main(options) == 2
            said = capsys.readouterr().err
            assert says in said and said.count('\n') == 1


@pytest.mark.skipif(
    importlib.util.find_spec('rerun') is None, reason='rerun-sdk is not installed')
def test_a_recording_is_read_back(tmp_path) -> None:
    from detsam2_ros.viewer.screen import RerunScreen, recording

    path = tmp_path / 'look.rrd'
    screen = RerunScreen([recording(path, 'test')])
    feed(Follower(screen))
    screen.flush()
    read = subprocess.run(
        [sys.executable, '-m', 'rerun', 'rrd', 'print', '-vvv', str(path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert read.returncode == 0, read.stderr
    for entity in (
        '/newest/image', '/newest/masks', '/newest/objects', '/corrected/image',
        '/corrected/masks', '/corrected/changed', '/latency/masks', '/latency/corrections', '/log',
    ):  # fmt: skip
        assert entity in read.stdout, entity
    assert 'received' in read.stdout and 'stamp' in read.stdout


@pytest.mark.skipif(
    importlib.util.find_spec('rerun') is None, reason='rerun-sdk is not installed')
def test_a_file_that_cannot_be_written_is_told(tmp_path, capsys) -> None:
    pytest.importorskip('rclpy')
    assert command.main(['--no-web', '--save', str(tmp_path / 'no' / 'look.rrd')]) == 2
    said = capsys.readouterr().err
    assert 'No such file' in said and said.count('\n') == 1
