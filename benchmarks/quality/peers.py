# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Ours against peers: the same frames, boxes and weights, and all that each said of every frame.

python -m benchmarks.quality.peers               # shipped model, held-out clips, one CPU thread
python -m benchmarks.quality.peers --limit 5     # five runs more, then stop
python -m benchmarks.quality.peers --write --docs   # measures nothing: pages and plot

K = D = 10, M = 40, all else the engine's defaults. One run of a clip is one line of the results
file, its masks by revision lie in a compressed file beside, and one that is there is not made
again. The methods of a clip share its encodings: each is timed without them, and the time of as
many encodings as it asked for is added.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import pages, runs
from benchmarks.quality import peer_plot, peer_scores, peer_tables, sam2_peers
from benchmarks.quality.balanced import encodings
from benchmarks.quality.peer_clips import CASES, INTERVAL, Shown, shown
from benchmarks.quality.peer_records import of_labels, save, save_truth
from benchmarks.quality.sam2_peers import Given, Said
from detsam2_ros.engine import Detections, Engine, EngineConfig, FrameResult, finals
from detsam2_ros.quality.segments import RevisedVideo, Revision
from detsam2_ros.scene.scene import CLASS_NAMES

# The shipped models were trained on seeds below 1,000,000.
FIRST_SEED = 1_009_000
QUALITY = pages.MEASURED.with_name('quality.md')
CONFIG = EngineConfig(detect_interval=INTERVAL)
Method = Callable[[Shown], Said]


@dataclass(frozen=True)
class Job:
    """One method over one clip. frames: of a clip that has no length of its own."""

    case: str
    method: str
    seed: int
    frames: int


class Told:
    """A detector that finds what it was told to; asked for detection frames in order."""

    def __init__(self, clip: Shown):
        self.class_names = CLASS_NAMES
        self._found = iter([clip.found[index] for index in sorted(clip.found)])

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        """Return the boxes of the next detection frames."""
        return [next(self._found) for _ in images]


def ours(clip: Shown, quality: str, mode: str, **given: object) -> Said:
    """Run the engine, with other parameters than its defaults; returns all that it said."""
    dtype = 'bfloat16' if quality == 'balanced' else 'float32'
    config = EngineConfig.of(quality, mode=mode, detect_interval=INTERVAL, **given)
    engine = Engine(encodings(dtype).model, Told(clip), config)
    revisions: list[Revision] = []
    now = -1

    def images() -> Iterator[tuple[np.ndarray, int]]:
        nonlocal now
        for frame in clip.film:
            now = frame.index
            yield frame.image, now

    def note(result: FrameResult) -> None:
        classes = {thing.id: thing.class_id for thing in result.objects}
        revisions.append(Revision(
            result.index, result.revision, now, result.final, of_labels(result.labels, classes),
            frozenset(result.withdrawn_ids),
        ))  # fmt: skip

    settled = {each.index: now for each in finals(engine.open_stream('clip'), images(), note)}
    return Said(revisions, settled)


@functools.lru_cache(maxsize=1)
def every_box(clip: Shown) -> tuple[Said, list[Given]]:
    """Track forward with all boxes; that tells which box is which object offline too."""
    return sam2_peers.forward(clip, CONFIG, again=True)


OFFLINE = 'sam2 offline'
METHODS: dict[str, Method] = {
    'ours, online, balanced': lambda clip: ours(clip, 'balanced', 'online'),
    'ours, all confirmed': lambda clip: ours(clip, 'balanced', 'online', confirm_detections=0),
    'ours, online, exact': lambda clip: ours(clip, 'exact', 'online'),
    'ours, window, balanced': lambda clip: ours(clip, 'balanced', 'window'),
    'ours, window, exact': lambda clip: ours(clip, 'exact', 'window'),
    'sam2 forward': lambda clip: sam2_peers.forward(clip, CONFIG, again=False)[0],
    'sam2 forward, all boxes': lambda clip: every_box(clip)[0],
    OFFLINE: lambda clip: sam2_peers.offline(clip, CONFIG, every_box(clip)[1]),
    'sam2 offline, true ids': lambda clip: sam2_peers.offline(
        clip, CONFIG, sam2_peers.true_prompts(clip, CONFIG)
    ),
    'sam2 backward': lambda clip: sam2_peers.backward(clip, CONFIG),
    "report's rule": lambda clip: sam2_peers.report(clip, CONFIG),
}


