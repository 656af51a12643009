# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Segment many bags on the GPUs and machines of a Ray cluster, one model an actor.

python examples/segment_bags_ray.py bags/*.mcap -o masks --actors 2 --gpus 0
python examples/segment_bags_ray.py /shared/bags/* -o /shared/masks --actors 8 --gpus 1 \
    --address auto -- --sam2 facebook/sam2.1-hiera-small --yolo yolo11n.pt --device cuda

Options after -- are those of segment_bag. Ray Data shards the bags; a bag that fails is reported
in the table, and the others go on. Bags whose output exists are skipped, so the same command
continues after an interruption. Paths must mean the same on all machines. Ray is no requirement of
detsam2_ros: pip install 'ray[data]'.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detsam2_ros import bags
from detsam2_ros.cli import bag_command, options, segment_bag
from detsam2_ros.engine import EngineError, MemoryBank

DONE, THERE, FAILED = 'done', 'there already', 'failed'


class Segmenter:
    """The actor: loads the model once, then takes one bag after the other."""

    def __init__(self, arguments: Sequence[str]):
        self._arguments = list(arguments)
        given = self._given('-', '-')
        self._config = options.engine_config(given)
        self._engine = options.build_engine(given, self._config)
        self._bank = MemoryBank.load(given.bank) if given.bank else None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        """Segment the bags of a batch {'bag': paths, 'output': paths}; returns rows as columns."""
        pairs = zip(batch['bag'], batch['output'], strict=True)
        rows = [self.segment(str(source), str(output)) for source, output in pairs]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def segment(self, source: str, output: str) -> dict[str, Any]:
        """Segment one bag; returns its row of the table, also when the bag fails."""
        row = {
            'bag': source, 'state': DONE, 'read': 0, 'segmented': 0, 'refused': 0, 'seconds': 0.0,
            'why': '', 'process': os.getpid(),
        }  # fmt: skip
        begin = time.perf_counter()
        try:
            job = bag_command.make_job(self._given(source, output), self._config)
            report = bags.segment(job, self._engine, self._bank)
        except (bags.BagError, EngineError) as error:
            row.update(state=FAILED, why=str(error))
        except Exception as error:  # one bag must not end the others
            row.update(state=FAILED, why=f'{type(error).__name__}: {error}')
        else:
            row.update(read=report.messages, segmented=report.segmented, refused=report.refused)
            row['why'] = '; '.join(
                text
                for topic in report.topics
                for text in [topic.reasons if topic.lacks_masks else '', *topic.problems][:2]
                if text
            )
        row['seconds'] = round(time.perf_counter() - begin, 2)
        return row

    def _given(self, source: str, output: str) -> argparse.Namespace:
        return segment_bag.parser().parse_args([source, '-o', output, *self._arguments])


def main(arguments: Sequence[str] | None = None) -> int:
    given, rest = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        import ray
    except ModuleNotFoundError:
        print("segment_bags_ray: Ray is not installed; pip install 'ray[data]'", file=sys.stderr)
        return 2
    given.output.mkdir(parents=True, exist_ok=True)
    todo, rows = plan(given.bags, given.output, '--force' in rest)
    if todo:
        ray.init(address=given.address, log_to_driver=False, include_dashboard=False)
        found = (
            ray.data.from_items(todo, override_num_blocks=len(todo))
            .map_batches(
                Segmenter,
                fn_constructor_args=(rest,),
                batch_size=1,
                num_cpus=1,
                num_gpus=given.gpus,
                compute=ray.data.ActorPoolStrategy(size=min(given.actors, len(todo))),
            )
            .take_all()
        )
        rows += found
        ray.shutdown()
    print(table(rows))
    return 1 if any(row['state'] == FAILED for row in rows) else 0


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line at --; the parser of segment_bag checks the options after it."""
    own, rest = list(arguments), []
    if '--' in own:
        place = own.index('--')
        own, rest = own[:place], own[place + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('bags', nargs='+', type=Path)
    parser.add_argument('-o', '--output', type=Path, required=True, help='folder for the results')
    parser.add_argument('--actors', type=int, default=2, help='models at work; default 2')
    parser.add_argument('--gpus', type=float, default=0, help='of an actor: 0, 1, or a share')
    parser.add_argument('--address', help="of a running cluster, or 'auto'; default: this machine")
    segment_bag.parser().parse_args(['-', '-o', '-', *rest])
    given = parser.parse_args(own)
    if given.actors < 1:
        parser.error(f'--actors must be >= 1, got {given.actors}')
    return given, rest


def plan(
    sources: Sequence[Path], folder: Path, force: bool
) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """Return the bags to do and the rows of those already done; outputs are named as the bags."""
    todo: list[dict[str, str]] = []
    rows: list[dict[str, Any]] = []
    names: set[str] = set()
    for source in sources:
        name = source.stem if source.suffix in ('.mcap', '.db3') else source.name
        if name in names:  # two folders may hold bags of one name
            name = f'{source.parent.name}_{name}'
        names.add(name)
        output = folder / f'{name}.mcap'
        if output.exists() and not force:
            rows.append({'bag': str(source), 'state': THERE})
        else:
            todo.append({'bag': str(source.absolute()), 'output': str(output.absolute())})
    return todo, rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the results by bag, with a last line of sums."""
    lines = [f'{"bag":32} {"state":13} {"read":>7} {"masks":>7} {"refused":>7} {"s":>8}  why']
    for row in sorted(rows, key=lambda row: row['bag']):
        numbers = (row.get('read', 0), row.get('segmented', 0), row.get('refused', 0))
        lines.append(
            f'{Path(row["bag"]).name:32} {row["state"]:13} {numbers[0]:7} {numbers[1]:7} '
            f'{numbers[2]:7} {row.get("seconds", 0.0):8.1f}  {row.get("why", "")}'.rstrip()
        )
    failed = sum(row['state'] == FAILED for row in rows)
    masks = sum(row.get('segmented', 0) for row in rows)
    actors = len({row['process'] for row in rows if 'process' in row})
    lines.append(f'{len(rows)} bags, {failed} failed, {masks} frames with masks, {actors} actors')
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
