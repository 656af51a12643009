# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Do objects keep their ids when frames are dropped, as they are in overload?

python -m benchmarks.quality.skipped            # some 15 minutes of one core, may be stopped
python -m benchmarks.quality.skipped --docs

Mode online, held-out scenes, boxes of the truth on every tenth frame that is taken. The engine
sees the frames that are kept and no others; it is scored on these frames as first published.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchmarks.harness import pages, runs
from benchmarks.quality.clips import TruthDetector, played
from detsam2_ros.engine import Engine, EngineConfig, load_sam2
from detsam2_ros.scene.scene import SceneOptions, render
from detsam2_ros.scene.score import MIN_VISIBLE, Score

FIRST_SEED = 1_000_200  # the shipped models were trained on seeds below 1,000,000
# name: of so many frames in a row the first ones are kept
PATTERNS = {
    'none': (1, 1),
    'every third': (3, 2),
    'every second': (2, 1),
    'two of three': (3, 1),
}


@dataclass(frozen=True)
class Job:
    """One run of a stream over what is kept of one clip."""

    seed: int
    frames: int
    balls: int
    dropped: str


def run(job: Job) -> runs.Line:
    """Run one stream; returns the job and sums, so that clips add up."""
    torch.set_num_threads(1)
    period, kept = PATTERNS[job.dropped]
    scene = render(job.seed, job.frames, options=SceneOptions(balls=job.balls))
    film = [frame for frame in scene if frame.index % period < kept]
    config = EngineConfig(10, 10, 20, mode='online')
    engine = Engine(load_sam2('demo'), TruthDetector(film, 10, 0.0, job.seed), config)
    results, score, ids = played(engine.open_stream('clip'), film).first, Score(), set()
    for place, frame in enumerate(film):
        seen = frame.ids[frame.visible_fraction >= MIN_VISIBLE]
        score.add(frame.labels, seen, results[place].labels)
        ids |= {shown.id for shown in results[place].objects}
    return {
        **asdict(job),
        'shown': len(score.ious),
        'iou_sum': float(np.sum(score.ious)),
        'found': score.found_count,
        'switches': score.switches,
        'ids': len(ids),
    }


def planned(options: argparse.Namespace) -> Iterator[Job]:
    """Name the runs, clip by clip."""
    for number in range(options.clips):
        for dropped in PATTERNS:
            yield Job(FIRST_SEED + number, options.frames, options.balls, dropped)


def table(rows: list[runs.Line]) -> str:
    """Format the sums over the clips as a markdown table."""
    lines = []
    for dropped in PATTERNS:
        own = [row for row in rows if row['dropped'] == dropped]
        if not own:
            continue
        sums = {key: sum(row[key] for row in own) for key in own[0] if key != 'dropped'}
        lines.append([
            dropped, str(len(own)), str(sums['shown']), f'{sums["iou_sum"] / sums["shown"]:.3f}',
            f'{sums["found"] / sums["shown"]:.3f}', str(sums['switches']), str(sums['ids']),
        ])  # fmt: skip
    head = (
        'dropped frames', 'clips', 'balls on kept frames', 'IoU', 'found', 'id switches',
        'ids given',
    )  # fmt: skip
    return pages.markdown(head, lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--clips', type=int, default=8)
    parser.add_argument('--frames', type=int, default=72, help='of each clip, dropped ones too')
    parser.add_argument('--balls', type=int, default=4)
    parser.add_argument('--limit', type=int, help='measure so many runs at most')
    runs.add_options(parser, 'load')
    options = parser.parse_args()
    text = table(runs.measured(options, Job, planned(options), run))
    print(text)
    if options.page is not None:
        pages.write(options.page, {'skipped': text})
    return 0


if __name__ == '__main__':
    sys.exit(main())
