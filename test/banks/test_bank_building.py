# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""From pictures and marks to a bank: what is counted, what is refused, what the limit is."""

from __future__ import annotations

import fakes
import numpy as np
import pytest
from annotation_cases import write_image

from detsam2_ros.banks.building import build, crowded
from detsam2_ros.banks.detected import Detected
from detsam2_ros.banks.pictures import open_pictures
from detsam2_ros.banks.views import Mark, View, remember
from detsam2_ros.engine import BankError
from detsam2_ros.media.notes import Notes

RED = fakes.disc_box(20, 30, 10)
NOWHERE = (40.0, 2.0, 60.0, 12.0)  # black: the colour model finds nothing there


def mark(box=RED, key='red', name='disc', class_id=4):
    return Mark(key, class_id, name, box=tuple(map(float, box)))


class Given:
    """Annotations as a test gives them, by the picture's name."""

    what = 'a test'

    def __init__(self, **marks):
        self.marks_of = marks
        self.asked_for_unused = False

    def has(self, picture):
        return picture.stem in self.marks_of

    def marks(self, picture, image, notes):
        return self.marks_of[picture.stem]

    def unused(self, notes):
        self.asked_for_unused = True


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    # The colour model remembers colours alone: the same colour would be the same view.
    for name, colour in zip('abcd', ('red', 'green', 'blue', 'yellow'), strict=True):
        write_image(folder / f'{name}.png', fakes.scene((colour, 20, 30, 10), size=(64, 64)))
    return folder


def built(images, given, every=1, **options):
    notes = Notes()
    bank = build(fakes.colour_sam2(), open_pictures(images, every), given, notes, **options)
    return bank, list(notes.sentences())


def test_views_of_a_key_are_entries_with_stamps_of_their_own(images):
    counts = []
    given = Given(a=[mark()], b=[mark()], d=[mark(), mark(key='other')])
    bank, noted = built(images, given, progress=counts.append)
    assert [(e.object_key, e.stamp) for e in bank.entries] == [
        ('red', 0), ('red', 10**9), ('red', 3 * 10**9), ('other', 3 * 10**9),
    ]  # fmt: skip
    assert counts == [1, 2, 2, 4] and given.asked_for_unused
    assert noted == ['1 image left out: no annotation (first: c.png)']
    assert bank.source == f'3 images of {images.name}, a test'


def test_each_nth_image_keeps_its_stamp_and_asks_for_no_rest(images):
    given = Given(a=[mark()], b=[mark()], c=[mark()], d=[mark()])
    bank, noted = built(images, given, every=2)
    assert [e.stamp for e in bank.entries] == [0, 2 * 10**9]
    assert not noted and not given.asked_for_unused


def test_twins_and_marks_of_nothing_are_counted(images):
    bank, noted = built(images, Given(a=[mark(), mark()], b=[mark(), mark(NOWHERE)], c=[], d=[]))
    assert len(bank) == 2
    assert noted == [
        '1 object left out: the same view twice (first: red in a.png)',
        '1 object left out: SAM 2 finds nothing there (first: red in b.png)',
    ]


def test_a_bank_that_gets_too_large_stops_and_says_where(images):
    given = Given(a=[mark()], b=[mark()], c=[mark()], d=[mark()])
    one = built(images, Given(a=[mark()]))[0].nbytes
    assert len(built(images, given, max_bytes=4 * one)[0]) == 4
    with pytest.raises(BankError, match=r'more than \d+ bytes at d\.png, entry 4; .*--every'):
        built(images, given, max_bytes=4 * one - 1)


def test_a_key_of_two_classes_is_refused_at_once(images):
    given = Given(a=[mark()], b=[mark(name='ring')])
    with pytest.raises(BankError, match=r"'red' is a disc before and a ring in b\.png"):
        built(images, given)


def test_nothing_at_all_is_refused(images):
    with pytest.raises(BankError, match='no object is marked'):
        built(images, Given(a=[mark(NOWHERE)]))


def test_objects_that_no_frame_should_attend_to_are_named(images):
    bank, _ = built(images, Given(a=[mark()], b=[mark(key='x')]))
    assert not crowded(bank)
    many = bank.entries[:1] * 17
    assert crowded(type('Bank', (), {'entries': many})) == [('red', 17)]


def test_detections_are_marks(images):
    script = {i: [(0, RED), (1, (-5.0, 0.0, 500.0, 64.0))] for i in range(4)}
    detector = fakes.ScriptedDetector(script)
    given = Detected(detector, 'scripted')
    notes, picture = Notes(), next(iter(open_pictures(images)))
    marks = given.marks(picture, picture.load(), notes)
    assert [(m.key, m.class_id) for m in marks] == [
        (detector.class_names[0], 0), (detector.class_names[1], 1),
    ]  # fmt: skip
    assert marks[1].box == (0.0, 0.0, 64.0, 64.0) and not notes
    empty = Detected(fakes.ScriptedDetector({}), 'scripted')
    assert not empty.marks(picture, picture.load(), notes)
    assert notes.count('nothing detected') == 1


def test_a_crowded_image_is_remembered_in_parts(monkeypatch):
    from detsam2_ros.banks import views

    model = fakes.colour_sam2()
    image = fakes.scene(('red', 20, 30, 10), ('green', 45, 30, 8), size=(64, 64))
    marks = (mark(), mark(fakes.disc_box(45, 30, 8), 'green'), mark(NOWHERE, 'no'))
    absent = []
    whole = list(remember(model, View(image, marks), absent.append))
    monkeypatch.setattr(views, '_BATCH', 1)
    parts = list(remember(model, View(image, marks), absent.append))
    assert [e.object_key for e in whole] == [e.object_key for e in parts] == ['red', 'green']
    for a, b in zip(whole, parts, strict=True):
        assert a.memory.spatial.equal(b.memory.spatial)
    assert absent == [marks[2]] * 2


def test_marks_that_do_not_fit_the_image_are_refused():
    image = np.zeros((8, 9, 3), np.uint8)
    odd = Mark('x', 0, 'x', mask=np.ones((9, 8), bool))
    with pytest.raises(BankError, match=r'x: its mask is \(9, 8\), the image .* \(8, 9\)'):
        list(remember(fakes.colour_sam2(), View(image, (odd,))))
    for box in ((1, 1, 1, 5), (1, 1, 5, float('nan')), (5, 1, 1, 5)):
        with pytest.raises(ValueError, match='x0 < x1'):
            mark(box)


def test_label_masks_among_the_images_are_none(tmp_path):
    for folder in ('', 'masks', 'masks/more', 'masks_too'):
        write_image(tmp_path / folder / '0.png')
    names = [picture.name for picture in open_pictures(tmp_path, exclude=tmp_path / 'masks')]
    assert names == ['0.png', 'masks_too/0.png']
    # A folder that holds both by other names is taken whole.
    assert len(open_pictures(tmp_path, exclude=tmp_path)) == 4
