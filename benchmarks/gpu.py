# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""All that is to be known of a GPU, in under nine minutes.

python benchmarks/gpu.py                              # needs a CUDA device; SAM 2.1 at 1024 px
python benchmarks/gpu.py --docs                       # writes its tables to docs/measured/performance.md
python benchmarks/gpu.py --device cpu --rehearse      # tries it out, on a tiny model

Writes results.jsonl, summary.json and tables.md to --out. It keeps its time by itself: what does
not fit is skipped, and said to be. Prints pass or FAIL for each aim.
"""

from __future__ import annotations

import time

BEGIN = time.monotonic()  # imports and the start of CUDA count too

import argparse  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Iterator, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

os.environ.setdefault('OMP_NUM_THREADS', '4')

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks import aims, performance_docs  # noqa: E402
from benchmarks.budget import Task, run_within  # noqa: E402
from benchmarks.place import Place, load, machine  # noqa: E402
from benchmarks.results import Results  # noqa: E402

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


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_options(argv)
    if options.device != 'cpu' and not torch.cuda.is_available():
        print('no CUDA device here; --device cpu --rehearse tries it out', file=sys.stderr)
        return 2
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
        tasks, options.seconds, lambda text: print(text, flush=True), begin=BEGIN
    )
    load.cache_clear()
    tables = performance_docs.tables(rows) if rows else {}
    verdicts = aims.gpu(rows, 'rehearsal' if options.rehearse else 'tiny')
    texts = [f'### {name}\n\n{text}' for name, text in tables.items()]
    texts.append('### aims\n\n' + '\n'.join(f'- {verdict}' for verdict in verdicts))
    if outcome.skipped:
        lines = [f'- {name}: {why}' for name, why in outcome.skipped.items()]
        texts.append('### skipped\n\n' + '\n'.join(lines))
    text = '\n\n'.join(texts)
    (options.out / 'tables.md').write_text(text + '\n', encoding='utf-8')
    summary = {
        'machine': machine(place),
        'seconds': time.monotonic() - BEGIN,
        'aims': [vars(verdict) for verdict in verdicts],
        **vars(outcome),
    }
    (options.out / 'summary.json').write_text(json.dumps(summary, indent=1) + '\n')
    if options.docs and not options.rehearse:
        performance_docs.write(ROOT / 'docs' / 'measured' / 'performance.md', {'gpu': text})
    print('\n' + text)
    print(f'\n{time.monotonic() - BEGIN:.0f} s; {len(outcome.done)} measured, ', end='')
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
    sys.exit(main())
