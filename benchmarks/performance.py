# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Measures what docs/measured/performance.md says, and writes it there.

python benchmarks/performance.py --docs            # all of it, on one core: two hours or so
python benchmarks/performance.py --quick           # a look at every section: minutes
python benchmarks/performance.py --sections compare options
python benchmarks/performance.py --write --docs    # measures nothing: the page from what is there

Every measurement is one line of the results file. What is there is not measured again while the
engine's code is the same (--again does), so it may be stopped and started again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks import aims, over_dds, performance_docs, performance_plots  # noqa: E402
from benchmarks.place import MODELS, Place  # noqa: E402
from benchmarks.results import SECTIONS, Results  # noqa: E402

FRAME = [640, 480]
SMALL = [256, 256]
Job = tuple[str, dict[str, Any]]


def planned() -> Iterator[Job]:
    """Name all measurements, those that say most first; K = D everywhere."""
    usual = {'size': None, 'K': 10, 'M': 20, 'frame': FRAME}
    small = {'model': 'demo', **usual}
    for objects, windows in ((1, 8), (4, 6), (8, 6), (2, 6), (16, 2)):
        yield 'compare', {**small, 'objects': objects, 'windows': windows}
    for objects in (1, 4, 8):
        yield 'options', {**small, 'objects': objects, 'windows': 6, 'options': True}
    for objects in (1, 4, 8):
        for mode in ('window', 'online'):
            yield 'stages', {**small, 'objects': objects, 'windows': 6, 'mode': mode}
    for by in ('objects', 'reach', 'cameras', 'bank'):
        yield 'growth', {**small, 'frame': SMALL, 'by': by, 'windows': 6, 'mode': 'window'}
    for objects in (1, 4):
        for mode in ('window', 'online'):
            work = {'objects': objects, 'mode': mode, 'rates': [10, 30], 'frames': 300}
            yield 'latency', {**small, **work}
    for encoding in ('rgb8', 'bgr8'):
        wide = {'width': 1280, 'height': 720, 'encoding': encoding, 'rate': 30.0, 'seconds': 20.0}
        yield 'node', {**wide, 'mode': ''}
    for mode in ('window', 'online'):
        vga = {'width': 640, 'height': 480, 'encoding': 'rgb8', 'rate': 10.0, 'seconds': 30.0}
        yield 'node', {**vga, 'mode': mode}
    for model in ('tiny', 'small', 'base_plus', 'large'):
        for size in (256, 512, 1024):
            step = {'model': model, 'size': size, 'memories': 7, 'batch': 1, 'launches': False}
            yield 'operations', step
    five = {'K': 5, 'M': 10, 'frame': FRAME}
    for dtype in ('float32', 'bfloat16'):
        for objects in (1, 4, 8):
            work = {'model': 'tiny', 'size': 256, 'objects': objects, 'dtype': dtype}
            yield 'launches', {**work, **five, 'frame': SMALL}
    # Large models are slow here: short windows, few of them.
    two = {'K': 2, 'M': 4, 'frame': FRAME}
    for objects in (1, 4, 8, 16):
        work = {'model': 'tiny', 'size': 256, 'objects': objects, 'windows': 3}
        yield 'compare', {**work, **five}
    for model in ('small', 'base_plus', 'large'):
        yield 'compare', {'model': model, 'size': 256, 'objects': 1, 'windows': 3, **five}
    work = {'model': 'tiny', 'objects': 1, 'mode': 'window'}
    yield 'stages', {**work, 'size': 256, 'windows': 3, **five}
    yield 'stages', {**work, 'size': 1024, 'windows': 1, **two}
    yield 'compare', {'model': 'tiny', 'size': 512, 'objects': 1, 'windows': 3, **two}
    yield 'compare', {'model': 'tiny', 'size': 512, 'objects': 4, 'windows': 2, **two}
    yield 'compare', {'model': 'large', 'size': 512, 'objects': 1, 'windows': 2, **two}
    yield 'compare', {'model': 'tiny', 'size': 1024, 'objects': 1, 'windows': 2, **two}
    yield 'compare', {'model': 'large', 'size': 1024, 'objects': 1, 'windows': 1, **two}
    small |= {'objects': 1, 'frame': SMALL}
    yield 'endurance', {**small, 'mode': 'online', 'frames': 2000}
    yield 'endurance', {**small, 'mode': 'window', 'frames': 20_000}


def quick() -> Iterator[Job]:
    """Name a few measurements of every section."""
    small = {'model': 'demo', 'size': None, 'K': 5, 'M': 10, 'frame': SMALL}
    for objects in (1, 4):
        yield 'compare', {**small, 'objects': objects, 'windows': 2}
    yield from _short(small, [10, 30], 60)
    for size in (256, 1024):
        step = {'model': 'tiny', 'size': size, 'memories': 7, 'batch': 1, 'launches': False}
        yield 'operations', step


