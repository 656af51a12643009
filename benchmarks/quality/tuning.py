# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What K, D and M cost and bring.

python -m benchmarks.quality.tuning --again --docs   # about 5 minutes of one core
python -m benchmarks.quality.tuning --write --docs   # measures nothing: the table, and the figure

What was measured is in docs/measured/tuning.jsonl.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import pages, runs
from benchmarks.harness.place import ROOT
from benchmarks.quality.clips import played
from detsam2_ros.engine import Engine, EngineConfig, FrameResult, YoloDetector, load_sam2
from detsam2_ros.quality.overlap import iou_table
from detsam2_ros.results.masks import Mask
from detsam2_ros.scene.scene import Scene, SceneFrame, SceneOptions
from detsam2_ros.scene.score import MIN_VISIBLE

# K, D, M of the measured points: M varies, then K, then D.
POINTS = (
    (10, 10, 10), (10, 10, 20), (10, 10, 30), (10, 10, 40),
    (5, 10, 10), (20, 10, 40), (10, 5, 20), (10, 20, 20),
)  # fmt: skip
SEEDS = (1_000_013, 1_000_021)
FRAMES = 90
BALLS = 3
BLUE, ORANGE, GREY = '#2a6fbb', '#d9731a', '#777777'


def tracked_frames(window: int, interval: int, reach: int) -> float:
    """Return the tracked frames for each object and frame, once a stream has run for M frames."""
    return reach / window * (1 - 1 / interval) + 1 / interval


def first_mask_wait(window: int, rate: float) -> np.ndarray:
    """Return how long the frames of a window wait for its end: seconds, oldest first."""
    return np.arange(window - 1, -1, -1) / rate


@dataclass(frozen=True)
class Job:
    """The mean over the scenes of one run each."""

    K: int
    D: int
    M: int
    frames: int = FRAMES  # of each scene


