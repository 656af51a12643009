# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""All that docs/measured/performance.md says, measured and written there.

python -m benchmarks.speed.performance --docs            # all, on one core: two hours or so
python -m benchmarks.speed.performance --quick           # a look at every section: minutes
python -m benchmarks.speed.performance --rehearse        # on a tiny model: does it all run?
python -m benchmarks.speed.performance --sections compare options
python -m benchmarks.speed.performance --sections endurance --set frames=2000 'mode="online"'
python -m benchmarks.speed.performance --write --docs    # measures nothing: the page

Every measurement is one line of the results file. What is there is not measured again while the
engine's code is the same (--again does), so it may be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.harness import pages, place, runs
from benchmarks.harness.place import MODELS, place_of
from benchmarks.speed import aims, node, plots, tables
from benchmarks.speed.results import SECTIONS, Job, Results

FRAME = [640, 480]
SMALL = [256, 256]


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
    results = Results(options.results, place_of(options), options.any_code or options.write)
    plan = quick() if options.quick else rehearsal() if options.rehearse else planned()
    jobs = [
        (section, job | changes(options.set, job))
        for section, job in plan
        if section in options.sections and job.get('model', 'demo') in options.models
    ]
    jobs = [job for number, job in enumerate(jobs) if job not in jobs[:number]]
    if not options.write:
        if not node.available() and any(section == 'node' for section, _ in jobs):
            print('no ROS 2 here: the section node is left out', file=sys.stderr)
            jobs = [(section, job) for section, job in jobs if section != 'node']
        results.measure_all(jobs, options.again)
    wanted = [row for each in jobs if (row := results.get(*each)) is not None]
    if not wanted:
        print('there are no results yet: run it without --write', file=sys.stderr)
        return 1
    texts = tables.tables(wanted)
    texts['aims'] = '\n'.join(f'- {verdict}' for verdict in aims.cpu(wanted))
    for name, text in texts.items():
        print(f'\n{name}\n\n{text}')
    if options.page is not None:
        pages.write(options.page, texts)
        plots.plot(wanted, options.page.parent / 'images')
    return 0


def changes(given: Sequence[str], job: dict[str, Any]) -> dict[str, Any]:
    """Read 'NAME=JSON', as far as a job has a setting of that name."""
    pairs = (each.split('=', 1) for each in given)
    return {name: json.loads(value) for name, value in pairs if name in job}


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sections', nargs='+', choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument('--models', nargs='+', choices=MODELS, default=list(MODELS))
    parser.add_argument('--quick', action='store_true', help='a few measurements of each section')
    parser.add_argument('--rehearse', action='store_true', help='try it out, on a tiny model')
    parser.add_argument(
        '--set', nargs='+', default=[], metavar='NAME=JSON', help='other settings of all jobs'
    )
    parser.add_argument('--again', action='store_true', help='measure also what is there')
    parser.add_argument(
        '--any-code', action='store_true', help='results of other versions of the engine count'
    )
    place.add_options(parser)
    runs.add_options(parser, 'performance')
    options = parser.parse_args(argv)
    if options.rehearse:
        if options.page == pages.MEASURED / 'performance.md':
            parser.error('a rehearsal says nothing that belongs into docs/measured')
        if options.results == parser.get_default('results'):
            options.results = options.results.with_name('rehearsal.jsonl')
    return options


if __name__ == '__main__':
    sys.exit(main())
