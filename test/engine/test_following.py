# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A pass that loses an object does not take back masks to which tracking had followed it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import ColourDetector, Run, iou, mask
from stream_cases import film

from detsam2_ros.engine.sam2.steps import track_objects
from detsam2_ros.engine.tracking import reverse_pass
from detsam2_ros.engine.tracking.following import lost, path
from detsam2_ros.engine.tracking.frame_masks import FoundMask, FrameMasks
from detsam2_ros.engine.tracking.frames import Frame, Published
from detsam2_ros.engine.tracking.objects import TrackedObject
from detsam2_ros.results.frames import Object
from detsam2_ros.results.masks import Mask

OPTIONS = {'window_size': 4, 'detect_interval': 4, 'max_propagation': 12}


def square(left: int | None) -> Mask:
    pixels = np.zeros((20, 60), bool)
    if left is not None:
        pixels[4:14, left : left + 10] = True
    return Mask.of(pixels)


def thing(id_: int) -> TrackedObject:
    return TrackedObject(id=id_, class_id=0, class_name='ball', born=0, confirmed=True)


def frame(index: int, *lefts: int | None) -> Frame:
    """Make a frame on which squares were published, of ids from 1 on."""
    objects = {
        id_: Object(id_, 0, 'ball', 0.9, False, square(left)) for id_, left in enumerate(lefts, 1)
    }
    return Frame(index, index, None, published=Published(0, objects))


@pytest.mark.parametrize(('lefts', 'prompts', 'expected'), [
    ([0, 2, 4, 6], {0}, {1, 2, 3}),
    ([0, 2, 4, 6], {2}, {3}),  # no prompt is known before
    ([0, 2, 40, 42], {0}, {1}),  # it leaps to something else
    ([0, None, 2, 4], {0}, set()),  # it was hidden: what came then may be something else
    ([0, 2, 40, 42], {0, 2}, {1, 3}),  # a prompt says that it is there
    ([None, 2, 4, 6], {0}, set()),
], ids=['all', 'later', 'leap', 'hidden', 'prompted', 'unseen'])  # fmt: skip
def test_masks_are_followed_from_a_prompt_without_a_leap(lefts, prompts, expected):
    own = thing(1)
    own.prompts = dict.fromkeys(prompts)
    frames = [frame(index, left) for index, left in enumerate(lefts)]
    assert path(own, frames, 0.3) == expected


@pytest.mark.parametrize(('now', 'beside', 'expected'), [
    (None, 30, True),
    (12, 30, False),  # the pass found it elsewhere
    (None, 12, False),  # it had strayed to the other one
], ids=['lost', 'found', 'strayed'])  # fmt: skip
def test_what_a_pass_lost(now, beside, expected):
    one, other = thing(1), thing(2)
    found = {
        obj: FoundMask(torch.zeros(1), 0.9, square(left))
        for obj, left in ((one, now), (other, beside))
    }
    gone = lost(FrameMasks(found), frame(3, 10, 30), [one, other])
    assert gone == ({one} if expected else set())


def test_who_was_not_published_or_not_looked_for_is_not_lost():
    own = thing(1)
    empty = FrameMasks({own: FoundMask(torch.zeros(1), 0.1, square(None))})
    assert lost(empty, frame(3, None), [own]) == set()
    assert lost(empty, replace(frame(3, 10), published=None), [own]) == set()
    assert lost(FrameMasks(), frame(3, 10), [own]) == set()


@pytest.mark.parametrize(('mode', 'stop', 'kept'), [
    ('online', 0.9, True), ('online', 0.0, True), ('window', 0.9, False),
])  # fmt: skip
def test_a_pass_that_finds_nothing_leaves_what_was_followed(monkeypatch, mode, stop, kept):
    images = film(16)
    run = Run(ColourDetector(['red']), **OPTIONS, mode=mode, early_stop_iou=stop)
    run.push(*images[:8])

    def nothing(*args, **options):
        found = track_objects(*args, **options)
        return {
            row: SimpleNamespace(**{**vars(own), 'logits': torch.full_like(own.logits, -9.0)})
            for row, own in found.items()
        }

    monkeypatch.setattr(reverse_pass, 'track_objects', nothing)
    run.push(*images[8:])
    shown = [mask(run.latest()[index], 1).any() for index in range(4, 16)]
    prompted = [index % 4 == 0 for index in range(4, 16)]
    # Of the last window, what lies after its newest prompt no pass comes to.
    assert shown[:8] == ([True] * 8 if kept else prompted[:8])
    if kept:
        assert all(iou(mask(run.latest()[i], 1), mask(run.first()[i], 1)) == 1 for i in range(16))
