# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Label masks: a PNG for each image, in which each object has its own pixel value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detsam2_ros.banks.annotations import check_name, filled, object_key
from detsam2_ros.banks.label_names import LabelName, find_names, read_names
from detsam2_ros.banks.pictures import Picture, lookup_key
from detsam2_ros.banks.views import Mark
from detsam2_ros.media.folders import list_files
from detsam2_ros.media.label_images import read_labels
from detsam2_ros.media.notes import Notes
from detsam2_ros.media.video import InputError


class LabelMasks:
    """A folder of label masks for images of the same names; pixel 0 is background.

    Classes come from the first of these that is given: the names file (see `read_names`);
    class_name, for all values; a names file in the folder or in its parent; folders, as in
    masks/CLASS/IMAGE.png, where each value is an object of the class. ignore: values that stand
    for no object, such as 255 for a rim. Grouped by instance, a value without a key is the same
    object in all images. Raises InputError naming what cannot be used.
    """

    def __init__(
        self,
        folder: Path,
        group: str = 'class',
        names: Path | None = None,
        class_name: str | None = None,
        ignore: Sequence[int] = (),
        is_video: bool = False,
    ) -> None:
        if not folder.is_dir():
            raise InputError(f'label masks {folder}: there is no such folder')
        self._folder = folder
        self._group = group
        self._ignore = frozenset({0, *ignore})
        self._is_video = is_video
        self._names: dict[int, LabelName] | None = None
        self._all = None if class_name is None else check_name(class_name, 'class name')
        self.what = f'label masks in {folder.name}'
        files = list_files(folder, ('.png',), '**/*')
        if not files:
            raise InputError(f'label masks {folder}: it holds no .png')
        if names is None and class_name is None:
            names = find_names(folder, folder.absolute().parent)
        if names is not None:
            self._names = read_names(names)
        by_class = names is None and class_name is None
        self._classes = self._read_folders(files) if by_class else {}
        self._files: dict[str, list[tuple[str | None, Path]]] = {}
        for file in files:
            parts = file.relative_to(folder).with_suffix('').parts
            owner, stem = (parts[0], parts[1:]) if by_class else (None, parts)
            key = lookup_key('/'.join(stem), is_video)
            self._files.setdefault(key, []).append((owner, file))
        self._used: set[str] = set()

    def _read_folders(self, files: Sequence[Path]) -> dict[str, LabelName]:
        """Return the classes that folders stand for, numbered in the order of their names."""
        relative = [file.relative_to(self._folder) for file in files]
        loose = next((path for path in relative if len(path.parts) == 1), None)
        if loose is not None:
            raise InputError(
                f'label masks {self._folder}: nothing says what the pixels of {loose} are; write '
                f'names.yaml there, such as {{1: cup, 2: bowl}}, give --class-name NAME for all, '
                f'or a folder for each class'
            )
        folders = sorted({path.parts[0] for path in relative})
        names = {folder: check_name(folder, f'folder {folder}') for folder in folders}
        ids = {name: i for i, name in enumerate(sorted(set(names.values())))}
        return {folder: LabelName(ids[name], name) for folder, name in names.items()}

    def has(self, picture: Picture) -> bool:
        """Return whether there is a mask of the picture's name."""
        key = lookup_key(picture.stem, self._is_video)
        self._used.add(key)
        return key in self._files

    def marks(self, picture: Picture, image: np.ndarray, notes: Notes) -> list[Mark]:
        """Return a mark for each object of the picture's masks."""
        key = lookup_key(picture.stem, self._is_video)
        marks = []
        for owner, file in self._files[key]:
            name = file.relative_to(self._folder).as_posix()
            labels = read_labels(file)
            if labels is None:
                notes.add('mask', 'unreadable', name)
            elif labels.shape != image.shape[:2]:
                notes.add('mask', 'of another size than its image', name)
            elif filled(labels > 0, name, notes):
                marks += self._split(labels, owner, name, notes)
        return marks

    def _split(self, labels: np.ndarray, owner: str | None, name: str, notes: Notes) -> list[Mark]:
        """Return a mark for each named pixel value of a label mask."""
        marks = []
        for value in np.unique(labels).tolist():
            if value in self._ignore:
                continue
            known = self._name(value, owner)
            if known is None:
                notes.add('object', f'pixel value {value} has no name', name)
                continue
            key = object_key(self._group, known.class_name, value)
            if self._group == 'instance' and known.key is not None:
                key = known.key
            marks.append(Mark(key, known.class_id, known.class_name, mask=labels == value))
        return marks

    def _name(self, value: int, owner: str | None) -> LabelName | None:
        if owner is not None:
            return self._classes[owner]
        if self._names is not None:
            return self._names.get(value)
        return LabelName(0, str(self._all))

    def unused(self, notes: Notes) -> None:
        """Count masks without an image."""
        for key in self._files.keys() - self._used:
            for _, file in self._files[key]:
                notes.add('mask', 'no image of its name', file.name)