class Bench:
    """The shipped models, over rendered scenes."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._model, self._detector = load_sam2('demo'), YoloDetector('demo', device='cpu')

    def run(self, job: Job) -> runs.Line:
        """Segment the scenes; returns the job, costs for each frame, and IoU with the truth."""
        rows = [self._scene(job, seed) for seed in SEEDS]
        return asdict(job) | {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}

    def _scene(self, job: Job, seed: int) -> dict[str, float]:
        config = EngineConfig(
            job.K, job.D, job.M, mode='window', windows='plain', max_conditioned_memories=8
        )
        engine = Engine(self._model, self._detector, config)
        length = job.frames - job.frames % job.K  # an unfinished window would cost a whole pass
        options = SceneOptions(balls=BALLS, occluders=4.0)
        film = list(Scene(seed, length=length, options=options))
        begin = time.process_time()
        clip = played(engine.open_stream('clip'), film)
        seconds = time.process_time() - begin
        objects = sum(len(result.objects) for result in clip.first.values())
        stats = engine.stats()
        first, final = (
            mean_iou(film, results)
            for results in (clip.first, clip.final)
        )
        return {
            'tracked': (stats.tracked_frames + stats.associated_frames) / max(objects, 1),
            'seconds': seconds / length,
            'objects': objects / length,
            'iou_first': first,
            'iou_final': final,
            'corrections': stats.corrections / length,
        }


def table(points: list[runs.Line]) -> str:
    """Return the points as a markdown table."""
    head = (
        'K, D, M', 'tracked frames, an object and frame', 'ms a frame', 'objects',
        'IoU rev. 0', 'IoU final', 'corrections a frame',
    )  # fmt: skip
    return pages.markdown(head, (
        [
            f'{p["K"]}, {p["D"]}, {p["M"]}', f'{p["tracked"]:.2f}',
            f'{1000 * p["seconds"]:.0f}', f'{p["objects"]:.1f}', f'{p["iou_first"]:.3f}',
            f'{p["iou_final"]:.3f}', f'{p["corrections"]:.2f}',
        ]
        for p in points
    ))  # fmt: skip


def mean_iou(truth: list[SceneFrame], results: dict[int, FrameResult]) -> float:
    """Return the mean over visible balls of the IoU of the mask that fits best."""
    scores = []
    for frame in truth:
        balls = frame.ids[frame.visible_fraction >= MIN_VISIBLE].tolist()
        shown = [thing.mask for thing in results[frame.index].objects]
        table = iou_table([Mask.of(frame.labels == ball) for ball in balls], shown)
        scores += table.max(axis=1, initial=0.0).tolist()
    return float(np.mean(scores))


def draw(points: list[runs.Line], picture: Path) -> None:
    """Draw cost, wait and gain."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    plt.rcParams.update({'font.size': 9, 'axes.spines.top': False, 'axes.spines.right': False})
    figure, (cost, wait, gain) = plt.subplots(1, 3, figsize=(11, 3.4), layout='constrained')

    ratio = np.linspace(1, 4.2, 50)
    for interval, style in ((5, ':'), (10, '-'), (20, '--')):
        cost.plot(
            ratio, ratio * (1 - 1 / interval) + 1 / interval, style, color=GREY,
            label=f'formula, D = {interval}',
        )  # fmt: skip
    for p in points:
        cost.plot(p['M'] / p['K'], p['tracked'], 'o', color=BLUE)
        left = p['D'] != 10
        cost.annotate(
            f'{p["K"]}/{p["D"]}/{p["M"]}', (p['M'] / p['K'], p['tracked']), fontsize=7,
            xytext=(-6 if left else 5, -3 if left else -8), textcoords='offset points',
            ha='right' if left else 'left',
        )  # fmt: skip
    cost.plot([], [], 'o', color=BLUE, label='measured, K/D/M')
    cost.set(
        xlabel='M / K', ylabel='tracked frames per object and frame',
        title='Cost grows with M / K', ylim=(0, None),
    )  # fmt: skip
    cost.legend(frameon=False, fontsize=8)

    sizes = np.arange(1, 31)
    for rate, colour in ((10, ORANGE), (30, BLUE)):
        oldest = [first_mask_wait(int(k), rate)[0] for k in sizes]
        mean = [first_mask_wait(int(k), rate).mean() for k in sizes]
        wait.plot(sizes, oldest, color=colour, label=f'oldest frame, {rate} Hz')
        wait.plot(sizes, mean, ':', color=colour, label=f'mean, {rate} Hz')
    wait.set(
        xlabel='K', ylabel='seconds, plus one inference',
        title='The first mask waits for its window', ylim=(0, None),
    )  # fmt: skip
    wait.legend(frameon=False, fontsize=8)

    chosen = sorted((p for p in points if p['K'] == p['D'] == 10), key=lambda p: p['M'])
    reach = [p['M'] for p in chosen]
    gain.plot(reach, [p['iou_final'] for p in chosen], 'o-', color=BLUE, label='final')
    gain.plot(reach, [p['iou_first'] for p in chosen], 'o:', color=ORANGE, label='revision 0')
    gain.set(
        xlabel='M, with K = D = 10', ylabel='mean IoU with the truth',
        title='Corrections reach M - K frames back', xticks=reach,
    )  # fmt: skip
    gain.legend(frameon=False, fontsize=8)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=130)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--again', action='store_true', help='measure also what is there')
    parser.add_argument('--quick', action='store_true', help='one point, 20 frames a scene')
    runs.add_options(parser, 'tuning')
    parser.set_defaults(results=pages.MEASURED / 'tuning.jsonl')
    options = parser.parse_args()
    jobs = [Job(*point) for point in POINTS]
    if options.quick:
        jobs, options.results = [Job(*POINTS[0], 20)], ROOT / 'runs' / 'tuning.jsonl'
    journal = runs.Journal(options.results, runs.job_in(Job))
    if not options.write:
        journal.measure({job: job for job in jobs}, Bench().run, options.again)
    points = journal.of(jobs)
    print(table(points))
    if options.page is not None:
        pages.write(options.page, {'tuning': table(points)})
        draw(points, options.page.parent / 'images' / 'tuning.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
