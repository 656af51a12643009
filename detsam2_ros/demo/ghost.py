# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The picture of docs/ghosts.md: a false detection is shown at once, and withdrawn.

python -m detsam2_ros.demo.ghost docs/images/ghost.jpg
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from detsam2_ros.engine import (
    Detections,
    Engine,
    EngineConfig,
    FrameResult,
    YoloDetector,
    load_sam2,
)
from detsam2_ros.media.sheet import contact_sheet, tile
from detsam2_ros.scene.scene import Scene

SEED, SIZE = 1_000_012, 512
CONFIG = EngineConfig(
    window_size=10, detect_interval=10, max_propagation=40, confirm_detections=2,
    withdraw_detections=3,
)  # fmt: skip
FALSE_FRAME, FALSE_BOX = 20, (124.0, 199.0, 164.0, 239.0)  # a round spot on the cloth
SHOWN, BETWEEN = 22, 45  # frames that the picture shows
VIEW = np.s_[130:370, 80:320]  # rows and columns: the spot and its neighbours
COLUMNS = ('as first published', 'in the end')


class OnceWrong:
    """The shipped detector, which takes a spot for a ball on one detection frame."""

    def __init__(self) -> None:
        self._own = YoloDetector('demo')
        self.class_names = self._own.class_names
        self._looks = 0

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Return what the detector finds, with a false box on frame FALSE_FRAME."""
        answers = []
        for found in self._own.detect(images):
            if self._looks * CONFIG.detect_interval == FALSE_FRAME:
                found = Detections(
                    np.concatenate([found.boxes, np.array([FALSE_BOX], np.float32)]),
                    np.append(found.class_ids, 0),
                    np.append(found.scores, 0.6),
                )
            self._looks += 1
            answers.append(found)
        return answers


def draw() -> np.ndarray:
    """Segment the scene and return the picture, uint8 [H, W, 3] RGB."""
    engine = Engine(load_sam2('demo', device='cpu'), OnceWrong(), CONFIG)
    stream = engine.open_stream('table')
    images: list[np.ndarray] = []
    results: list[FrameResult] = []
    came: list[int] = []  # of each result: the newest frame then
    for frame in Scene(SEED, SIZE, SIZE, FALSE_FRAME + CONFIG.max_propagation):
        images.append(frame.image)
        results += stream.push(frame.image, frame.index)
        came += [frame.index] * (len(results) - len(came))
    ids = {key for result in results for key in result.withdrawn_ids}
    rows, names = [], []
    for index in (SHOWN, BETWEEN):
        of_frame = [i for i, result in enumerate(results) if result.index == index]
        first, last = results[of_frame[0]], results[of_frame[-1]]
        gone = tuple(ids & {thing.id for thing in first.objects})
        rows.append([
            tile(images[index][VIEW], first.labels[VIEW], first.objects),
            tile(images[index][VIEW], last.labels[VIEW], last.objects, gone),
        ])
        names.append(f'frame {index}; withdrawn when frame {came[of_frame[-1]]} was there')
    return contact_sheet(rows, COLUMNS, names)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the picture; returns the exit code."""
    parser = argparse.ArgumentParser(prog='python -m detsam2_ros.demo.ghost', description=__doc__)
    parser.add_argument('output', type=Path, help='a .jpg or .png file')
    path: Path = parser.parse_args(arguments).output
    if not cv2.imwrite(str(path), cv2.cvtColor(draw(), cv2.COLOR_RGB2BGR)):
        print(f'ghost: {path} cannot be written', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
