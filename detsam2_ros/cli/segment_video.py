# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""segment_video: run the engine on a video file and write masks, an overlay and a report."""

from __future__ import annotations

if __name__ == '__main__':  # before the imports, so that Ctrl-C during them is quiet
    from detsam2_ros.programs import segment_video

    segment_video()

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from detsam2_ros.cli import options as command_line
from detsam2_ros.cli.loop import Interrupt, first, run
from detsam2_ros.cli.output import OVERLAYS, REPORT, OutputFolder, check
from detsam2_ros.cli.recording import Recording
from detsam2_ros.cli.report import Highlight, make_highlight, write_report
from detsam2_ros.cli.summary import Summary
from detsam2_ros.engine import ConfigError, EngineConfig, EngineError, MemoryBank, Stream
from detsam2_ros.media.sheet import Best, changed_pixels
from detsam2_ros.media.timeline import Settled
from detsam2_ros.media.video import InputError, Source, open_source
from detsam2_ros.words import counted

EXIT_FAILURES, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130
_SHEET_ROWS = 5


def main(
    arguments: Sequence[str] | None = None, watch: Callable[[Settled], None] | None = None
) -> int:
    """Run the command; returns the exit code.

    0: success. 1: the detector failed every time. 2: an error that the user can correct.
    130: Ctrl-C. watch: called with each final frame, in order, after the files of the frame are
    written.
    """
    given = command_line.parser().parse_args(arguments)
    logging.basicConfig(format='segment_video: %(message)s', level=logging.WARNING)
    try:
        return _segment(given, watch)
    except (InputError, EngineError) as error:
        print(f'segment_video: {error}', file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print('segment_video: interrupted', file=sys.stderr)
        return EXIT_INTERRUPTED


def _segment(given: argparse.Namespace, watch: Callable[[Settled], None] | None) -> int:
    """Run the command with parsed options; raises InputError or EngineError."""
    # Cheap checks first: an error in the options should not wait for a model to load.
    config = command_line.engine_config(given)
    _check(given)
    formats = command_line.check_export(given)
    source = open_source(given.input, given.fps)
    check(given.output, given.force, given.input)
    bank = MemoryBank.load(given.bank_in) if given.bank_in else None
    echo = _silent if given.quiet else print
    engine = command_line.build_engine(given, config)
    stream = engine.open_stream(given.input.stem or 'video')
    if bank is not None:
        stream.load_bank(bank)
    width, height = source.size_wh
    count = f'{counted(source.count, "frame")}, ' if source.count else ''
    echo(f'{source.path}: {width}x{height}, {count}{source.fps:.4g} frames/s')

    summary = Summary(wanted=_wanted(given, source))
    highlights = Best[Highlight](_SHEET_ROWS, apart=max(2 * config.window_size, 10))
    overlay = _overlay_kind(given)
    output = OutputFolder(given.output, source.size_wh, source.fps, overlay, not given.no_masks)

    def take(settled: Settled) -> None:
        output.write(settled)
        if settled.corrected:
            score = changed_pixels(settled)
            highlights.offer(score, settled.index, partial(make_highlight, settled))
        if watch is not None:
            watch(settled)

    failure: InputError | None = None
    recording = Recording(given.output, given.revisions, formats, given.export_revision)
    recording.begin(given.input.stem or 'video', source.size_wh)
    with output, recording, Interrupt() as interrupt, _Bar(given, summary) as bar:
        frames = first(source.frames(), given.max_frames)
        try:
            run(frames, stream, take, summary, interrupt, bar.advance, recording.hear)
            recording.is_complete = not interrupt.asked
        except InputError as error:
            failure = error
        summary.broken_off = failure is not None or interrupt.asked
    if not (summary.broken_off or given.max_frames) and (gap := source.missing()):
        logging.warning(gap)
    summary.engine = engine.stats()
    if summary.settled and not given.no_report:
        subtitle = _subtitle(source, summary.ending)
        _write_report(given, config, subtitle, summary, highlights.items())
    echo(summary.text())
    echo('  written         ' + ', '.join(str(file) for file in output.files()))
    _hint(given, summary, echo)
    if given.bank_out and not interrupt.asked:
        _save_bank(stream, given, echo)
    if failure is not None:
        raise InputError(f'{failure}; {summary.ending}') from failure
    if interrupt.asked:
        print(f'segment_video: {summary.ending}', file=sys.stderr)
    return EXIT_INTERRUPTED if interrupt.asked else _status(summary)


def _status(summary: Summary) -> int:
    """Return the exit code of a run that came to its end; says on stderr why it is not 0."""
    if not summary.detector_never_worked:
        return 0
    print('segment_video: the detector failed every time', file=sys.stderr)
    return EXIT_FAILURES


def _check(given: argparse.Namespace) -> None:
    """Refuse options that cannot work, by name; raises ConfigError."""
    if given.max_frames is not None and given.max_frames < 1:
        raise ConfigError(f'--max-frames must be >= 1, got {given.max_frames}')
    if given.fps is not None and not 0 < given.fps <= 1000:
        raise ConfigError(f'--fps must be above 0 and at most 1000, got {given.fps}')
    if given.bank_entries < 1:
        raise ConfigError(f'--bank-entries must be >= 1, got {given.bank_entries}')
    if given.no_detector and given.bank_in is None:
        raise ConfigError('--no-detector needs --bank-in FILE: there is nothing to look for')
    if given.bank_out is not None and not given.bank_out.absolute().parent.is_dir():
        raise ConfigError(f'--bank-out {given.bank_out}: there is no such folder')


def _overlay_kind(given: argparse.Namespace) -> str | None:
    return None if given.no_overlay else given.overlay


def _write_report(
    given: argparse.Namespace,
    config: EngineConfig,
    subtitle: str,
    summary: Summary,
    highlights: Sequence[Highlight],
) -> None:
    overlay = _overlay_kind(given)
    write_report(
        given.output / REPORT,
        f'segment_video: {given.input.name}',
        subtitle,
        summary,
        highlights,
        _settings(given, config),
        None if overlay is None else OVERLAYS[overlay],
    )


def _save_bank(stream: Stream, given: argparse.Namespace, echo: Callable[[str], None]) -> None:
    bank = stream.export_bank(given.bank_entries)
    bank.save(given.bank_out)
    echo(
        f'memory bank: {counted(len(bank), "entry", "entries")} of '
        f'{counted(len(bank.objects()), "object")} in {given.bank_out}'
    )


def _hint(given: argparse.Namespace, summary: Summary, echo: Callable[[str], None]) -> None:
    """Print what to try when nothing was found."""
    if summary.presence or not summary.settled:
        return
    if summary.engine.detector_failures and not summary.engine.detections:
        echo(f'{summary.detector_failures} and found nothing: the warning above says why')
    elif given.yolo == 'demo' and not given.no_detector:
        echo(
            'no object was found: the shipped demo models know billiard balls from above and '
            'nothing else; try --sam2 facebook/sam2.1-hiera-small --yolo yolo11n.pt'
        )
    elif summary.engine.detections:
        echo('no object was started: a lower --new-object-score takes less certain detections')
    elif not given.no_detector:
        echo('the detector found nothing: try a lower --confidence, other --classes or --yolo')


def _subtitle(source: Source, ending: str) -> str:
    width, height = source.size_wh
    about = f'{source.path.resolve()}, {width}x{height}, {source.fps:.4g} frames/s'
    return '; '.join(filter(None, (about, ending)))


def _settings(given: argparse.Namespace, config: EngineConfig) -> list[tuple[str, str]]:
    models = [('SAM 2', given.sam2), ('detector', 'none' if given.no_detector else given.yolo)]
    if given.classes:
        models.append(('classes', given.classes))
    if given.image_size:
        models.append(('image size', str(given.image_size)))
    if given.bank_in:
        models.append(('memory bank', str(given.bank_in)))
    return models + [(name, str(value)) for name, value in asdict(config).items()]


def _wanted(given: argparse.Namespace, source: Source) -> int | None:
    counts = [count for count in (source.count, given.max_frames) if count]
    return min(counts, default=None)


class _Bar:
    """The progress bar; its last state is that of the summary."""

    def __init__(self, given: argparse.Namespace, summary: Summary):
        self._summary = summary
        # smoothing=0 averages the rate over the whole run, since passes make frames come in
        # bursts. A log file gets a line every 15 s instead of hundreds.
        self._bar: Any = tqdm(
            total=summary.wanted, unit='frame', disable=given.quiet, dynamic_ncols=True,
            smoothing=0, mininterval=0.2 if sys.stderr.isatty() else 15.0,
        )  # fmt: skip

    def advance(self) -> None:
        """Count a frame."""
        self._bar.update()
        self._describe()

    def _describe(self) -> None:
        self._bar.set_postfix(
            objects=len(self._summary.presence), corrected=self._summary.notable, refresh=False
        )

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._describe()  # the last window made frames final after the last one was read
        if not self._summary.broken_off:
            self._bar.total = self._summary.frames  # as counted now
        self._bar.close()


def _silent(_: str) -> None:
    """Print nothing."""