def main() -> int:
    options = parse_options()
    rows = runs.measured(options, Job, planned(options), functools.partial(run, options.results))
    scored = scores(options.results, rows)
    tables = peer_tables.tables(scored, list(CASES), list(METHODS))
    print('\n\n'.join(tables.values()))
    if options.page is not None:
        pages.write(options.page, tables)
        if options.page.parent == pages.MEASURED:
            whole = peer_tables.summary(scored, list(CASES), list(METHODS))
            pages.write(QUALITY, {'summary': whole})
        peer_plot.plot(scored, list(CASES), options.page.parent / 'images' / 'peers.svg')
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS))
    parser.add_argument('--clips', type=int, default=8, help='clips a case')
    parser.add_argument('--first', type=int, default=0, help='the first of them')
    parser.add_argument('--frames', type=int, default=80, help='of each clip')
    parser.add_argument('--limit', type=int, help='measure so many runs at most')
    runs.add_options(parser, 'peers')
    return parser.parse_args()


def planned(options: argparse.Namespace) -> Iterator[Job]:
    """Name the runs, all of a clip in a row."""
    for number in range(options.first, options.clips):
        for case in options.cases:
            for method in options.methods:
                yield Job(case, method, FIRST_SEED + number, options.frames)


def record(results: Path, job: Job | None, case: str, seed: int) -> Path:
    """Return the file of a run beside the results; of the truth of its clip without a job."""
    name = 'truth' if job is None else job.method
    words = re.sub(r'[^a-z0-9]+', '_', f'{case} {seed} {name}'.lower())
    return results.with_suffix('') / f'{words}.npz'


def run(results: Path, job: Job) -> runs.Line:
    """Run one method over one clip; returns the job, its times and counts."""
    torch.set_num_threads(1)
    clip = shown(job.case, job.seed, job.frames)
    truth = record(results, None, job.case, job.seed)
    if not truth.exists():
        save_truth(truth, clip.truth())
    if job.method == OFFLINE:
        every_box(clip)  # not timed
    else:
        every_box.cache_clear()
    every = [encodings(dtype) for dtype in ('float32', 'bfloat16')]
    begin = time.process_time() - sum(encoded.seconds for encoded in every)
    asked = [encoded.asked for encoded in every]
    said = METHODS[job.method](clip)
    seconds = time.process_time() - sum(encoded.seconds for encoded in every) - begin
    asked = [encoded.asked - before for encoded, before in zip(every, asked, strict=True)]
    height, width = clip.film[0].labels.shape
    video = RevisedVideo(
        clip.name, (height, width), tuple(said.revisions), CLASS_NAMES, said.settled
    )
    save(record(results, job, job.case, job.seed), video)
    return asdict(job) | {
        'length': len(clip.film),
        'boxes': sum(map(len, clip.found.values())),
        'seconds': seconds,
        'encodings': sum(asked),
        'encode_s': sum(
            count * encoded.new_s / encoded.encoded
            for count, encoded in zip(asked, every, strict=True)
            if count
        ),
    }


def scores(results: Path, rows: Sequence[runs.Line]) -> list[runs.Line]:
    """Return runs with their measures; those that were not taken before are now, and kept.

    A run that was made again is measured again, and so is each when the measures change.
    """
    read = runs.job_in(Job)

    def files(job: Job) -> tuple[Path, Path]:
        return record(results, None, job.case, job.seed), record(results, job, job.case, job.seed)

    def measured(job: Job) -> runs.Line:
        of = peer_scores.version(*files(job))
        return asdict(job) | {'version': of} | peer_scores.score(*files(job))

    def key(line: runs.Line) -> tuple[Job, str]:
        return read(line), line['version']

    journal = runs.Journal(results.with_name(f'{results.stem}_scores.jsonl'), key)
    jobs = {(read(row), peer_scores.version(*files(read(row)))): read(row) for row in rows}
    journal.measure(jobs, measured)
    return [row | journal.lines[each] for row, each in zip(rows, jobs, strict=True)]


if __name__ == '__main__':
    sys.exit(main())
