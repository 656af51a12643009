# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The folder of the recorder: overlay video, sheet of corrected frames, report. No ROS in here."""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

import numpy as np

from detsam2_ros.demo.pictures import (
    COLUMNS,
    FramePicture,
    VideoPainter,
    comparison_row,
    notably_changed,
)
from detsam2_ros.demo.recorder.frames import MAX_WAITING, Recorded
from detsam2_ros.demo.recorder.report import Report
from detsam2_ros.media.sheet import Best, contact_sheet
from detsam2_ros.media.timeline import NOTABLE_IOU
from detsam2_ros.media.video import InputError, VideoWriter, write_png

_log = logging.getLogger(__name__)

VIDEO, SHEET = 'overlay.mp4', 'sheet.png'
FILES = (VIDEO, SHEET, 'report.md', 'report.json', 'chart.png')
# Rows of the sheet for each phase, and the least distance of two of them in frames.
_ROWS, _APART = 3, 15

_Row = tuple[float, str, list[np.ndarray]]


class Output:
    """Scores and draws frames; `close` writes the sheet and the report.

    folder: made if it does not exist; FILES of an earlier run are removed. rate: frames a second
    of the video. Raises InputError when a file cannot be written.
    """

    def __init__(self, folder: Path, rate: float):
        self.folder = folder
        self.report = Report()
        self._rate = rate
        self._painter = VideoPainter()
        self._video: VideoWriter | None = None
        self._shape: tuple[int, ...] | None = None
        self._rows: dict[str, Best[_Row]] = {}
        self._order = self._other_size = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f'cannot write into {folder}: {error.strerror}') from error

    def take(self, frame: Recorded) -> None:
        """Score a frame, draw it into the video, and keep it if it is worth showing."""
        image = frame.image
        assert image is not None
        scores = self.report.add(frame)
        first, last = frame.first, frame.last
        corrected: tuple[int, ...] = ()
        if first is not None and last is not None and frame.corrections:
            corrected = notably_changed(first.labels, last.labels, NOTABLE_IOU)
        picture = FramePicture(
            image=image,
            phase=frame.phase,
            clock=f'{self.report.seconds(frame.stamp):.1f} s',
            first=None if first is None else (first.labels, first.objects),
            last=None if last is None else (last.labels, last.objects),
            revision=0 if last is None else last.revision,
            corrected=corrected,
            scores=scores,
        )
        self._write(picture)
        self._order += 1
        if scores is not None and frame.phase and frame.truth is not None:
            best = self._rows.setdefault(frame.phase, Best(_ROWS, _APART))
            gain = scores[1] - scores[0]
            name = (
                f'{frame.phase}, {picture.clock}: mean IoU {scores[0]:.2f} as first published, '
                f'{scores[1]:.2f} at revision {picture.revision}'
            )
            best.offer(gain, self._order, lambda: (gain, name, _row(frame, picture)))

    def close(self) -> None:
        """Finish the video and write the sheet and the report."""
        if self._video is not None:
            self._video.close()
        rows: list[_Row] = []
        for best in self._rows.values():
            items = best.items()
            # Frames without a gain are shown only when there are no others.
            rows += [item for item in items if item[0] > 0] or items[-1:]
        try:
            if rows:
                pictures, names = [row[2] for row in rows], [row[1] for row in rows]
                write_png(self.folder / SHEET, contact_sheet(pictures, COLUMNS, names))
            self.report.write(self.folder)
        except OSError as error:
            raise InputError(f'cannot write into {self.folder}: {error.strerror}') from error
        if self._other_size:
            _log.warning('%d images of another size are not in the video', self._other_size)

    def _write(self, picture: FramePicture) -> None:
        shape = picture.image.shape
        if self._video is None:
            self._shape = shape
            size_wh = self._painter.size_wh(shape)
            self._video = VideoWriter(self.folder / VIDEO, size_wh, self._rate)
        if shape == self._shape:
            self._video.write(self._painter.paint(picture))
        else:
            self._other_size += 1


def _row(frame: Recorded, picture: FramePicture) -> list[np.ndarray]:
    assert frame.truth is not None and picture.first is not None and picture.last is not None
    return comparison_row(
        picture.image, frame.truth, frame.names, picture.first, picture.last,
        tuple(picture.corrected),
    )  # fmt: skip


class OutputThread:
    """Runs an Output on a thread of its own, so that drawing delays no message."""

    def __init__(self, folder: Path, rate: float):
        self.failure: InputError | None = None
        self._output = Output(folder, rate)
        self._queue: queue.Queue[Recorded | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name='output', daemon=True)
        self._thread.start()

    def take(self, frame: Recorded) -> None:
        """Hand over a frame; waits only when drawing has fallen far behind."""
        self._queue.put(frame)

    def close(self) -> None:
        """Draw the waiting frames and finish the files; raises InputError if any step failed."""
        self._queue.put(None)
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        while (frame := self._queue.get()) is not None:
            if self.failure is None:
                self._guard(lambda: self._output.take(frame))
        if self.failure is None:
            self._guard(self._output.close)

    def _guard(self, step: object) -> None:
        try:
            step()  # type: ignore[operator]
        except InputError as error:
            self.failure = error
        except Exception as error:
            _log.exception('recorder output')
            self.failure = InputError(f'a frame could not be recorded: {error}')
