# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which mode gives better masks: revision 0 and the final revision, over held-out scenes.

python benchmarks/modes.py --quick            # some minutes of one core
python benchmarks/modes.py --workers 2        # all of it; hours on a small machine, may be stopped
python benchmarks/modes.py --docs             # measures nothing: table and plot from what is there

Every run is one line of the results file, and one that is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from modes_report import write_docs  # noqa: E402

from detsam2_ros.engine import Detections, Engine, EngineConfig, load_sam2  # noqa: E402
from detsam2_ros.scene.scene import CLASS_NAMES, SceneFrame, SceneOptions, render  # noqa: E402
from training.engine_score import Tally  # noqa: E402

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
# A box of a ball that is seen this little is none that a detector would find.
LEAST_VISIBLE = 0.3


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


class TruthDetector:
    """Finds the boxes of the truth, some of them missed; asked for detection frames in order."""

    def __init__(self, film: list[SceneFrame], interval: int, missed: float, seed: int):
        self.class_names = CLASS_NAMES
        self._frames = iter(film[::interval])
        self._missed = missed
        self._seed = seed

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """Return the boxes of the next detection frames."""
        return [self._boxes(next(self._frames)) for _ in images]

    def _boxes(self, frame: SceneFrame) -> Detections:
        # Whether a ball is missed on a frame depends on neither K nor mode.
        chance = np.random.default_rng((self._seed, frame.index)).random(len(frame.ids))
        rows = np.flatnonzero((frame.visible_fraction > LEAST_VISIBLE) & (chance >= self._missed))
        return Detections(frame.boxes[rows], frame.class_ids[rows], np.full(len(rows), 0.9))


def main() -> int:
    options = parse_options()
    jobs = list(planned(options))
    done = {job: row for job, row in read(options.results) if job in set(jobs)}
    if not options.docs:
        missing = [job for job in jobs if job not in done]
        print(f'{len(jobs)} runs, {len(missing)} of them to do', file=sys.stderr)
        for job, row in run_all(missing, options.workers):
            with options.results.open('a') as file:
                file.write(json.dumps({**asdict(job), **row}) + '\n')
            done[job] = row
            print(f'{len(done)}/{len(jobs)} {job} {row["final_iou"]:.3f}', file=sys.stderr)
    if not done:
        print('there are no results yet: run it without --docs', file=sys.stderr)
        return 1
    rows = [{**asdict(job), **row} for job, row in done.items()]
    print(write_docs(rows, options.page, options.picture))
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--modes', nargs='+', choices=MODES, default=list(MODES))
    parser.add_argument(
        '--settings', nargs='+', type=setting, metavar='K,D,M', help='default: nine of them'
    )
    parser.add_argument('--seeds', type=int, help='clips a case; default 6')
    parser.add_argument('--frames', type=int, help='of each clip; default 120')
    parser.add_argument('--balls', type=int, default=4)
    parser.add_argument('--workers', type=int, default=1, help='processes, of one thread each')
    parser.add_argument('--results', type=Path, default=ROOT / 'runs' / 'modes.jsonl')
    parser.add_argument('--page', type=Path, help='markdown file whose table is replaced')
    parser.add_argument('--picture', type=Path, help='PNG file of the plot')
    parser.add_argument('--docs', action='store_true', help='measure nothing; write docs/measured/modes.md')
    parser.add_argument('--quick', action='store_true', help='one clip of 40 frames, two settings')
    options = parser.parse_args()
    options.seeds = options.seeds or (1 if options.quick else 6)
    options.frames = options.frames or (40 if options.quick else 120)
    options.settings = options.settings or (SETTINGS[:2] if options.quick else SETTINGS)
    if options.docs:
        options.page = options.page or ROOT / 'docs' / 'measured' / 'modes.md'
        options.picture = options.picture or ROOT / 'docs' / 'measured' / 'images' / 'modes.png'
    options.results.parent.mkdir(parents=True, exist_ok=True)
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


def read(path: Path) -> Iterator[tuple[Job, dict]]:
    """Read the runs that are done."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        row = json.loads(line)
        yield Job(**{name: row.pop(name) for name in Job.__dataclass_fields__}), row


def run_all(jobs: list[Job], workers: int) -> Iterator[tuple[Job, dict]]:
    """Do the runs; yields them as they are done."""
    if workers == 1:
        for job in jobs:
            yield job, run(job)
        return
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        yield from pool.imap_unordered(_numbered, jobs)


def _numbered(job: Job) -> tuple[Job, dict]:
    return job, run(job)


def run(job: Job) -> dict[str, float]:
    """Run one stream; returns sums, so that clips of any length add up."""
    import torch

    torch.set_num_threads(1)
    options, missed = CASES[job.case]
    film = render(job.seed, job.frames, options=SceneOptions(balls=job.balls, **options))
    config = EngineConfig(job.K, job.D, job.M, mode=job.mode)
    detector = TruthDetector(film, job.D, missed, job.seed)
    engine = Engine(load_sam2('demo'), detector, config)
    stream = engine.open_stream('clip')
    first, final, waits = {}, {}, []
    begin = time.process_time()
    for frame in film:
        results = stream.push(frame.image, frame.index)
        results += stream.flush() if frame is film[-1] else []
        for result in results:
            if result.revision == 0:
                first[result.index] = result
                waits.append(frame.index - result.index)
            final[result.index] = result
    seconds = time.process_time() - begin
    stats = engine.stats()
    return {
        **scored('first', film, first),
        **scored('final', film, final),
        'wait': float(np.mean(waits)),
        'seconds': seconds / job.frames,
        'tracked': stats.tracked_frames + stats.forward_frames + stats.associated_frames,
    }


def scored(name: str, film: list[SceneFrame], results: dict) -> dict[str, float]:
    """Score one revision of every frame: see `training.engine_score.Tally`."""
    tally = Tally()
    tally.add_clip(film, results)
    return {
        f'{name}_iou': float(np.mean(tally.ious)),
        f'{name}_ious': float(np.sum(tally.ious)),
        f'{name}_balls': len(tally.ious),
        f'{name}_found': tally.found,
        f'{name}_switches': tally.switches,
        f'{name}_stray': tally.stray_frames,
        f'{name}_shown': tally.shown_frames,
    }


if __name__ == '__main__':
    sys.exit(main())
