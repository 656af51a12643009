# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Frames in and out of files: a video or a folder of images, read and written as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from detsam2_ros.media.images import IMAGE_SUFFIXES, ImageFileError, list_images, read_image

# OpenCV's wheels write .mp4 as MPEG-4 Part 2 only. That is fast, and desktop players play it, but
# browsers do not. H.264 ('avc1') needs an encoder that the wheels lack. VP8 in .webm plays in
# browsers and takes some ten times as long to write.
CODECS = {'mp4': 'mp4v', 'webm': 'VP80'}
# The denominators of MPEG-4 have 16 bits, and OpenCV gives rates three decimals.
_MAX_EXACT_RATE = 65.0

_PROBED_FRAMES = 16  # read for their times when a video is opened
_USUAL_RATE = 30.0  # where a file says nothing of use
_MAX_STATED_RATE = 120.0  # files without a rate state that of their clock, often 1000 a second
_MAX_RATE = 1000.0


class InputError(Exception):
    """An input or output file that cannot be used; the message names the file."""


@dataclass(frozen=True)
class Frame:
    """One image of an input."""

    image: np.ndarray  # uint8 [H, W, 3] RGB
    stamp: int  # nanoseconds from the start


class Source(Protocol):
    """An open input, whose first frame could be read."""

    path: Path
    size_wh: tuple[int, int]  # pixels
    fps: float  # frames a second
    count: int | None  # frames, as the file states, before they are read; None when unknown

    def frames(self) -> Iterator[Frame]:
        """Read the frames from the start, one at a time; raises InputError midway."""
        ...

    def missing(self) -> str | None:
        """Say, after the last frame, that the file states more; None where it does not."""
        ...


def open_source(path: Path, fps: float | None = None) -> Source:
    """Open a video file, or a folder of images in the order of their names.

    fps: replaces the rate that the file states; None for a folder: 30. Raises InputError.
    """
    if not path.exists():
        raise InputError(f'input {path} does not exist')
    return FolderSource(path, fps or 30.0) if path.is_dir() else VideoSource(path, fps)


class VideoSource:
    """A video file that OpenCV can read; stamps are the frame times of the file, see Source.

    The header is not believed where the times of the first frames contradict it.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self.path = path
        if not path.stat().st_size:
            raise InputError(f'input {path} is empty')
        capture = _open_capture(path)
        good, image = capture.read()
        times = [_time(capture)]
        while good and len(times) < _PROBED_FRAMES and capture.grab():
            times.append(_time(capture))
        stated = capture.get(cv2.CAP_PROP_FPS)
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        if not good:
            raise InputError(f'input {path} has no frame that OpenCV can decode')
        measured = _measured_rate(times)
        rate = _likely_rate(stated, measured)
        self.fps = fps or rate
        # Times beyond any camera's rate are those of a clock, and no times of frames.
        self._own_times = fps is None and (measured is None or measured <= _MAX_RATE)
        # Where it has no count, OpenCV makes one of the duration and the rate.
        self.count = int(count) if rate == stated and 0 < count < 2**31 else None
        self._stated_end = 0.0 if self.count is None else self.count / stated * 1e9
        self._read, self._end = 0, 0.0  # frames, and the end of the last one in nanoseconds
        self.size_wh = (image.shape[1], image.shape[0])

    def frames(self) -> Iterator[Frame]:
        """Read the frames from the start; a broken frame ends the video, as in OpenCV."""
        capture = _open_capture(self.path)
        step, stamp, index = round(1e9 / self.fps), -1, 0
        self._read, self._end = 0, 0.0
        try:
            while True:
                good, image = capture.read()
                if not good:
                    return
                time = _time(capture)
                if self._own_times:
                    # The time of the frame just read. Some containers state none (0 for each
                    # frame) or jump back. Stamps must grow, so the nominal rate is used there.
                    stamp = time if time > stamp else stamp + step
                else:
                    stamp = index * step
                self._read, self._end = index + 1, max(self._end, time + step)
                _check_size(image, self.size_wh, f'frame {index} of {self.path}')
                yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), stamp)
                index += 1
        finally:
            capture.release()

    def missing(self) -> str | None:
        """Say that the video ended early: for OpenCV a broken frame is the end of the video.

        Fewer frames than stated, in the time that is stated, are a variable rate.
        """
        # Containers miscount by a frame or two.
        short = self.count is not None and self._read < 0.95 * self.count
        if not short or self._end >= 0.95 * self._stated_end:
            return None
        return f'{self.path} says it has {self.count} frames, but only {self._read} could be read'


class FolderSource:
    """A folder of images as a video, in natural order of names: 2.png before 10.png."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.fps = fps
        self._files = list_images(path)
        if not self._files:
            raise InputError(f'input folder {path} holds no images ({", ".join(IMAGE_SUFFIXES)})')
        self.count: int | None = len(self._files)
        first = _read_image(self._files[0])
        self.size_wh = (first.shape[1], first.shape[0])

    def frames(self) -> Iterator[Frame]:
        """Read the images in order; raises InputError for a broken one or another size."""
        for index, file in enumerate(self._files):
            image = _read_image(file)
            _check_size(image, self.size_wh, str(file))
            yield Frame(image, round(index * 1e9 / self.fps))

    def missing(self) -> str | None:
        """Return None: the files are counted."""
        return None


