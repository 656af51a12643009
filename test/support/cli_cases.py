# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Small drawn videos for tests of segment_video, and its files read back."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import fakes
import numpy as np
import pytest

from detsam2_ros.cli import segment_video
from detsam2_ros.engine import Detector, Engine, EngineConfig
from detsam2_ros.media.video import VideoWriter

SIZE = (160, 120)  # width, height
FRAMES = 23
# M is too short to find out about objects: what is detected counts. Tests of ghosts say otherwise.
SMALL = [
    '-K', '5', '-D', '10', '-M', '15', '--confirm-detections', '0', '--device', 'cpu', '--quiet',
]


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


def use_engine(
    monkeypatch: pytest.MonkeyPatch, detector: Callable[[], Detector | None]
) -> list[Engine]:
    """Let the command run on a SAM 2 that segments by colour; returns the engines made."""
    made: list[Engine] = []

    def make(given: object, config: EngineConfig) -> Engine:
        made.append(Engine(fakes.colour_sam2(128), detector(), config))
        return made[-1]

    monkeypatch.setattr(segment_video.command_line, 'build_engine', make)
    return made


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    return use_engine(monkeypatch, late_detector)


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
