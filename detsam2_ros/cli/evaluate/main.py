# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""evaluate: J&F, HOTA and more of results against the truth, as first published and in the end."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tqdm import tqdm  # type: ignore[import-untyped]

from detsam2_ros.cli.evaluate import figures, page
from detsam2_ros.media.video import InputError
from detsam2_ros.quality import formats
from detsam2_ros.quality.alignment import MeasureError, of_class, revised_of_class
from detsam2_ros.quality.evaluation import Evaluation, curve_lags, evaluate, paired, together
from detsam2_ros.quality.formats.scene import FORM, PREFIXES
from detsam2_ros.quality.lags import Lag
from detsam2_ros.quality.segments import RevisedVideo, SegmentedVideo

EXIT_NOTHING, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130
FORMATS = ('auto', 'davis', 'kitti-mots', 'youtube-vis', 'scene')
ALL = 'all videos'

_EPILOG = """\
RESULTS: the folder of a segment_video, the bag or folder of a segment_bag, revisions.jsonl of a
client's recording, or masks in one of the formats of TRUTH, which have no revisions.
TRUTH: a folder of DAVIS PNGs, KITTI MOTS PNGs or txt, YouTube-VIS or COCO-video JSON, or
scene:SEED[:FRAMES[:SIZE]] for a rendered scene, demo:... for that of the demo's camera.

examples:
  evaluate out --truth truth
  evaluate front.jsonl --truth demo:7:90 --lags 0,5,10,final --html quality.html
  evaluate tracker/data --truth instances_txt --format kitti-mots --by-class --json quality.json
"""

