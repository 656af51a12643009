# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One topic of a bag through a stream of the engine, every message accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from rosbags.typesys.store import Typestore

from detsam2_ros.bags.reading import Bag, ImageTopic
from detsam2_ros.bags.types import COMPRESSED, Serializer
from detsam2_ros.engine import Engine, FrameResult, MemoryBank
from detsam2_ros.messages.pixels import ImageRefused, compressed_to_rgb, to_rgb
from detsam2_ros.messages.result_fields import FirstLabels
from detsam2_ros.messages.stamps import nanoseconds
from detsam2_ros.runtime.accounting import FrameAccounts
from detsam2_ros.runtime.camera_stream import FAILED, SAME_STAMP, CameraStream
from detsam2_ros.runtime.frame_queue import QueuedFrame

NOT_DECODED = 'undecodable_message'
_MAX_PROBLEMS = 5  # different sentences of a topic that are kept


class Sink(Protocol):
    """Takes the messages of a topic."""

    def __call__(self, part: str, time: int, data: bytes) -> None:
        """Write a message of one of PARTS at a bag time in ns."""
        ...


@dataclass
class TopicReport:
    """What became of the messages of a topic: messages = segmented + all of refused."""

    topic: str
    messages: int = 0
    segmented: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # count by reason
    corrections: int = 0
    objects: int = 0  # different ones over the topic, without those withdrawn
    withdrawn: int = 0  # objects that were shown and taken back
    by_bag_time: bool = False  # stamped with the times of the bag
    restarts: int = 0  # of the stream, because time went back or the image size changed
    problems: list[str] = field(default_factory=list)  # one sentence each
    detector_never_worked: bool = False  # it failed each time that it was asked

    @property
    def failed(self) -> int:
        """Frames without masks because inference failed on them."""
        return self.refused.get(FAILED, 0)

    @property
    def lacks_masks(self) -> bool:
        """Whether fewer than half of the messages could be segmented."""
        return 2 * self.segmented < self.messages

    @property
    def reasons(self) -> str:
        """The counts of `refused` as text, with the way out where an option is one."""
        text = ', '.join(f'{count} {reason}' for reason, count in self.refused.items())
        if SAME_STAMP in self.refused and not self.by_bag_time:
            text += '; --stamps bag takes the times of the bag'
        return text

    def as_dict(self) -> dict[str, Any]:
        """Return the counts, ready for json."""
        return asdict(self)


@dataclass
class _Recorded(QueuedFrame):
    """A frame of a bag."""

    bag_time: int = 0  # nanoseconds


