# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""memory_bank evaluate: what a bank alone finds in a video, and what the detector finds."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from detsam2_ros.banks.evaluate import FrameImage, Recorder, Tally, measure, random_bank
from detsam2_ros.cli import options as command_line
from detsam2_ros.cli.memory_bank.truth import Input, open_input
from detsam2_ros.engine import ConfigError, Engine, EngineConfig, EngineError, MemoryBank
from detsam2_ros.media.video import InputError
from detsam2_ros.words import counted

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130
BANK, DETECTOR, RANDOM = 'bank', 'detector', 'random bank'

_DESCRIPTION = """\
Segment a video with a memory bank alone, without detector and prompts, and report what it found:
IoU, the share of frames on which each object was found (IoU >= 0.5), false objects (they match no
true object on more than half of their frames), and stray masks. Report the same for the detector,
unless --no-detector is given, and for a bank of as many entries drawn at random from --pool.
Without TRUTH the detector's final masks stand in for the truth.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser(
        'evaluate',
        help='compare what a bank finds in a video with the truth and the detector',
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument('bank', type=Path, help='the bank')
    verb.add_argument(
        'video', help="a video file, a folder of images, or 'scene:SEED' for the demo's scene"
    )
    verb.add_argument(
        'truth',
        type=Path,
        nargs='?',
        help='folder of label PNGs, one for each frame in the order of their names: pixel = '
        'object, 0 = none. A classes.json in the folder, {"1": "cup"}, names the classes as which '
        'objects must be found. A scene has its own truth',
    )
    verb.add_argument('--pool', type=Path, metavar='BANK', help='a larger bank to draw from')
    verb.add_argument('--seed', type=int, default=0, help='seed of the random draw; default 0')
    verb.add_argument('--max-frames', type=int, metavar='N', help='stop after N; scenes: 60')
    verb.add_argument('--fps', type=float, help='frame rate in place of that of the video')
    verb.add_argument('--json', type=Path, metavar='FILE', help='also write the figures')
    verb.add_argument('-q', '--quiet', action='store_true', help='no progress bar')
    command_line.add_models(verb.add_argument_group('models'))
    command_line.add_parameters(verb.add_argument_group('parameters of the method'))
    verb.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Evaluate and report; raises InputError or EngineError."""
    config = command_line.engine_config(given)
    _check(given)
    bank = MemoryBank.load(given.bank)
    pool = MemoryBank.load(given.pool) if given.pool else None
    drawn = None if pool is None else random_bank(bank, pool, given.seed)
    source = open_input(given.video, given.truth, given.max_frames, given.fps)
    engine = command_line.build_engine(given, config)
    bank.check(engine.model.identity)

    tallies: dict[str, Tally] = {}
    recorder = None
    if not given.no_detector:
        recorder = None if source.has_truth else Recorder()
        tallies[DETECTOR] = measure(engine, _frames(source, given, DETECTOR), None, watch=recorder)
    # Neither the detector nor its prompts take part on any frame.
    alone = Engine(engine.model, None, replace(config, detect_interval=0))
    for name, each in ((BANK, bank), (RANDOM, drawn)):
        if each is not None:
            frames = _frames(source, given, name)
            tallies[name] = measure(alone, frames, each, reference=recorder)
    figures = _figures(given, source, config, bank, tallies)
    print(text(figures))
    if given.json is not None:
        try:
            given.json.write_text(json.dumps(figures, indent=2) + '\n', 'utf-8')
        except OSError as error:
            raise InputError(f'--json {given.json}: {error.strerror}') from error
    return 0


def text(figures: dict[str, Any]) -> str:
    """Return the figures as tables for a terminal."""
    lines = [
        f'{figures["bank"]}: {counted(figures["bank_objects"], "object")}, '
        f'{counted(figures["bank_entries"], "entry", "entries")}; {figures["video"]}, '
        f'compared with {figures["compared_with"]}',
        '',
        f'{"":<12} {"IoU":>6} {"found":>6} {"false":>6} {"shown":>6} {"stray":>6} {"ms/frame":>9}',
    ]
    for name, run_ in figures['runs'].items():
        lines.append(
            f'{name:<12} {_number(run_["iou"], ".3f"):>6} {_number(run_["found"], ".0%"):>6} '
            f'{_number(run_["false_objects"], "d"):>6} {run_["objects_shown"]:>6} '
            f'{_number(run_["stray"], ".0%"):>6} {1000 * run_["seconds_per_frame"]:>9.0f}'
        )
    names = sorted({name for run_ in figures['runs'].values() for name in run_['classes']})
    if names:
        heads = ''.join(f' {name:>17}' for name in figures['runs'])
        lines += ['', f'{"IoU, found":<20} {"frames":>6}{heads}']
    for name in names:
        runs = [run_['classes'].get(name) for run_ in figures['runs'].values()]
        frames = max(own['frames'] for own in runs if own)
        cells = ''.join(
            f' {own["iou"]:>10.3f} {own["found"]:>6.0%}' if own else f' {"-":>17}' for own in runs
        )
        lines.append(f'{name:<20} {frames:>6}{cells}')
    strange = sorted(set(figures['bank_classes']) - set(names))
    nameless = any(name.startswith('label ') for name in names)  # of a truth without names
    if names and strange and not nameless:
        lines += [
            '',
            f'What a bank calls {", ".join(strange)} is nothing here, where there are '
            f'{", ".join(names)}: a mask counts under its class. If only the names differ: '
            f'memory_bank rename',
        ]
    return '\n'.join(lines)


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def _figures(
    given: argparse.Namespace,
    source: Input,
    config: EngineConfig,
    bank: MemoryBank,
    tallies: dict[str, Tally],
) -> dict[str, Any]:
    against = 'the truth' if source.has_truth else 'nothing'
    if not source.has_truth and not given.no_detector:
        against = "the detector's final masks"
    return {
        'bank': str(given.bank),
        'bank_objects': len(bank.objects()),
        'bank_entries': len(bank),
        'bank_classes': sorted({entry.class_name for entry in bank.entries}),
        'video': source.name,
        'compared_with': against,
        'mode': config.mode,
        'runs': {name: tally.summary() for name, tally in tallies.items()},
    }


def _check(given: argparse.Namespace) -> None:
    """Raise ConfigError, naming the option, for values that cannot work."""
    if given.max_frames is not None and given.max_frames < 1:
        raise ConfigError(f'--max-frames must be >= 1, got {given.max_frames}')
    if given.fps is not None and not 0 < given.fps <= 1000:
        raise ConfigError(f'--fps must be above 0 and at most 1000, got {given.fps}')
    if given.json is not None and not given.json.absolute().parent.is_dir():
        raise ConfigError(f'--json {given.json}: there is no such folder')
    if given.seed < 0:
        raise ConfigError(f'--seed must be >= 0, got {given.seed}')


def _frames(source: Input, given: argparse.Namespace, name: str) -> Iterator[FrameImage]:
    frames = itertools.islice(source.frames(), source.limit)
    yield from tqdm(
        frames, total=source.count, unit='frame', desc=name, disable=given.quiet, leave=False
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb by itself; returns the exit code."""
    top = argparse.ArgumentParser(prog='memory_bank')
    add_parser(top.add_subparsers(metavar='COMMAND', required=True))
    given = top.parse_args(['evaluate', *(sys.argv[1:] if arguments is None else arguments)])
    logging.basicConfig(format='memory_bank: %(message)s', level=logging.WARNING)
    try:
        return run(given)
    except (InputError, EngineError) as error:
        print(f'memory_bank: {error}', file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print('memory_bank: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == '__main__':
    sys.exit(main())
