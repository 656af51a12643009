# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a run says of its frames, revision by revision, into files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from detsam2_ros.engine import FrameResult
from detsam2_ros.media.notes import Notes
from detsam2_ros.quality.formats.export import FINAL, Export
from detsam2_ros.quality.formats.reading import REVISIONS
from detsam2_ros.quality.formats.revisions import RevisionsWriter
from detsam2_ros.quality.formats.sinks import shown_by
from detsam2_ros.quality.segments import Revision


class Recording:
    """Writes revisions.jsonl and exports into a folder; to be used as a context manager.

    revisions: whether to write that file. formats, which: see Export; which None: FINAL. Set
    is_complete when the stream has said all: then the frames that are left are final. Raises
    InputError on a failed write.
    """

    def __init__(
        self, folder: Path, revisions: bool, formats: Sequence[str], which: str | None = None
    ) -> None:
        self._sinks: list[RevisionsWriter | Export] = []
        if revisions:
            self._sinks.append(RevisionsWriter(folder / REVISIONS))
        if formats:
            self._sinks.append(Export(folder, formats, which or FINAL))
        self.is_complete = False
        self._newest = -1
        self._horizon = 0
        self._notes = Notes()

    def begin(self, name: str, size_wh: tuple[int, int]) -> None:
        """Begin the video."""
        for sink in self._sinks:
            sink.begin(name, (size_wh[1], size_wh[0]))

    def hear(self, results: Sequence[FrameResult], horizon: int) -> None:
        """Take what `push` or `flush` returned; frames before the horizon are final."""
        if not self._sinks:
            return
        self._newest = max([self._newest, *(result.index for result in results)])
        for result in results:
            example = f'on frame {result.index}'
            shown, names = shown_by(result.labels, result.objects, self._notes, example)
            revision = Revision(
                frame=result.index,
                revision=result.revision,
                newest=self._newest,
                final=result.final,
                shown=shown,
                withdrawn=frozenset(result.withdrawn_ids),
            )
            for sink in self._sinks:
                sink.take(revision, names, int(result.stamp))
        if horizon > self._horizon:
            self._horizon = horizon
            for sink in self._sinks:
                sink.settle(horizon, self._newest)

    def close(self) -> None:
        """Finish the files."""
        for sink in self._sinks:
            if self.is_complete:
                sink.end()
            sink.close()
        for sentence in self._notes.sentences():
            logging.warning(sentence)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
