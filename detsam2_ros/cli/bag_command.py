# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The work of segment_bag, once its options are parsed; needs the library rosbags."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from detsam2_ros import bags
from detsam2_ros.bags.job import Watcher, check
from detsam2_ros.bags.reading import ImageTopic
from detsam2_ros.bags.revisions import read_revisions
from detsam2_ros.bags.stream import TopicReport
from detsam2_ros.cli import options as command_line
from detsam2_ros.engine import (
    ConfigError,
    Engine,
    EngineConfig,
    EngineError,
    MemoryBank,
    default_device,
)
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.export import FINAL, FIRST, Export
from detsam2_ros.words import counted

EXIT_FAILURES, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


def run(given: argparse.Namespace) -> int:
    """Segment the bag that the options name; returns the exit code, see segment_bag.main."""
    logging.basicConfig(format='segment_bag: %(message)s', level=logging.WARNING)
    try:
        return _segment(given)
    except (bags.BagError, EngineError, InputError) as error:
        print(f'segment_bag: {error}', file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print('\nsegment_bag: interrupted; the same command goes on', file=sys.stderr)
        return EXIT_INTERRUPTED


def make_job(given: argparse.Namespace, config: EngineConfig) -> bags.Job:
    """Return the job for the options of segment_bag; raises ConfigError."""
    if given.no_detector and given.bank is None:
        raise ConfigError('--no-detector needs --bank FILE: there is nothing to look for')
    return bags.Job(
        source=given.input,
        output=given.output,
        topics=None if given.topics is None else tuple(given.topics),
        final_only=given.final_only,
        only_masks=given.only_masks,
        stamps=given.stamps,
        under=given.under,
        compress=given.compression == 'zstd',
        force=given.force,
        settings=_settings(given, config),
    )


def _segment(given: argparse.Namespace) -> int:
    config = command_line.engine_config(given)
    job = make_job(given, config)
    exported = check_export(given)
    check(job)  # a typo should not wait for a model to load
    bank = MemoryBank.load(given.bank) if given.bank else None

    def load() -> Engine:
        return command_line.build_engine(given, config)

    with _Progress(given.quiet) as progress:
        report = bags.segment(job, load, bank, progress)
    if exported is not None:
        export(report, given, exported, config)
    if not given.quiet:
        print(summary(report))
        print(f'written {given.output}' + (f' and {exported}' if exported else ''))
    problems = complaints(report)
    for problem in problems:
        print(f'segment_bag: {problem}', file=sys.stderr)
    return EXIT_FAILURES if problems else 0


def check_export(given: argparse.Namespace) -> Path | None:
    """Return the folder that --export writes, None without; raises ConfigError or InputError."""
    if not command_line.check_export(given):
        return None
    if given.export_revision == FIRST and given.final_only:
        raise ConfigError('--export-revision 0 needs the first masks: leave out --final-only')
    folder: Path = given.output.with_name(given.output.name + '.export')
    if folder.exists() and not given.force:
        raise InputError(f'{folder} exists; --force replaces it')
    return folder


def export(
    report: bags.BagReport, given: argparse.Namespace, folder: Path, config: EngineConfig
) -> None:
    """Write the masks of a finished bag in standard formats; raises BagError or InputError."""
    if folder.exists():
        shutil.rmtree(folder)
    topics = [topic.topic.removesuffix('/compressed') for topic in report.topics]
    wanted = [f'{given.under}{topic}' for topic in topics]
    notes = Notes()
    sink = Export(folder, command_line.check_export(given), given.export_revision or FINAL)
    reach = config.max_propagation + config.window_size
    with closing(sink):
        read_revisions(given.output, sink, notes, reach, wanted)
    for sentence in notes.sentences():
        logging.warning(sentence)


def complaints(report: bags.BagReport) -> list[str]:
    """Return a sentence for all that leaves many frames without masks, [] for a good run."""
    found = []
    if report.failed:
        found.append(f'inference failed on {counted(report.failed, "frame")}: no masks there')
    if dead := [topic.topic for topic in report.topics if topic.detector_never_worked]:
        found.append(f'the detector failed every time on {", ".join(dead)}')
    return found + [
        f'{topic.topic}: only {topic.segmented} of {topic.messages} messages could be segmented '
        f'({topic.reasons})'
        for topic in report.topics
        if topic.lacks_masks
    ]


def summary(report: bags.BagReport) -> str:
    """Return the counts of messages as text, one line a topic."""
    lines = []
    for topic in report.topics:
        reasons = f' ({topic.reasons})' if topic.refused else ''
        lines.append(
            f'{topic.topic}: {topic.messages} read = {topic.segmented} segmented + '
            f'{sum(topic.refused.values())} refused{reasons}; '
            f'{counted(topic.objects, "object")}, {topic.withdrawn} withdrawn, '
            f'{counted(topic.corrections, "correction")}, {counted(topic.restarts, "restart")}'
        )
        lines += [f'  {text}' for text in topic.problems]
    return '\n'.join([*lines, *(f'note: {note}' for note in report.notes)])


class _Progress(Watcher):
    """A progress bar over all topics; notes are printed above it."""

    def __init__(self, quiet: bool):
        self._quiet = quiet
        self._bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, topics: list[ImageTopic], notes: list[str]) -> None:
        self._bar = tqdm(
            total=sum(topic.count for topic in topics),
            unit='frame',
            disable=self._quiet,
            dynamic_ncols=True,
            smoothing=0,
            # A log file gets a line every 15 s instead of hundreds.
            mininterval=0.2 if sys.stderr.isatty() else 15.0,
        )

    def skip(self, topic: ImageTopic, report: TopicReport) -> None:
        if not self._quiet:
            self._bar.write(f'{topic.name} was finished before')
        self._bar.update(report.messages)

    def frame(self) -> None:
        self._bar.update()

    def write(self) -> None:
        self._bar.set_description('writing')


def _settings(given: argparse.Namespace, config: EngineConfig) -> dict[str, Any]:
    """Return what the masks depend on besides the bag; files with size and time of change."""
    names = (
        'sam2', 'sam2_config', 'yolo', 'no_detector', 'classes', 'confidence', 'image_size',
        'dtype', 'quality', 'bank',
    )  # fmt: skip
    values: dict[str, Any] = {'device': given.device or default_device(), **asdict(config)}
    for name in names:
        value = getattr(given, name)
        values[name] = str(value) if isinstance(value, Path) else value
        if isinstance(value, (str, Path)) and Path(value).is_file():
            stat = Path(value).stat()
            values[f'{name} file'] = [stat.st_size, stat.st_mtime_ns]
    return values
