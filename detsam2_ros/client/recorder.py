# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a subscriber sees, as revisions in the order in which they came.

with RevisionsWriter(Path('revisions.jsonl')) as file:
recorder = Recorder('camera', file, reach=max_propagation + window_size)
subscribe(node, recorder.take, ...)
"""

from __future__ import annotations

from detsam2_ros.client.frame import TimelineFrame
from detsam2_ros.media.notes import Notes
from detsam2_ros.quality.formats.sinks import RevisionSink, shown_by
from detsam2_ros.quality.segments import Revision

_KEPT = 1000  # final frames of which the revision is remembered, should one come late


class Recorder:
    """Gives the frames of a timeline, as each is newly known or changed, to a sink.

    name: of the video; a stream that restarts is another video, NAME_1 and so on. reach: frames
    behind the newest beyond which a frame is final, M + K in mode online and M in mode window;
    None: those frames are final that the messages call final. notes: counts what is left out.
    """

    def __init__(
        self,
        name: str,
        sink: RevisionSink,
        reach: int | None = None,
        notes: Notes | None = None,
    ) -> None:
        self._name, self._sink, self._reach = name, sink, reach
        self.notes = notes if notes is not None else Notes()
        self._stream: int | None = None
        self._size = (0, 0)
        self._newest = self._settled = -1
        self._said: dict[int, int] = {}  # by frame: its newest revision
        self._gone: dict[int, frozenset[int]] = {}  # by frame: ids that were withdrawn before
        self._restarts = 0

    def take(self, frame: TimelineFrame) -> None:
        """Take a frame; one that says nothing new changes nothing."""
        labels = frame.labels
        size = (labels.shape[0], labels.shape[1])
        if frame.stream != self._stream or size != self._size:
            self._begin(frame.stream, size)
        if frame.revision <= self._said.get(frame.index, -1):
            return
        self._said[frame.index] = frame.revision
        self._newest = max(self._newest, frame.index)
        example = f'on frame {frame.index} of {self._name}'
        if frame.index < self._settled:
            why = 'the frame was said to be final, as the reach is shorter than that of the node'
            self.notes.add('correction', why, example, 'taken late')
        shown, names = shown_by(labels, frame.objects, self.notes, example)
        before = self._gone.get(frame.index, frozenset())
        if frame.withdrawn_ids:
            self._gone[frame.index] = frozenset(frame.withdrawn_ids)
        revision = Revision(
            frame=frame.index,
            revision=frame.revision,
            newest=self._newest,
            final=frame.final,
            shown=shown,
            withdrawn=frozenset(frame.withdrawn_ids) - before,
        )
        self._sink.take(revision, names, frame.stamp)
        if self._reach is not None and self._newest - self._reach > self._settled:
            self._settled = self._newest - self._reach
            self._sink.settle(self._settled, self._newest)
            forgotten = self._settled - _KEPT
            for known in (self._said, self._gone):
                for number in [number for number in known if number < forgotten]:
                    del known[number]

    def end(self) -> None:
        """Say that no message is missing: every frame is final."""
        if self._stream is not None:
            self._sink.end()

    def _begin(self, stream: int, size: tuple[int, int]) -> None:
        if self._stream is not None:
            self._restarts += 1
            self._sink.end()
        self._stream, self._size = stream, size
        self._newest = self._settled = -1
        self._said, self._gone = {}, {}
        name = f'{self._name}_{self._restarts}' if self._restarts else self._name
        self._sink.begin(name, size)
