# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The output folder of a run, written frame by frame as frames become final."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from detsam2_ros.media.overlay import draw_overlay, enlarged, enlargement
from detsam2_ros.media.timeline import Settled
from detsam2_ros.media.video import CODECS, InputError, VideoWriter, write_png
from detsam2_ros.quality.formats.export import WRITERS
from detsam2_ros.quality.formats.reading import REVISIONS
from detsam2_ros.quality.formats.sidecar import sidecar_path

MASKS = 'masks'
OBJECTS = 'objects.jsonl'
REPORT = 'report.html'
OVERLAYS = {kind: f'overlay.{kind}' for kind in CODECS}
# Files that a run may write; --force replaces these and leaves all other files alone.
_OURS = (
    MASKS, OBJECTS, REPORT, *OVERLAYS.values(), REVISIONS, *WRITERS,
    *(sidecar_path(Path(name)).name for name in WRITERS),
)  # fmt: skip


class OutputFolder:
    """Writes masks, object lines and the overlay video; use it as a context manager.

    folder: made if it does not exist; earlier results in it are replaced, see `check`. overlay:
    'mp4', 'webm' or None. Raises InputError on a failed write.
    """

    def __init__(
        self,
        folder: Path,
        size_wh: tuple[int, int],
        fps: float,
        overlay: str | None = 'mp4',
        masks: bool = True,
    ) -> None:
        self.folder = folder
        self._masks = folder / MASKS if masks else None
        self._video: VideoWriter | None = None
        try:
            _clear(folder)
            if self._masks is not None:
                self._masks.mkdir(parents=True, exist_ok=True)
            self._objects = (folder / OBJECTS).open('w', encoding='utf-8')
        except OSError as error:
            raise InputError(f'cannot write into {folder}: {error.strerror}') from error
        if overlay is not None:
            factor = enlargement(size_wh)
            size_wh = (size_wh[0] * factor, size_wh[1] * factor)
            self._video = VideoWriter(folder / OVERLAYS[overlay], size_wh, fps)

    def write(self, settled: Settled) -> None:
        """Write a final frame."""
        try:
            for record in settled.records:
                self._objects.write(json.dumps(record, ensure_ascii=False) + '\n')
            # Flushed, so that the file holds whole lines during the run and after a power cut.
            self._objects.flush()
        except OSError as error:
            raise InputError(f'cannot write {self._objects.name}: {error.strerror}') from error
        if self._masks is not None:
            write_png(self._masks / f'{settled.index:06d}.png', settled.last.labels)
        if self._video is not None:
            self._video.write(draw_final_overlay(settled))

    def files(self) -> list[Path]:
        """Return the files that were written."""
        return [self.folder / name for name in _OURS if (self.folder / name).exists()]

    def close(self) -> None:
        """Finish the files; safe to call twice."""
        self._objects.close()
        if self._video is not None:
            self._video.close()

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def draw_final_overlay(settled: Settled) -> np.ndarray:
    """Draw the final masks of a frame, uint8 [H, W, 3] RGB, with its time and revision.

    Small frames come out enlarged (overlay.enlarged).
    """
    badge = ''
    if settled.corrected:
        badge = f'corrected, revision {settled.last.revision}'
    minutes, seconds = divmod(settled.stamp / 1e9, 60)
    caption = f'{settled.index}  {int(minutes):02d}:{seconds:04.1f}'
    image, labels = enlarged(settled.image, settled.last.labels)
    return draw_overlay(
        image,
        labels,
        settled.last.objects,
        corrected_ids=settled.corrected,
        badge=badge,
        caption=caption,
    )


def check(folder: Path, force: bool, source: Path) -> None:
    """Raise InputError if the results must not or cannot go into a folder; changes nothing.

    source: the input, which must not be one of the files that are replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f'output {folder} is a file; give a folder')
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise InputError(f'output {folder} is not empty; give another folder or --force')
    for name in _OURS:
        own, given = (folder / name).resolve(), source.resolve()
        if given == own or own in given.parents:
            raise InputError(f'input {source} would be overwritten; give another output folder')
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(f'cannot make the output folder {folder}: {place} is not writable')


def _clear(folder: Path) -> None:
    """Remove the results of an earlier run and nothing else; make the folder if needed."""
    for name in _OURS:
        path = folder / name
        # Of a link only the link is removed, not its target.
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
    folder.mkdir(parents=True, exist_ok=True)
