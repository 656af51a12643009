# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What `banks.py` looks at: views that banks are made of, and clips in which objects are found."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from detsam2_ros.banks.views import Mark, View, remember
from detsam2_ros.engine.bank.bank import BankEntry, MemoryBank
from detsam2_ros.engine.sam2.attended_memories import choose
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.scene.scene import CLASS_NAMES, SceneFrame, SceneOptions, render

# The shipped models were trained on seeds below 1,000,000.
TABLES, OTHER_TABLES = 2_400_000, 2_500_000
BANK_CLOTHS, CLIP_CLOTHS = ('green', 'blue', 'grey'), ('teal', 'tan', 'burgundy')
BALLS, ABSENT = 4, 2  # in a clip; bank objects that are not in it
# A ball that is seen less makes no entry.
MIN_VISIBLE = 0.8
MOMENTS = 24  # views that entries are chosen from
# First frames of clips of the table that the views are of: these end with frame 115.
FIRST, AT_ONCE = 150, 118
PLACES = (
    'same table', 'same table, at once', 'other light and camera', 'other cloth', 'other table'
)  # fmt: skip
_USUAL = {'duplicate_colours': 0.0, 'late_ball': 0.0, 'look_alikes': 0.0}


def clip(place: str, number: int, frames: int) -> list[SceneFrame]:
    """Return the frames of a clip, some seconds after the views where the table is theirs."""
    own: dict[str, object] = {'cloth': BANK_CLOTHS[number % 3]}
    if not place.startswith('same table'):
        own |= {'light_change': 2.0, 'shake': 3.0}
    if place in ('other cloth', 'other table'):
        own['cloth'] = CLIP_CLOTHS[number % 3]
    if place == 'other table':
        return render(OTHER_TABLES + number, frames, options=_options(**own))
    first = AT_ONCE if place == 'same table, at once' else FIRST
    return _table(TABLES + number, first + frames, **own)[first:]


def _options(**own: object) -> SceneOptions:
    return SceneOptions(**{**_USUAL, 'balls': BALLS, 'occluders': 0.5, **own})  # type: ignore[arg-type]


def _table(seed: int, frames: int, **own: object) -> list[SceneFrame]:
    return render(seed, frames, options=_options(**own))


@functools.lru_cache(maxsize=2)
def _views(place: str, number: int, absent: bool) -> list[list[SceneFrame]]:
    """Return MOMENTS views, each of 8 frames in succession.

    Of the table of the clip, but for the objects that are absent there; else of 12 tables.
    """
    if place != 'other table' and not absent:
        film = _table(TABLES + number, 130, cloth=BANK_CLOTHS[number % 3])
        return [film[5 * i : 5 * i + 8] for i in range(MOMENTS)]
    views = []
    for table in range(MOMENTS // 2):
        seed = OTHER_TABLES + 1000 * (number + 1) + table
        film = _table(seed, 48, cloth=BANK_CLOTHS[table % 3], balls=8, occluders=0.0)
        views += [film[:8], film[40:48]]
    # Views of different tables first.
    return views[::2] + views[1::2]


def view_of(frame: SceneFrame, stamp: int, classes: Iterable[int]) -> View:
    """Mark the balls of some classes that are well seen; each class is one bank object."""
    wanted = set(classes)
    marks = [
        Mark(CLASS_NAMES[int(c)], int(c), CLASS_NAMES[int(c)], mask=frame.labels == ball)
        for ball, c, seen in zip(frame.ids, frame.class_ids, frame.visible_fraction, strict=True)
        if seen >= MIN_VISIBLE and int(c) in wanted
    ]
    return View(frame.image, tuple(marks), stamp)


class Pool:
    """The entries that a bank for a clip may be made of.

    classes: of the objects in the clip. absent: of objects that are not in it.
    """

    def __init__(self, model: Sam2Model, place: str, number: int, film: Sequence[SceneFrame]):
        self._model = model
        self._place, self._number = place, number
        self.classes = sorted({int(c) for c in film[0].class_ids})
        self.absent = [c for c in range(len(CLASS_NAMES)) if c not in self.classes][:ABSENT]
        self._entries: dict[tuple[int, int], list[BankEntry]] = {}

    def bank(self, entries: int, choice: str, views: int = MOMENTS) -> MemoryBank:
        """Make a bank of so many entries an object.

        choice: 'curated' (k-centre), 'random N' with a seed, or 'views': as many frames in
        succession of each of the first `views` views as entries asks for.
        """
        picked: list[BankEntry] = []
        for kind in (*self.classes, *self.absent):
            absent = kind in self.absent
            if choice == 'views':
                each = entries // views
                step = max(MOMENTS // views, 1)
                taken = [
                    entry
                    for view in range(0, step * views, step)
                    for frame in range(each)
                    for entry in self._of(view, frame, absent)
                    if entry.class_id == kind
                ]
                picked += taken
                continue
            pool = [e for v in range(MOMENTS) for e in self._of(v, 0, absent)]
            own = [entry for entry in pool if entry.class_id == kind]
            picked += pick(own, entries, choice)
        return MemoryBank(self._model.identity, tuple(picked), source='benchmark')

    def _of(self, view: int, frame: int, absent: bool) -> list[BankEntry]:
        """Return the entries of a frame of a view."""
        key = (view, frame if not absent else frame + 100)
        if key not in self._entries:
            shown = _views(self._place, self._number, absent)[view][frame]
            classes = self.absent if absent else self.classes
            marked = view_of(shown, 100 * view + frame, classes)
            self._entries[key] = list(remember(self._model, marked))
        return self._entries[key]


def pick(pool: Sequence[BankEntry], count: int, choice: str) -> list[BankEntry]:
    """Choose entries of one object: 'curated', or 'random N' with N as the seed."""
    if choice == 'curated':
        return [pool[i] for i in choose({i: e.memory for i, e in enumerate(pool)}, count)]
    seed = int(choice.split()[1])
    order = np.random.default_rng((seed, len(pool))).permutation(len(pool))
    return [pool[i] for i in sorted(order[:count])]