def rehearsal() -> Iterator[Job]:
    """Name measurements of every section on a model that is good for nothing else: seconds."""
    small = {'model': 'rehearsal', 'size': None, 'K': 2, 'M': 4, 'frame': [64, 64]}
    yield 'compare', {**small, 'objects': 1, 'windows': 2}
    yield from _short(small, [200], 12)
    step = {'model': 'rehearsal', 'size': None, 'memories': 7, 'batch': 1, 'launches': False}
    yield 'operations', step


def _short(small: dict[str, Any], rates: list[int], frames: int) -> Iterator[Job]:
    yield 'options', {**small, 'objects': 1, 'windows': 2, 'options': True}
    for mode in ('window', 'online'):
        yield 'stages', {**small, 'objects': 2, 'windows': 2, 'mode': mode}
        work = {'objects': 1, 'mode': mode, 'rates': rates, 'frames': frames}
        yield 'latency', {**small, **work}
        yield 'endurance', {**small, 'objects': 1, 'mode': mode, 'frames': 2 * frames}
    for by, values in (
        ('objects', [1, 2]),
        ('reach', [[2, 2], [2, 4]]),
        ('cameras', [1, 2]),
        ('bank', [0, 2]),
    ):
        work = {'by': by, 'values': values, 'windows': 2, 'mode': 'window'}
        yield 'growth', {**small, **work}
    yield 'launches', {**small, 'objects': 2, 'dtype': 'bfloat16'}


def main(argv: Sequence[str] | None = None) -> int:
    options = parse_options(argv)
    torch.set_num_threads(options.threads)
    place = Place(options.device, options.dtype, options.threads)
    results = Results(options.results, place, options.any_code or options.write)
    plan = list(quick() if options.quick else rehearsal() if options.rehearse else planned())
    jobs = [
        (section, job)
        for section, job in plan
        if section in options.sections and job.get('model', 'demo') in options.models
    ]
    if not options.write and not over_dds.available() and any(s == 'node' for s, _ in jobs):
        print('no ROS 2 here: the section node is left out', file=sys.stderr)
        jobs = [(s, job) for s, job in jobs if s != 'node']
    if not options.write:
        todo = [each for each in jobs if options.again or not results.has(*each)]
        print(f'{len(jobs)} measurements, {len(todo)} of them to do', file=sys.stderr)
        for number, (section, job) in enumerate(todo, 1):
            begin = time.monotonic()
            results.measure(section, job)
            seconds = time.monotonic() - begin
            said = ', '.join(f'{key} {value}' for key, value in job.items())
            print(f'{number}/{len(todo)} {section}: {said} ({seconds:.0f} s)', file=sys.stderr)
    wanted = [row for each in jobs if (row := results.get(*each)) is not None]
    if not wanted:
        print('there are no results yet: run it without --write', file=sys.stderr)
        return 1
    tables = performance_docs.tables(wanted)
    tables['aims'] = '\n'.join(f'- {verdict}' for verdict in aims.cpu(wanted))
    for name, text in tables.items():
        print(f'\n{name}\n\n{text}')
    if options.page is not None:
        performance_docs.write(options.page, tables)
        performance_plots.plot(wanted, options.page.parent / 'images')
    return 0


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sections', nargs='+', choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument('--models', nargs='+', choices=MODELS, default=list(MODELS))
    parser.add_argument('--quick', action='store_true', help='a few measurements of each section')
    parser.add_argument('--rehearse', action='store_true', help='try it out, on a tiny model')
    parser.add_argument('--again', action='store_true', help='measure also what is there')
    parser.add_argument('--write', action='store_true', help='measure nothing, of any code')
    parser.add_argument(
        '--any-code', action='store_true', help='results of other versions of the engine count'
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'))
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--results', type=Path, help='default: runs/performance.jsonl')
    parser.add_argument('--docs', action='store_true', help='write docs/measured/performance.md')
    parser.add_argument('--page', type=Path, help='another page to write')
    options = parser.parse_args(argv)
    name = 'rehearsal.jsonl' if options.rehearse else 'performance.jsonl'
    options.results = options.results or ROOT / 'runs' / name
    options.dtype = options.dtype or ('float32' if options.device == 'cpu' else 'bfloat16')
    if options.docs:
        if options.rehearse:
            parser.error('a rehearsal says nothing that belongs into docs/measured/performance.md')
        options.page = options.page or ROOT / 'docs' / 'measured' / 'performance.md'
    return options


if __name__ == '__main__':
    sys.exit(main())
