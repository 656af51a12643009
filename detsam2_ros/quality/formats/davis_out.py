# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""DAVIS out: a folder of palette PNGs for each video, as its tools read results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from detsam2_ros.media.video import InputError
from detsam2_ros.quality.formats.sidecar import VideoRecord, write_sidecar
from detsam2_ros.quality.formats.writing import FormatWriter, Numbers
from detsam2_ros.quality.segments import SegmentedFrame

VOID = 255
_PASCAL = 22  # colours of Pascal VOC at the front of the palette


def palette() -> np.ndarray:
    """Return the colours of DAVIS, uint8 [256, 3]: 22 as in Pascal VOC, 191 for 192, then greys.

    Pascal VOC spreads the bits of a number over red, green and blue, high bits first.
    """
    number = np.arange(256)
    colours = np.repeat(number[:, None], 3, axis=1)
    for channel in range(3):
        high, low = number >> channel & 1, number >> (3 + channel) & 1
        colours[:_PASCAL, channel] = (high * 128 + low * 64)[:_PASCAL].clip(max=191)
    return colours.astype(np.uint8)


_PALETTE = palette().tobytes()


class DavisWriter(FormatWriter):
    """Writes TARGET/VIDEO/00000.png: pixel = number of the object, 0 = background, 255 = void.

    There are 254 numbers. An object beyond them is left out.
    """

    what = 'DAVIS PNG'

    def __init__(self, target: Path) -> None:
        super().__init__(target)
        self._numbers = Numbers(range(0))
        self._of_ids: dict[int, int | None] = {}

    def begin(self, name: str, size: tuple[int, int]) -> None:
        """Begin a video."""
        super().begin(name, size)
        self._numbers, self._of_ids = Numbers(range(1, VOID)), {}
        folder = self.target / self._file
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f'cannot make {folder}: {error.strerror}') from error
        if any(folder.glob('*.png')):  # they would be read as frames of this video
            raise InputError(f'{folder} holds PNGs already; give another folder')

    def _write(self, file: str, record: VideoRecord, number: int, frame: SegmentedFrame) -> None:
        labels = np.zeros(record.size, np.uint8)
        for segment in frame.segments:
            if segment.id not in self._of_ids:
                taken = self._of_ids[segment.id] = self._numbers.take(segment.id)
                if taken is None:
                    self.notes.add(
                        'object', 'DAVIS has room for 254; KITTI MOTS and YouTube-VIS have more',
                        f'id {segment.id} of {record.name}')  # fmt: skip
                else:
                    record.objects[taken] = (segment.id, segment.class_id)
            labels[segment.mask.pixels()] = self._of_ids[segment.id] or 0
        if frame.ignored is not None:
            labels[frame.ignored.pixels()] = VOID
        image = Image.fromarray(labels)
        image.putpalette(_PALETTE)
        image.save(self.target / file / f'{number:05d}.png')

    def _finish(self) -> None:
        self.target.mkdir(parents=True, exist_ok=True)
        write_sidecar(self.target, self.records, self.class_names)