class VideoWriter:
    """Writes uint8 [H, W, 3] RGB frames of one size to a video; use it as a context manager.

    The container comes from the suffix (CODECS). Odd sizes are padded by one repeated row or
    column, which the codecs need. Raises InputError when the file cannot be written.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int], fps: float) -> None:
        self.path = path
        self.frames = 0
        width, height = size_wh
        self._pad = (height % 2, width % 2)
        rate = fps if fps <= _MAX_EXACT_RATE else round(fps, 2)
        code = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lstrip('.')])
        self._writer = cv2.VideoWriter(
            str(path), code, rate, (width + self._pad[1], height + self._pad[0])
        )
        if not self._writer.isOpened():
            raise InputError(f'cannot write the video {path}: OpenCV has no encoder for it here')

    def write(self, image: np.ndarray) -> None:
        """Append one frame."""
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if any(self._pad):
            image = cv2.copyMakeBorder(
                image, 0, self._pad[0], 0, self._pad[1], cv2.BORDER_REPLICATE
            )
        self._writer.write(image)
        self.frames += 1

    def close(self) -> None:
        """Finish the file; without this a player cannot open it."""
        self._writer.release()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an image, uint8 [H, W, 3] RGB or uint16 [H, W], as PNG; raises InputError."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    try:
        written = cv2.imwrite(str(path), image)
    except cv2.error:
        written = False
    if not written:
        raise InputError(f'cannot write {path}: is the disk full, or the folder gone?')


def _open_capture(path: Path) -> cv2.VideoCapture:
    # The path exists: a name like '0' or a URL must not open a camera.
    capture = cv2.VideoCapture(str(path.resolve()))
    if not capture.isOpened():
        raise InputError(f'input {path} is no video that OpenCV can read')
    return capture


def _time(capture: cv2.VideoCapture) -> int:
    """Return the time of the frame that was read last, nanoseconds; 0 where there is none."""
    time = capture.get(cv2.CAP_PROP_POS_MSEC)
    return round(time * 1e6) if np.isfinite(time) else 0


def _measured_rate(times: Sequence[int]) -> float | None:
    """Return frames a second from the median distance of frame times; None without times."""
    steps = np.diff(np.array(times, np.float64))
    growing = steps[steps > 0]
    return float(1e9 / np.median(growing)) if len(growing) > len(steps) / 2 else None


def _likely_rate(stated: float, measured: float | None) -> float:
    """Return the rate of a video: what its file states unless the first frames say otherwise.

    Frames of a variable rate are no contradiction: the stated one is their mean then.
    """
    usable = bool(np.isfinite(stated)) and 0 < stated <= _MAX_RATE
    if measured is None or measured > _MAX_RATE:
        return stated if usable else _USUAL_RATE
    most = 2.0 if stated <= _MAX_STATED_RATE else 1.1
    return stated if usable and 1 / most < stated / measured < most else measured


def _read_image(file: Path) -> np.ndarray:
    try:
        return read_image(file)
    except ImageFileError as error:
        raise InputError(f'image {file} cannot be read: it is {error}') from error


def _check_size(image: np.ndarray, size_wh: tuple[int, int], name: str) -> None:
    if (image.shape[1], image.shape[0]) != size_wh:
        raise InputError(
            f'{name} is {image.shape[1]}x{image.shape[0]} pixels but the first frame is '
            f'{size_wh[0]}x{size_wh[1]}; all must have one size'
        )
