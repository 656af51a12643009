# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The demo without ROS: draw a scene, segment it with the shipped models, score both masks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from detsam2_ros.cli import segment_video
from detsam2_ros.demo.pictures import COLUMNS, comparison_row
from detsam2_ros.media.sheet import Best, contact_sheet
from detsam2_ros.media.timeline import Settled
from detsam2_ros.media.video import InputError, VideoWriter, write_png
from detsam2_ros.scene.scene import CLASS_NAMES, Scene
from detsam2_ros.scene.score import MIN_VISIBLE, Score

FPS = 30.0
# Four balls and arms that cover them. The shipped models were trained on seeds below 1,000,000.
SEED = 1_000_010
_SHEET_ROWS = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    given = _parser().parse_args(arguments)
    video = given.output / 'scene.mp4'
    try:
        truth = render(given.output, given.seed, given.size, given.frames)
    except (InputError, OSError, ValueError) as error:
        print(f'demo: {error}', file=sys.stderr)
        return 2
    demo = Demo(truth)
    options = [str(video), '-o', str(given.output / 'segmented'), '--force']
    for name in ('sam2', 'yolo', 'device', 'overlay'):
        if getattr(given, name) is not None:
            options += [f'--{name}', getattr(given, name)]
    code = segment_video.main([*options, *(['--quiet'] if given.quiet else [])], watch=demo.take)
    if code:
        return code
    write_png(given.output / 'sheet.png', demo.sheet())
    print(demo.text())
    print(f'look at {given.output / "sheet.png"} and {given.output / "segmented/report.html"}')
    return 0


@dataclass(frozen=True)
class Truth:
    """The ground truth of a clip of N frames with n balls."""

    labels: np.ndarray  # uint16 [N, H, W], ball ids
    ids: np.ndarray  # int [n]
    class_ids: np.ndarray  # int [n]
    visible_fraction: np.ndarray  # float [N, n]

    def names(self) -> dict[int, str]:
        """Return the names of the balls by id."""
        return {
            int(key): CLASS_NAMES[int(kind)]
            for key, kind in zip(self.ids, self.class_ids, strict=True)
        }


def render(folder: Path, seed: int, size: int, frames: int) -> Truth:
    """Draw a scene to scene.mp4 and scene_truth.npz in a folder; returns the truth.

    size: height in pixels; the picture is square. Raises ValueError for what Scene refuses.
    """
    if frames < 1:
        raise ValueError(f'--frames must be >= 1, got {frames}')
    scene = Scene(seed, size, size, frames)
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.zeros((frames, size, size), np.uint16)
    fractions = []
    with VideoWriter(folder / 'scene.mp4', (size, size), FPS) as writer:
        for frame in scene:
            writer.write(frame.image)
            labels[frame.index] = frame.labels
            fractions.append(frame.visible_fraction)
    truth = Truth(labels, scene.ids, scene.class_ids, np.stack(fractions))
    np.savez_compressed(folder / 'scene_truth.npz', **asdict(truth))
    return truth


class Demo:
    """Scores final frames, and keeps those that the corrections improved most."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth
        self.first, self.last = Score(), Score()
        self.frames = self.changed = 0
        self._best = Best[tuple[float, str, list[np.ndarray]]](
            _SHEET_ROWS, apart=len(truth.labels) // (2 * _SHEET_ROWS)
        )

    def take(self, settled: Settled) -> None:
        """Score one frame."""
        truth = self.truth.labels[settled.index]
        balls = self.truth.ids[self.truth.visible_fraction[settled.index] >= MIN_VISIBLE]
        before = self.first.add(truth, balls, settled.first.labels)
        after = self.last.add(truth, balls, settled.last.labels)
        self.frames += 1
        self.changed += settled.last.revision > 0
        name = (
            f'frame {settled.index}: mean IoU {before:.2f} as first published, '
            f'{after:.2f} at revision {settled.last.revision}'
        )
        gain = after - before
        self._best.offer(gain, settled.index, lambda: (gain, name, self._tiles(settled)))

    def sheet(self) -> np.ndarray:
        """Return the contact sheet, uint8 [H, W, 3] RGB."""
        best = self._best.items()
        # Frames without a gain are shown only when there are no others.
        shown = [item for item in best if item[0] > 0] or best
        rows, names = [item[2] for item in shown], [item[1] for item in shown]
        return contact_sheet(rows, COLUMNS, names)

    def text(self) -> str:
        """Return the scores as lines."""
        return '\n'.join(
            [
                f'  against the truth (balls of which {MIN_VISIBLE:.0%} or more are visible)',
                f'    mean IoU       {self.first.mean:.3f} as first published, '
                f'{self.last.mean:.3f} final',
                f'    id switches    {self.first.switches} as first published, '
                f'{self.last.switches} final',
                f'    frames changed {self.changed} of {self.frames}',
            ]
        )

    def _tiles(self, settled: Settled) -> list[np.ndarray]:
        first, last = settled.first, settled.last
        return comparison_row(
            settled.image,
            self.truth.labels[settled.index],
            self.truth.names(),
            (first.labels, first.objects),
            (last.labels, last.objects),
            settled.corrected,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m detsam2_ros.demo.offline',
        description='Draw a billiards scene with exact ground truth, segment it with the shipped '
        'models, and show what the reverse passes corrected. Needs no ROS and no network.',
    )
    parser.add_argument('-o', '--output', type=Path, default=Path('demo_out'))
    parser.add_argument('--seed', type=int, default=SEED, help='another scene')
    parser.add_argument('--frames', type=int, default=240, help='default 240')
    parser.add_argument('--size', type=int, default=512, help='pixels; default 512')
    parser.add_argument('--sam2', metavar='MODEL', help='instead of the shipped one')
    parser.add_argument('--yolo', metavar='MODEL', help='instead of the shipped one')
    parser.add_argument('--device', help='default: cuda when there is a GPU, else cpu')
    parser.add_argument('--overlay', choices=('mp4', 'webm'), help='of the overlay video')
    parser.add_argument('-q', '--quiet', action='store_true', help='the scores only')
    return parser


if __name__ == '__main__':
    sys.exit(main())
