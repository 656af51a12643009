# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which mode gives better masks: revision 0 and the final revision, over held-out scenes.

python -m benchmarks.quality.modes --quick            # some minutes of one core
python -m benchmarks.quality.modes --workers 2        # all of it; hours, may be stopped
python -m benchmarks.quality.modes --write --docs   # measures nothing: table and plot

Every run is one line of the results file, and one that is there is not run again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchmarks.harness import pages, runs
from benchmarks.quality import mode_tables
from benchmarks.quality.clips import TruthDetector, played
from detsam2_ros.engine import Engine, EngineConfig, load_sam2
from detsam2_ros.scene.scene import SceneFrame, SceneOptions, render
from training.engine_score import score

# The shipped models were trained on seeds below 1,000,000.
FIRST_SEED = 1_000_100
_PLAIN = {'occluders': 0.0, 'late_ball': 0.0}
# name: what the scene has, and the share of boxes that the detector misses
CASES: dict[str, tuple[dict[str, float], float]] = {
    'clean': (_PLAIN, 0.0),
    'boxes dropped': (_PLAIN, 0.3),
    'occluded': ({'occluders': 4.0, 'occlusion_boost': 0.5, 'late_ball': 0.0}, 0.0),
    'late ball': ({'occluders': 0.0, 'late_ball': 1.0}, 0.0),
}
# K, D, M: the usual ones first, then K, M and D varied.
SETTINGS = (
    (10, 10, 20), (5, 10, 20), (20, 10, 40), (10, 10, 10), (10, 10, 30), (10, 5, 20),
    (10, 20, 20), (5, 5, 10), (5, 10, 10),
)  # fmt: skip
MODES = ('window', 'online')


@dataclass(frozen=True)
class Job:
    """One run of a stream over one clip."""

    case: str
    seed: int
    frames: int
    balls: int
    mode: str
    K: int
    D: int
    M: int


def main() -> int:
    options = parse_options()
    rows = runs.measured(options, Job, planned(options), run, options.workers)
    summed = mode_tables.add_up(rows)
    text = mode_tables.table(summed, rows)
    print(text)
    if options.page is not None:
        pages.write(options.page, {'modes': text})
        mode_tables.plot(summed, options.page.parent / 'images' / 'modes.png')
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES))
    parser.add_argument(
        '--settings', nargs='+', type=setting, metavar='K,D,M', help='default: nine of them'
    )
    parser.add_argument('--seeds', type=int, help='clips a case; default 6')
    parser.add_argument('--frames', type=int, help='of each clip; default 120')
    parser.add_argument('--balls', type=int, default=4)
    parser.add_argument('--workers', type=int, default=1, help='processes, of one thread each')
    parser.add_argument('--quick', action='store_true', help='one clip of 40 frames, two settings')
    runs.add_options(parser, 'modes')
    options = parser.parse_args()
    options.seeds = options.seeds or (1 if options.quick else 6)
    options.frames = options.frames or (40 if options.quick else 120)
    options.settings = options.settings or (SETTINGS[:2] if options.quick else SETTINGS)
    return options


def setting(text: str) -> tuple[int, int, int]:
    """Read 'K,D,M'."""
    window, interval, reach = (int(part) for part in text.split(','))
    return window, interval, reach


def planned(options: argparse.Namespace) -> Iterator[Job]:
    """Name the runs, those of the first clips and settings first."""
    for number in range(options.seeds):
        for at in options.settings:
            for case in options.cases:
                for mode in options.modes:
                    seed = FIRST_SEED + number
                    yield Job(case, seed, options.frames, options.balls, mode, *at)


def run(job: Job) -> runs.Line:
    """Run one stream; returns the job and sums, so that clips of any length add up."""
    torch.set_num_threads(1)
    options, missed = CASES[job.case]
    film = render(job.seed, job.frames, options=SceneOptions(balls=job.balls, **options))
    config = EngineConfig(job.K, job.D, job.M, mode=job.mode)
    engine = Engine(load_sam2('demo'), TruthDetector(film, job.D, missed, job.seed), config)
    begin = time.process_time()
    clip = played(engine.open_stream('clip'), film)
    seconds = time.process_time() - begin
    stats = engine.stats()
    return {
        **asdict(job),
        **scored('first', film, clip.first),
        **scored('final', film, clip.final),
        'wait': float(np.mean(clip.waits)),
        'seconds': seconds / job.frames,
        'tracked': stats.tracked_frames + stats.forward_frames + stats.associated_frames,
    }


def scored(name: str, film: list[SceneFrame], results: dict) -> dict[str, float]:
    """Score one revision of every frame: see `training.engine_score.score`."""
    tally = score(film, results)
    return {
        f'{name}_iou': float(np.mean(tally.ious)),
        f'{name}_ious': float(np.sum(tally.ious)),
        f'{name}_balls': len(tally.ious),
        f'{name}_found': tally.found_count,
        f'{name}_switches': tally.switches,
        f'{name}_stray': tally.stray.total(),
        f'{name}_shown': tally.shown.total(),
    }


if __name__ == '__main__':
    sys.exit(main())
