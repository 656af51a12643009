# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""All that is to be known of a GPU, in under nine minutes.

python -m benchmarks.speed.gpu                         # needs a CUDA device; SAM 2.1 at 1024 px
python -m benchmarks.speed.gpu --docs                  # writes to docs/measured/performance.md
python -m benchmarks.speed.gpu --device cpu --rehearse # tries it out, on a tiny model

Writes results.jsonl, summary.json and tables.md to --out. It keeps its time by itself: what does
not fit is skipped, and said to be. Prints pass or FAIL for each aim.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.harness import pages
from benchmarks.harness.place import ROOT, Place, load, machine
from benchmarks.harness.turns import Task, run_within
from benchmarks.speed import aims, tables
from benchmarks.speed.results import Results

BUDGET_S = 525.0  # the rest of nine minutes is for what a task takes beyond its limit

# section, job, least and most seconds. Whatever is measured window by window stops at its limit,
# with what it has.
Planned = tuple[str, dict[str, Any], float, float]


def planned(rehearse: bool) -> Iterator[Planned]:
    """Name the measurements, those that the aims are about first."""
    main = {'model': 'tiny', 'size': 1024, 'K': 10, 'M': 20, 'frame': [1280, 720]}
    rates, frames, windows, long = [10, 30], 90, 6, 6000
    if rehearse:
        main = {'model': 'rehearsal', 'size': 64, 'K': 2, 'M': 4, 'frame': [64, 64]}
        rates, frames, windows, long = [30], 12, 2, 20
    large = ('base_plus', 'large') if not rehearse else ()
    camera = {**main, 'rates': rates, 'frames': frames}
    many = {'by': 'objects', 'values': [1, 4, 8], 'windows': windows, 'mode': 'window'}
    yield 'growth', {**main, **many}, 20, 60
    yield 'compare', {**main, 'objects': 1, 'windows': windows}, 10, 40
    yield 'compare', {**main, 'objects': 8, 'windows': windows}, 20, 70
    yield 'latency', {**camera, 'objects': 1, 'mode': 'online'}, 20, 45
    yield 'stages', {**main, 'objects': 1, 'windows': windows, 'mode': 'window'}, 8, 30
    yield 'stages', {**main, 'objects': 8, 'windows': windows, 'mode': 'window'}, 8, 30
    yield 'compare', {**main, 'objects': 4, 'windows': windows}, 15, 45
    yield 'latency', {**camera, 'objects': 8, 'mode': 'online'}, 20, 45
    small = {**main, 'objects': 1, 'frame': [256, 256]}
    yield 'endurance', {**small, 'mode': 'window', 'frames': long}, 8, 30
    yield 'launches', {**main, 'objects': 4, 'dtype': 'bfloat16'}, 8, 30
    yield 'latency', {**camera, 'objects': 1, 'mode': 'window'}, 20, 40
    yield 'stages', {**main, 'objects': 1, 'windows': windows, 'mode': 'online'}, 8, 20
    for model in large:
        one = {**main, 'model': model, 'objects': 1}
        yield 'compare', {**one, 'windows': 3}, 15, 40
        yield 'stages', {**one, 'windows': 3, 'mode': 'window'}, 8, 20
    yield 'growth', {**small, 'by': 'cameras', 'windows': windows, 'mode': 'window'}, 10, 25
    reaches = [[10, 10], [10, 20], [10, 40]] if not rehearse else [[2, 2], [2, 4]]
    reach = {'by': 'reach', 'values': reaches, 'windows': windows, 'mode': 'window'}
    yield 'growth', {**small, **reach}, 10, 25
    bank = {'by': 'bank', 'values': [0, 4, 16], 'windows': windows, 'mode': 'window'}
    yield 'growth', {**small, **bank}, 10, 25
    # The only model with weights: what options do to masks can be seen with it alone.
    shipped = {'model': 'demo', 'size': None, 'K': 10, 'M': 20, 'frame': [640, 480]}
    if not rehearse:
        yield 'options', {**shipped, 'objects': 4, 'windows': 6, 'options': True}, 15, 40
    yield 'compare', {**main, 'objects': 16, 'windows': 3}, 30, 60


def main(argv: Sequence[str] | None = None, spent: float = 0.0) -> int:
    """Measure; spent: seconds of the time that are over."""
    begin = time.monotonic() - spent
    options = parse_options(argv)
    if options.device != 'cpu' and not torch.cuda.is_available():
        print('no CUDA device here; --device cpu --rehearse tries it out', file=sys.stderr)
        return 2
    if options.device != 'cpu':
        torch.set_num_threads(4)
    place = Place(options.device, 'bfloat16' if options.device != 'cpu' else 'float32')
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / 'results.jsonl'
    path.unlink(missing_ok=True)
    results, rows = Results(path, place), []

    def task(section: str, job: dict[str, Any], least: float, most: float) -> Task:
        def run(limit_s: float) -> None:
            try:
                rows.append(results.measure(section, job, limit_s))
            finally:
                gc.collect()
                if place.cuda:
                    torch.cuda.empty_cache()

        name = f'{section}: ' + ', '.join(f'{key} {value}' for key, value in job.items())
        # A rehearsal is of the work, not of the time.
        return Task(name, least if not options.rehearse else 0.0, most, run)

    tasks = [task(*each) for each in planned(options.rehearse)]
    print(f'{len(tasks)} measurements in {options.seconds:.0f} s', flush=True)
    outcome = run_within(
        tasks, options.seconds, lambda text: print(text, flush=True), begin=begin
    )
    load.cache_clear()
    found = tables.tables(rows) if rows else {}
    verdicts = aims.gpu(rows, 'rehearsal' if options.rehearse else 'tiny')
    texts = [f'### {name}\n\n{text}' for name, text in found.items()]
    texts.append('### aims\n\n' + '\n'.join(f'- {verdict}' for verdict in verdicts))
    if outcome.skipped:
        lines = [f'- {name}: {why}' for name, why in outcome.skipped.items()]
        texts.append('### skipped\n\n' + '\n'.join(lines))
    text = '\n\n'.join(texts)
    (options.out / 'tables.md').write_text(text + '\n', encoding='utf-8')
    summary = {
        'machine': machine(place),
        'seconds': time.monotonic() - begin,
        'aims': [vars(verdict) for verdict in verdicts],
        **vars(outcome),
    }
    (options.out / 'summary.json').write_text(json.dumps(summary, indent=1) + '\n')
    if options.docs and not options.rehearse:
        pages.write(pages.MEASURED / 'performance.md', {'gpu': text})
    print('\n' + text)
    print(f'\n{time.monotonic() - begin:.0f} s; {len(outcome.done)} measured, ', end='')
    print(f'{len(outcome.skipped)} skipped, {len(outcome.failed)} failed')
    if options.rehearse:
        return 1 if outcome.failed or outcome.skipped else 0
    return 0 if not outcome.failed and all(verdict.met for verdict in verdicts) else 1


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--rehearse', action='store_true', help='a tiny model, in seconds')
    parser.add_argument('--seconds', type=float, default=BUDGET_S)
    parser.add_argument('--out', type=Path, default=ROOT / 'runs' / 'gpu')
    parser.add_argument('--docs', action='store_true', help='write docs/measured/performance.md')
    return parser.parse_args(argv)


if __name__ == '__main__':
    # Imports and the start of CUDA count too.
    sys.exit(main(spent=time.time() - psutil.Process().create_time()))
