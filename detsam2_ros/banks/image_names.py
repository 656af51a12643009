# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which picture of a folder a file name in a list means, when folders and suffixes differ."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from detsam2_ros.banks.pictures import lookup_key
from detsam2_ros.media.folders import unicode_form

T = TypeVar('T')
_Key = Callable[[PurePosixPath], str]
_KEYS: tuple[_Key, ...] = (
    str,
    lambda path: str(path.with_suffix('')),
    lambda path: path.name,
    lambda path: path.stem,
)


def match_names(folder: Path, pictures: Sequence[str], listed: Sequence[str]) -> dict[str, int]:
    """Return the place in the list of each picture that is named there.

    pictures: paths in the folder. listed: file names, with any folders. A name means a picture of
    exactly that path. Else the folders count that end as the path of the folder does: of
    'cam1/0.png' and 'cam2/0.png' the folder cam1 has the first alone. Then the path without
    suffix, the name, and the name without suffix count, each where one picture and one listed
    file have it: a guess between two would mark the wrong image.
    """
    own = {name: PurePosixPath(unicode_form(name)) for name in pictures}
    paths = {i: path for i, path in enumerate(map(_posix_path, listed)) if path.name}
    inside = _inside(folder, paths)
    found: dict[str, int] = {}
    stages = [(_KEYS[0], paths), *((key, inside) for key in _KEYS)]
    for key, candidates in stages:
        mine = _unique((key(path), name) for name, path in own.items())
        theirs = _unique((key(path), i) for i, path in candidates.items())
        taken = set(found.values())
        for text in mine.keys() & theirs.keys():
            if mine[text] not in found and theirs[text] not in taken:
                found[mine[text]] = theirs[text]
    return found


def match_frames(video: Path, listed: Sequence[str]) -> dict[str, int]:
    """Return the place in the list of each frame, by its `lookup_key`: the number of a name.

    Where folders are called like the video, only what is in them counts.
    """
    paths = {i: path for i, path in enumerate(map(_posix_path, listed)) if path.name}
    inside = _inside(video.with_suffix(''), paths)
    return _unique((lookup_key(path.stem, True), i) for i, path in inside.items())


def _posix_path(name: str) -> PurePosixPath:
    """Return the path that a file name of any system means."""
    return PurePosixPath(unicode_form(name.replace('\\', '/')))


def _inside(folder: Path, paths: Mapping[int, PurePosixPath]) -> dict[int, PurePosixPath]:
    """Return the paths whose folders most of all end as the folder's, from there on."""
    place = tuple(unicode_form(part) for part in Path(os.path.abspath(folder)).parts)
    below = {i: _below(path, place) for i, path in paths.items()}
    deepest = max((depth for depth, _ in below.values()), default=0)
    return {i: path for i, (depth, path) in below.items() if depth == deepest}


def _below(path: PurePosixPath, place: tuple[str, ...]) -> tuple[int, PurePosixPath]:
    """Return how many of the path's folders end the place, and what follows them."""
    folders = path.parts[:-1]
    for depth in range(min(len(folders), len(place)), 0, -1):
        for end in range(len(folders), depth - 1, -1):
            if folders[end - depth : end] == place[-depth:]:
                return depth, PurePosixPath(*path.parts[end:])
    return 0, path


def _unique(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, list[T]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: values[0] for key, values in found.items() if len(values) == 1}