class TopicSegmenter:
    """Segments one topic of a bag and writes the messages that result.

    final_only: write the final masks of each frame only, no corrections. by_bag_time: stamp the
    images with the times of the bag, for a driver that did not stamp them.
    """

    def __init__(
        self, topic: ImageTopic, engine: Engine, store: Typestore, sink: Sink,
        final_only: bool = False, by_bag_time: bool = False,
    ):
        config = engine.config
        self._topic = topic
        self._engine = engine
        self._report = TopicReport(topic.name, by_bag_time=by_bag_time)
        self._store = store
        self._serializer = Serializer(store)
        self._sink = sink
        self._final_only = final_only
        self._by_bag_time = by_bag_time
        self._reach = config.max_propagation + config.window_size
        self._accounts = FrameAccounts()
        self._stream = CameraStream(topic.name, engine, self._accounts, self)
        self._first: dict[int, FirstLabels] = {}
        self._last: dict[int, FrameResult] = {}  # with final_only: newest revisions
        self._confirmed: set[int] = set()  # ids of the stream
        self._ids: set[tuple[int, int]] = set()
        self._withdrawn: set[tuple[int, int]] = set()
        self._time = 0

    def run(self, bag: Bag, bank: MemoryBank | None, progress: Callable[[], None]) -> TopicReport:
        """Segment the messages of the topic; raises BagError when the bag cannot be read.

        Masks and objects have the bag time of their image. Corrections have that of the newest
        image when they were found: the earliest moment a node could have published them.
        progress: called after each message.
        """
        name, before = self._topic.name, self._engine.stats()
        try:
            if bank is not None:
                self._engine.streams[name].load_bank(bank)
            for connection, time, data in bag.messages(self._topic.connections):
                self._take(connection.msgtype, time, data)
                progress()
            report = self._finish()
            after = self._engine.stats()
            report.detector_never_worked = (
                after.detector_failures > before.detector_failures
                and after.detector_frames == before.detector_frames
            )
            return report
        finally:
            self._engine.close_stream(name)

    def _take(self, kind: str, time: int, data: bytes) -> None:
        """Take a message."""
        self._time = time
        self._accounts.receive()
        try:
            message: Any = self._store.deserialize_cdr(data, kind)
        except Exception as error:  # a message can hold anything
            self._accounts.drop(NOT_DECODED)
            self._note_problem(f'a message is no {kind} ({type(error).__name__})')
            return
        try:
            image = compressed_to_rgb(message) if kind == COMPRESSED else to_rgb(message)
        except ImageRefused as refusal:
            self._accounts.drop(refusal.reason)
            self._note_problem(str(refusal))
            return
        header = message.header
        if self._by_bag_time:
            header = self._stamped(header, time)
        stamp = nanoseconds(header.stamp)
        self._stream.push(_Recorded(image, stamp, 0.0, header, bag_time=time))
        while self._stream.due:
            self._stream.step()

    def _stamped(self, header: Any, time: int) -> Any:
        """Return a header with another stamp, in nanoseconds."""
        stamp = self._store.types['builtin_interfaces/msg/Time'](
            sec=time // 10**9, nanosec=time % 10**9)
        return replace(header, stamp=stamp)

    def _finish(self) -> TopicReport:
        """Close the open windows and fill in the report."""
        self._stream.finish()
        self._write_final(before=None)
        counts, report = self._accounts.snapshot(), self._report
        report.messages, report.segmented = counts.received, counts.processed
        report.refused = dict(sorted(counts.dropped.items()))
        report.corrections, report.restarts = counts.corrections, counts.resets
        report.objects = len(self._ids - self._withdrawn)
        report.withdrawn = len(self._withdrawn)
        return report

    # ---- Listener of the stream ----------------------------------------------------------------

    def on_result(self, camera: str, result: FrameResult) -> None:
        """Write a result, or keep it while it may be corrected."""
        restarts = self._accounts.snapshot().resets
        self._ids |= {(restarts, obj.id) for obj in result.objects}
        self._withdrawn |= {(restarts, key) for key in result.withdrawn_ids}
        self._confirmed |= result.confirmed_ids()
        if result.revision > 0:
            self._accounts.correct()
        if self._final_only:
            self._last[result.index] = result
            self._write_final(before=result.index - self._reach)
        elif result.revision == 0:
            self._write_masks(result)
            self._first[result.index] = FirstLabels.of(result)
            self._first.pop(result.index - self._reach - 1, None)
        else:
            first = self._first[result.index]
            data = self._serializer.correction(result.tag.header, result, first)
            self._sink('corrections', self._time, data)

    def on_classes(self, class_names: Mapping[int, str]) -> None:
        """Do nothing: the objects in a bag carry the names of their classes."""

    def on_dropped(self, camera: str, reason: str) -> None:
        """Do nothing: the accounts count it."""

    def on_reset(self, camera: str, why: str) -> None:
        """Forget the earlier frames: they are final."""
        self._write_final(before=None)
        self._first, self._confirmed = {}, set()
        self._note_problem(f'the stream restarted: {why}')

    def on_failure(self, camera: str, message: str) -> None:
        """Keep the sentence."""
        self._note_problem(message)

    def _write_masks(self, result: FrameResult) -> None:
        header, time = result.tag.header, result.tag.bag_time
        self._sink('masks', time, self._serializer.masks(header, result))
        self._sink('objects', time, self._serializer.objects(header, result))

    def _write_final(self, before: int | None) -> None:
        """Write the frames before an index, which no pass corrects any more; None: all."""
        for index in sorted(self._last):
            if before is None or index < before:
                # Each frame is written once, and subscribers count revisions from 0.
                result = self._last.pop(index).confirming(self._confirmed)
                self._write_masks(replace(result, revision=0, final=True))

    def _note_problem(self, text: str) -> None:
        if text not in self._report.problems and len(self._report.problems) < _MAX_PROBLEMS:
            self._report.problems.append(text)
