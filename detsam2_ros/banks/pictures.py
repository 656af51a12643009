# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The images of annotations: a folder with its subfolders, or the frames of a video."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from detsam2_ros.media.folders import unicode_form
from detsam2_ros.media.images import IMAGE_SUFFIXES, list_images, read_image
from detsam2_ros.media.video import InputError, VideoSource

_SECOND = 10**9
_NUMBER = re.compile(r'(\d+)$')


@dataclass(frozen=True)
class Picture:
    """An image that has not been read yet."""

    name: str  # path inside the folder, or number of the frame; an annotation has the same stem
    stamp: int  # nanoseconds, different for each picture
    # Reads the image, uint8 [H, W, 3] RGB; raises ImageFileError. The picture of a video can be
    # read only until the next picture is taken.
    load: Callable[[], np.ndarray]

    @property
    def stem(self) -> str:
        """The name without its suffix, folders included."""
        return str(PurePosixPath(self.name).with_suffix(''))


class Pictures(Protocol):
    """Images in order."""

    path: Path
    is_video: bool  # True: the images are frames, found by the number that ends a name
    every: int  # each every-th image is taken
    names: tuple[str, ...]  # of all images in the folder, those not taken too; none of a video's

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Picture]: ...


def open_pictures(path: Path, every: int = 1, exclude: Path | None = None) -> Pictures:
    """Open a folder of images or a video, taking each every-th image; raises InputError.

    exclude: a folder whose files are not taken, such as label masks among the images.
    """
    if not path.exists():
        raise InputError(f'images {path}: there is no such file or folder')
    return PictureFolder(path, every, exclude) if path.is_dir() else PictureVideo(path, every)


class PictureFolder:
    """The images of a folder and its subfolders, in natural order; stamps count in seconds."""

    is_video = False

    def __init__(self, path: Path, every: int = 1, exclude: Path | None = None) -> None:
        self.path = path
        other = None if exclude is None else exclude.resolve()
        if other == path.resolve():
            other = None
        found = [
            file.relative_to(path)
            for file in list_images(path, '**/*')
            if other is None or other not in file.resolve().parents
        ]
        if not found:
            raise InputError(f'images {path}: it holds no images ({", ".join(IMAGE_SUFFIXES)})')
        self.names = tuple(file.as_posix() for file in found)
        self._files = found[::every]
        self.every = every

    def __len__(self) -> int:
        return len(self._files)

    def __iter__(self) -> Iterator[Picture]:
        for i, file in enumerate(self._files):
            load = partial(read_image, self.path / file)
            yield Picture(file.as_posix(), i * self.every * _SECOND, load)


class PictureVideo:
    """Each every-th frame of a video, named by its number in six digits; stamps are its times."""

    is_video = True
    names: tuple[str, ...] = ()

    def __init__(self, path: Path, every: int = 1) -> None:
        self.path = path
        self._source = VideoSource(path)
        self.every = every

    def __len__(self) -> int:
        return -(-(self._source.count or 0) // self.every)

    def __iter__(self) -> Iterator[Picture]:
        for index, frame in enumerate(self._source.frames()):
            if index % self.every == 0:
                yield Picture(f'{index:06d}', frame.stamp, partial(_same, frame.image))


def lookup_key(stem: str, is_video: bool) -> str:
    """Return the key by which a picture finds its annotation.

    In a folder the key is the path without suffix. For a video it is the number that ends the
    name ('000012', 'frame_12'), as annotation tools name frames.
    """
    number = _NUMBER.search(stem) if is_video else None
    return str(int(number[1])) if number else unicode_form(stem)


def _same(image: np.ndarray) -> np.ndarray:
    return image