Pair = tuple[SegmentedVideo, RevisedVideo]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog='evaluate',
        description='Compare segmented videos with the truth: J and F (DAVIS), HOTA, IDF1 and '
        'sMOTSA (KITTI MOTS), each as first published, some frames later and in the end; and what '
        'the revisions gain, lose and cost.',
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument('results', type=Path, help='what the tracker said')
    top.add_argument('--truth', required=True, help='what is true')
    top.add_argument('--format', choices=FORMATS, default='auto', help='of TRUTH; default auto')
    top.add_argument(
        '--lags',
        default='0,10,final',
        metavar='L,..',
        help="frames after which masks are looked at: 0 is what was first published, 'final' what "
        'was said last. The window K of the run is a good one in between. Default 0,10,final',
    )
    top.add_argument(
        '--video', action='append', default=[], metavar='NAME', help='only this one; repeatable'
    )
    top.add_argument(
        '--by-class', action='store_true', help='each class by itself too, as KITTI MOTS scores'
    )
    top.add_argument('--json', type=Path, metavar='FILE', help='also write the figures')
    top.add_argument('--html', type=Path, metavar='FILE', help='also write a page with a plot')
    top.add_argument('-q', '--quiet', action='store_true', help='no progress bar')
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code.

    0: success. 1: the truth has nothing to find. 2: an error that the user can correct. 130:
    Ctrl-C.
    """
    given = parser().parse_args(arguments)
    logging.basicConfig(format='evaluate: %(message)s', level=logging.WARNING)
    try:
        return _evaluate(given)
    except MeasureError as error:
        print(f'evaluate: {given.results} against {given.truth}: {error}', file=sys.stderr)
        return EXIT_BAD_INPUT
    except InputError as error:
        print(f'evaluate: {error}', file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print('evaluate: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED


def lags_of(text: str) -> list[Lag]:
    """Read a list of lags such as '0,10,final'; raises InputError naming the option."""
    lags: list[Lag] = []
    for part in filter(None, (each.strip() for each in text.split(','))):
        if part == 'final':
            lags.append(None)
        elif part.isascii() and part.isdigit() and len(part) < 10:
            lags.append(int(part))
        else:
            raise InputError(f"--lags: '{part}' is neither a number of frames from 0 nor 'final'")
    if not lags:
        raise InputError("--lags names none: give numbers of frames, and 'final'")
    numbers = sorted({lag for lag in lags if lag is not None})
    return [*numbers, None] if None in lags else [*numbers]


def _evaluate(given: argparse.Namespace) -> int:
    """Run the command with parsed options; raises InputError or MeasureError."""
    lags = lags_of(given.lags)
    _check_files(given)
    truths = _truth(given)
    results = formats.read_results(given.results)
    if not results:
        raise InputError(f'{given.results} holds no video: give the folder of a finished run')
    _warn_of_others(truths, results)
    pairs = paired(truths, results, given.video)
    _warn_of_gaps(pairs)
    curve: list[Lag] = []
    if given.html is not None:
        curve = [*curve_lags([own for _, own in pairs])]
    wanted = [*curve, *(lag for lag in lags if lag not in curve)]
    groups = [('', pairs), *(_classes(pairs) if given.by_class else [])]
    reports: list[Evaluation] = []
    with tqdm(
        total=sum(len(own) for _, own in groups),
        unit='video',
        disable=given.quiet or None,
        leave=False,
    ) as bar:
        for name, own in groups:
            reports += _measured(name, own, wanted, bar.update)
    _print(figures.text(reports, lags))
    if given.json is not None:
        _write_json(given, reports, lags)
    if given.html is not None:
        title = f'{given.results.name or given.results} against {given.truth}'
        page.write(given.html, title, reports, lags, curve)
    if any(report.is_scored for report in reports):
        return 0
    print(f'evaluate: the truth {given.truth} has nothing to find in it', file=sys.stderr)
    return EXIT_NOTHING


def _check_files(given: argparse.Namespace) -> None:
    """Raise InputError for files that cannot be written, before hours of measuring."""
    files = {name: path for name in ('json', 'html') if (path := getattr(given, name)) is not None}
    for name, path in files.items():
        folder = path.absolute().parent
        if not folder.is_dir():
            raise InputError(f'--{name} {path}: there is no such folder')
        if path.is_dir() or not os.access(path if path.exists() else folder, os.W_OK):
            raise InputError(f'--{name} {path} cannot be written')
    if len({path.resolve() for path in files.values()}) < len(files):
        raise InputError(f'--json and --html both name {given.json}; give each a file of its own')


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        # What is left in the buffer must not fail once more when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # else the reader has seen enough
            raise InputError(f'the figures cannot be printed: {error.strerror}') from error


def _truth(given: argparse.Namespace) -> list[SegmentedVideo]:
    if given.format != 'scene':
        return formats.read_truth(given.truth, given.format)
    if not given.truth.startswith(PREFIXES):
        wanted = ' or '.join(prefix + FORM for prefix in PREFIXES)
        raise InputError(f'--format scene: {given.truth} is none; give {wanted}')
    return formats.read_truth(given.truth)


def _measured(
    class_name: str, pairs: Sequence[Pair], lags: Sequence[Lag], advance: Callable[[], object]
) -> list[Evaluation]:
    """Measure videos by themselves, and where there are several, together."""
    own = []
    for truth, results in pairs:
        own.append(evaluate(truth, results, lags))
        advance()
    whole = [together(ALL, own)] if len(own) > 1 or class_name else []
    if class_name:  # by class and video would be too much to read
        return [together(f'class {class_name}', own)]
    return [*whole, *own]


def _classes(pairs: Sequence[Pair]) -> list[tuple[str, list[Pair]]]:
    """Return the videos with the things of each class alone; raises MeasureError without names."""
    names = sorted({
        truth.class_names[each.class_id]
        for truth, _ in pairs for frame in truth.frames.values() for each in frame.segments
        if each.class_id in truth.class_names
    })  # fmt: skip
    if not names:
        raise MeasureError('--by-class needs the names of classes, and the truth has none')
    known = {name for _, results in pairs for name in results.class_names.values()}
    if unknown := [name for name in names if name not in known]:
        logging.warning(
            'the results know no class named %s; they have %s: a thing counts under its class',
            ', '.join(unknown), ', '.join(sorted(known)) or 'no names',
        )  # fmt: skip
    return [
        (name, [(of_class(truth, name), revised_of_class(own, name)) for truth, own in pairs])
        for name in names
    ]


def _warn_of_others(truths: Sequence[SegmentedVideo], results: Sequence[RevisedVideo]) -> None:
    if len(truths) == len(results) == 1:
        return
    others = sorted({each.name for each in results} - {each.name for each in truths})
    if others:
        logging.warning('not scored, since the truth has no such video: %s', ', '.join(others))


def _warn_of_gaps(pairs: Sequence[Pair]) -> None:
    for truth, results in pairs:
        said = {each.frame for each in results.revisions}
        missing = len(truth.frames.keys() - said)
        if missing and said:
            logging.warning(
                "video '%s': nothing was ever said of %d of the %d frames of the truth: all on "
                'them counts as missed', truth.name, missing, len(truth.frames),
            )  # fmt: skip
        shows = {each.frame for each in results.revisions if each.shown.segments}
        first, last = min(truth.frames, default=0), max(truth.frames, default=0)
        if first == 0 and 0 not in shows and max(shows, default=0) == last + 1:
            logging.warning(
                "video '%s': the results show nothing on the first frame of the truth, and end "
                'one frame after the last: if their frames count from 1, give numbers from 0',
                truth.name,
            )  # fmt: skip


def _write_json(
    given: argparse.Namespace, reports: Sequence[Evaluation], lags: Sequence[Lag]
) -> None:
    content = {'results': str(given.results), 'truth': given.truth}
    numbers = {**content, 'reports': [figures.numbers(report, lags) for report in reports]}
    try:
        given.json.write_text(json.dumps(numbers, indent=2, allow_nan=False) + '\n', 'utf-8')
    except OSError as error:
        raise InputError(f'--json {given.json}: {error.strerror}') from error


if __name__ == '__main__':
    sys.exit(main())
