# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Prompts that cannot be: one sentence, and the stream goes on as if there had been none."""

import numpy as np
import pytest
from fakes import ColourDetector, Run, colour_sam2, disc_box, scene
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from stream_cases import MODES, RED, SIZE, USUAL, film, red

from detsam2_ros.engine import Prompt, PromptError
from detsam2_ros.engine.sam2.prompts import MAX_POINTS


@MODES
def test_a_refused_prompt_changes_nothing(mode):
    run, plain = (Run(ColourDetector(['red']), mode=mode, **USUAL) for _ in range(2))
    refused = [
        ({'box': (70, 50, 90, 60)}, 'ball', None, 'has no pixel inside the image'),
        ({'points': [[70, 5]], 'labels': [1]}, 'ball', None, 'is outside the image, .* 64x48'),
        ({'points': [[7, 5]], 'labels': [0]}, 'ball', None, 'tell nothing of a new one'),
        ({'mask': np.ones((4, 4))}, 'ball', None, 'the mask is 4x4, the images'),
        ({'box': RED}, '', None, 'a new object needs a class name'),
        ({'box': RED}, '', 7, 'has no object 7; there are 1'),
        ({'box': RED}, 'ball', 1, "object 1 is a 'red', the prompt says 'ball'"),
        ({'box': (40, 30, 60, 44)}, 'ball', None, 'nothing is found at the prompt on frame 5'),
    ]
    for image in film(12):
        run.push(image), plain.push(image)
        if len(run.images) == 6:
            for arguments, name, object_id, message in refused:
                with pytest.raises(PromptError, match=message):
                    run.stream.prompt(5, Prompt(**arguments), name, object_id)
    assert [r.labels.tobytes() for r in run.results] == [r.labels.tobytes() for r in plain.results]
    assert run.engine.stats().prompts == 0


def test_frames_that_are_not_there():
    run = Run(None, **USUAL)
    with pytest.raises(PromptError, match="'front' has no frame yet"):
        run.stream.find_frame()
    with pytest.raises(PromptError, match="'front' has no frame yet"):
        run.stream.remove_object(1)
    run.push(*film(17))
    with pytest.raises(PromptError, match='no frame with stamp 5 ns; .* from 12000 to 16000 ns'):
        run.stream.find_frame(5)
    for index in (3, 17, -1):
        with pytest.raises(PromptError, match=f'does not hold frame {index};.* from 12 to 16'):
            run.stream.prompt(index, Prompt(box=RED), 'ball')


def test_there_are_no_more_than_max_objects():
    run = Run(None, max_objects=1, **USUAL)
    run.push(*[red(14, ('green', 50, 24))] * 2)
    run.stream.prompt(1, Prompt(box=RED), 'ball')
    with pytest.raises(PromptError, match='has 1 objects already; remove one'):
        run.stream.prompt(1, Prompt(box=disc_box(50, 24)), 'ball')
    run.stream.remove_object(1)
    run.stream.prompt(1, Prompt(box=disc_box(50, 24)), 'ball')


@pytest.mark.parametrize(('arguments', 'message'), [
    ({}, 'a box, points or a mask'),
    ({'box': (1, 2, 3)}, 'a box is four finite numbers'),
    ({'box': (1, 2, 3, np.nan)}, 'a box is four finite numbers'),
    ({'box': (3, 2, 1, 4)}, 'is empty'),
    ({'points': [1, 2], 'labels': [1]}, r'points \[n, 2\], got shape \[2\]'),
    ({'points': [[1, 2]]}, '1 points, 0 labels'),
    ({'points': [[1, 2]], 'labels': [2]}, r'1 \(inside\) or 0 \(outside\)'),
    ({'points': [[1, np.inf]], 'labels': [1]}, 'finite'),
    ({'points': np.zeros((MAX_POINTS + 1, 2)), 'labels': [1] * (MAX_POINTS + 1)}, 'at most 64'),
    ({'mask': np.ones((4, 4)), 'box': RED}, 'comes alone'),
    ({'mask': np.zeros((4, 4))}, 'has no pixel'),
    ({'mask': np.ones(4)}, r'a mask is \[H, W\]'),
])  # fmt: skip
def test_what_is_no_prompt(arguments, message):
    with pytest.raises(PromptError, match=message):
        Prompt(**arguments)


FLOATS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, np.nan, np.inf])


@given(
    box=st.none() | st.tuples(FLOATS, FLOATS, FLOATS, FLOATS),
    points=st.none() | arrays.arrays(np.float64, st.tuples(st.integers(0, 3), st.just(2)),
                                     elements=FLOATS),
    labels=st.none() | st.lists(st.integers(-1, 3), max_size=3),
)  # fmt: skip
def test_any_numbers_are_a_prompt_or_refused(box, points, labels):
    run = Run(None, colour_sam2(), **USUAL)
    run.push(scene(('red', 14, 24), size=SIZE))
    try:
        prompted = run.stream.prompt(0, Prompt(box, points, labels), 'ball')
    except PromptError:
        assert run.engine.stats().objects == 0
        return
    assert prompted.object.mask.pixels().any() and prompted.object.mask.pixels().shape == SIZE
