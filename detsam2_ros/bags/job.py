# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag in, a bag with masks out: what segment_bag does, as a function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import detsam2_ros
from detsam2_ros.bags.errors import BagError
from detsam2_ros.bags.reading import PARTS, Bag, ImageTopic
from detsam2_ros.bags.stream import TopicReport, TopicSegmenter
from detsam2_ros.bags.types import CORRECTION, OBJECTS, find_definition, typestore
from detsam2_ros.bags.work import WorkFolder
from detsam2_ros.bags.writing import topic_bag, write_output
from detsam2_ros.engine import Engine, MemoryBank

_FORMAT = 2  # of the work folder; work of another format is discarded
_MIN_DEPTH = 200


@dataclass(frozen=True)
class Job:
    """A bag to segment, and how."""

    source: Path  # a rosbag2
    output: Path  # .mcap, .db3, or a folder
    topics: tuple[str, ...] | None = None  # names; None: every topic with images
    final_only: bool = False  # write the final masks and their objects, no corrections
    only_masks: bool = False  # leave out the topics of the source
    stamps: str = 'header'  # of the images: 'header', or 'bag' for the times of the bag
    under: str = ''  # put before the names of the new topics
    compress: bool = True  # chunks of an mcap by zstd
    force: bool = False  # replace an output that is there
    # Settings of the models by name, and everything else that the results depend on.
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """The topics that each image topic gets."""
        return PARTS[:2] if self.final_only else PARTS


@dataclass(frozen=True)
class BagReport:
    """What became of every message of the topics, and notes on topics left out."""

    topics: list[TopicReport]
    notes: list[str]

    @property
    def messages(self) -> int:
        """Image messages read."""
        return sum(topic.messages for topic in self.topics)

    @property
    def segmented(self) -> int:
        """Frames with masks."""
        return sum(topic.segmented for topic in self.topics)

    @property
    def refused(self) -> int:
        """Messages without masks, for any reason."""
        return sum(sum(topic.refused.values()) for topic in self.topics)

    @property
    def failed(self) -> int:
        """Frames without masks because inference failed."""
        return sum(topic.failed for topic in self.topics)


class Watcher:
    """Gets notice of the progress of a job; this one does nothing with it."""

    def begin(self, topics: list[ImageTopic], notes: list[str]) -> None:
        """The topics are known."""

    def skip(self, topic: ImageTopic, report: TopicReport) -> None:
        """A topic was finished by an earlier run."""

    def frame(self) -> None:
        """A message was taken."""

    def write(self) -> None:
        """All topics are done; the output is being written."""


def check(job: Job) -> list[ImageTopic]:
    """Return the topics a job will segment; raises BagError for what cannot work.

    Cheap, and to be called before a model is loaded.
    """
    with _opened(job) as bag:
        return _topics(job, bag)[0]


def _opened(job: Job) -> Bag:
    _check_paths(job)
    return Bag(job.source)


def _topics(job: Job, bag: Bag) -> tuple[list[ImageTopic], list[str]]:
    topics, notes = bag.image_topics(job.topics)
    _check_names(job, bag, topics)
    return topics, notes


def segment(
    job: Job,
    engine: Engine | Callable[[], Engine],
    bank: MemoryBank | None = None,
    watcher: Watcher | None = None,
) -> BagReport:
    """Segment the topics of a bag one after the other and write the output.

    engine: an engine, or a function that loads it when it is needed. The run after one that was
    broken off goes on with the topics that were not finished. The output appears when it is
    complete. The same bag and options give the same bytes. Raises BagError and EngineError.
    """
    watcher = watcher or Watcher()
    config = engine.config if isinstance(engine, Engine) else None
    with ExitStack() as opened:
        bag = opened.enter_context(_opened(job))
        topics, notes = _topics(job, bag)  # before a folder is made
        work = opened.enter_context(WorkFolder(job.output, _identity(job, bag, config)))
        if work.other:
            notes.append(f'{work.path} was of other options or another bag, and is restarted')
        watcher.begin(topics, notes)
        store = typestore()
        reports: list[TopicReport] = []
        for number, topic in enumerate(topics):
            report = work.finished(number)
            if report is not None:
                watcher.skip(topic, report)
            else:
                if not isinstance(engine, Engine):
                    engine = engine()
                config = engine.config
                depth = max(2 * (config.window_size + config.max_propagation), _MIN_DEPTH)
                with topic_bag(work.begin(number), topic, job.parts, store, depth) as sink:
                    segmenter = TopicSegmenter(
                        topic, engine, store, sink, job.final_only, job.stamps == 'bag')
                    report = segmenter.run(bag, bank, watcher.frame)
                work.finish(number, report)
            reports.append(report)
        watcher.write()
        with ExitStack() as stack:
            results = [
                stack.enter_context(Bag(work.results(number))) for number in range(len(topics))
            ]
            notes += write_output(
                work.output(),
                None if job.only_masks else bag,
                results,
                job.under,
                store,
                job.output.suffix == '.db3',
                job.compress,
            )
        work.publish()
    return BagReport(reports, notes)


def _check_paths(job: Job) -> None:
    output = job.output
    if output.suffix in ('.bag', '.yaml', '.zstd'):
        raise BagError(f'{output}: the output is an .mcap or .db3 file, or a folder')
    source = job.source.resolve()
    if output.resolve() in (source, *source.parents) or source in output.resolve().parents:
        raise BagError(f'the output {output} must lie outside of the bag {job.source}')
    if output.exists() and not job.force:
        raise BagError(f'{output} exists; --force replaces it')
    if output.suffix in ('.mcap', '.db3') and output.is_dir():
        raise BagError(f'{output} is a folder; name a file, or leave the suffix out')
    if not output.suffix and output.is_file():
        raise BagError(f'{output} is a file; name a folder, or an .mcap or .db3 file')
    if not output.absolute().parent.is_dir():
        raise BagError(f'{output}: there is no folder {output.absolute().parent}')
    if job.under and (not job.under.startswith('/') or job.under.endswith('/')):
        raise BagError(f"--under must be a name such as '/detsam2', not {job.under!r}")


def _check_names(job: Job, bag: Bag, topics: list[ImageTopic]) -> None:
    """Refuse to mix new topics, or types, with those that the bag has."""
    if job.only_masks:
        return
    there = {connection.topic for connection in bag.connections}
    for topic in topics:
        for part in job.parts:
            name = topic.output(part, job.under)
            if name in there:
                raise BagError(
                    f'{bag.path} has a topic {name} already; --under /NAME puts a name before '
                    f'the new topics, --only-masks leaves the topics of the bag out'
                )
    store = typestore()
    for connection in bag.connections:
        if connection.msgtype in (OBJECTS, CORRECTION):
            definition = find_definition(connection, store)
            if definition and definition[1] != store.hash_rihs01(connection.msgtype):
                raise BagError(
                    f'{connection.topic} holds {connection.msgtype} of another version of '
                    f'detsam2_msgs; --only-masks leaves the topics of the bag out'
                )


def _identity(job: Job, bag: Bag, config: Any) -> dict[str, Any]:
    """Return what the results depend on: bag, options and models, not the output path."""
    return {
        'format': _FORMAT,
        'version': detsam2_ros.__version__,
        'source': str(job.source.resolve()),
        'files': [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in bag.files],
        'topics': None if job.topics is None else list(job.topics),
        'final_only': job.final_only,
        'stamps': job.stamps,
        'config': None if config is None else asdict(config),
        'settings': job.settings,
    }
