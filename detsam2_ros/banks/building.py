# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A memory bank from annotated pictures, with an entry for each marked object of a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from detsam2_ros.banks.annotations import Annotations
from detsam2_ros.banks.pictures import Picture, Pictures
from detsam2_ros.banks.views import Mark, View, remember
from detsam2_ros.engine.bank.bank import DEFAULT_MAX_BANK_BYTES, BankEntry, MemoryBank
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.media.images import ImageFileError
from detsam2_ros.media.notes import Notes
from detsam2_ros.results.errors import BankError

MANY_ENTRIES = 16  # of one object; every frame attends to each of them
_MAX_SOURCE = 1000  # characters


def build(
    model: Sam2Model,
    pictures: Pictures,
    annotations: Annotations,
    notes: Notes,
    progress: Callable[[int], None] | None = None,
    max_bytes: int = DEFAULT_MAX_BANK_BYTES,
) -> MemoryBank:
    """Make a bank of all marks in the pictures; notes count what is left out.

    progress: called after each picture with the number of entries so far. Raises BankError when
    nothing is marked, and when the bank would exceed max_bytes.
    """
    entries: list[BankEntry] = []
    seen: set[tuple[str, bytes]] = set()
    classes: dict[str, str] = {}
    used = held = 0
    for picture in pictures:
        view = _view(picture, annotations, notes, classes)
        if view is not None:
            before = len(entries)
            for entry in remember(model, view, _note_absent(picture, notes)):
                content = entry.object_key, entry.digest()
                if content in seen:
                    example = f'{entry.object_key} in {picture.name}'
                    notes.add('object', 'the same view twice', example)
                    continue
                seen.add(content)
                entries.append(entry)
                held += entry.nbytes
                if held > max_bytes:
                    raise BankError(
                        f'the bank would have more than {max_bytes} bytes at {picture.name}, '
                        f'entry {len(entries)}; take fewer images, such as --every 10'
                    )
            used += len(entries) > before
        if progress is not None:
            progress(len(entries))
    if pictures.every == 1:  # otherwise many belong to images that were skipped
        annotations.unused(notes)
    if not entries:
        raise BankError('no object is marked in any image that could be used')
    source = f'{used} images of {pictures.path.name}, {annotations.what}'
    source = ''.join(c if c.isprintable() else '?' for c in source)[:_MAX_SOURCE]
    return MemoryBank(model.identity, tuple(entries), source=source)


def crowded(bank: MemoryBank) -> list[tuple[str, int]]:
    """Return the keys and entry counts of objects with more than MANY_ENTRIES entries."""
    counts = Counter(entry.object_key for entry in bank.entries)
    return [(key, count) for key, count in counts.items() if count > MANY_ENTRIES]


def _view(
    picture: Picture, annotations: Annotations, notes: Notes, classes: dict[str, str]
) -> View | None:
    if not annotations.has(picture):
        notes.add('image', 'no annotation', picture.name)
        return None
    try:
        image = picture.load()
    except ImageFileError as error:
        notes.add('image', str(error), picture.name)
        return None
    marks = annotations.marks(picture, image, notes)
    for mark in marks:
        known = classes.setdefault(mark.key, mark.class_name)
        if known != mark.class_name:
            raise BankError(
                f'object {mark.key!r} is a {known} before and a {mark.class_name} in '
                f'{picture.name}; an object has one class'
            )
    return View(image, tuple(marks), picture.stamp) if marks else None


def _note_absent(picture: Picture, notes: Notes) -> Callable[[Mark], None]:
    def note(mark: Mark) -> None:
        notes.add('object', 'SAM 2 finds nothing there', f'{mark.key} in {picture.name}')

    return note
