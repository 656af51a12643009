# Copyright 2026 detsam2_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The reverse pass by itself: what it attends to, that it is pure, that batching is no rule."""

from collections.abc import Callable, Mapping
from unittest import mock

import pytest
import torch
from failing import fingerprint
from stream_cases import fail_once, same_results

from detsam2_ros.engine.config import EngineConfig
from detsam2_ros.engine.engine import Engine
from detsam2_ros.engine.sam2 import steps
from detsam2_ros.engine.sam2.attended_memories import Context, ObjectMemory
from detsam2_ros.engine.sam2.memory import Memory
from detsam2_ros.engine.sam2.model import Sam2Model
from detsam2_ros.engine.sam2.steps import ImageFeatures, decode_points, encode_image, encode_memory
from detsam2_ros.engine.tracking import reverse_pass as reverse
from detsam2_ros.engine.tracking.reverse_pass import PassInput, PassOutput, reverse_pass
from detsam2_ros.results.frames import FrameResult
from oracle import random_sam2
from oracle.pair import ScriptedDetector, random_models

_BOXES = ((8.0, 8.0, 52.0, 50.0), (60.0, 18.0, 112.0, 82.0), (30.0, 48.0, 74.0, 92.0))

Reads = dict[int, tuple[dict[str, int], dict[str, float]]]


def _spied_reads(calls: list[Callable[[], object]]) -> Reads:
    """Make calls that run passes over one object; returns what each frame of the last pass read.

    By frame: the rows of spatial memories and the distances of pointers, by 'tracked 34' or
    'conditioned 30'.
    """
    contexts: dict[int, Context] = {}
    tracked: dict[int, Memory] = {}
    conditioned: Mapping[int, Memory] = {}

    def run(
        model: Sam2Model, features: Mapping[int, ImageFeatures], objects: list[PassInput],
        **options,
    ) -> reverse.Steps[list[PassOutput]]:
        nonlocal conditioned
        (only,) = objects
        conditioned = only.memory.conditioning
        contexts.clear()
        tracked.clear()
        frame_of = {id(value): frame for frame, value in features.items()}
        now = -1

        def track(model, features, batch, cache):
            nonlocal now
            now = frame_of[id(features)]
            (contexts[now],) = batch
            return original_track(model, features, batch, cache)

        def encode(*args):
            (tracked[now],) = memories = original_encode(*args)
            return memories

        original_track, original_encode = steps.track, steps.encode_memory
        with (
            mock.patch.object(steps, 'track', track),
            mock.patch.object(steps, 'encode_memory', encode),
        ):
            return (yield from reverse.reverse_steps(model, features, objects, **options))

    with mock.patch('detsam2_ros.engine.tracking.window_pass.reverse_steps', run):
        for call in calls:
            call()
    names = {id(memory): f'conditioned {frame}' for frame, memory in conditioned.items()}
    names.update({id(memory): f'tracked {frame}' for frame, memory in tracked.items()})
    return {
        frame: (
            {names[id(memory)]: row for memory, row in context.spatial},
            {names[id(memory)]: distance for memory, distance in context.pointers},
        )
        for frame, context in contexts.items()
    }


def test_what_frames_read_in_the_example_of_the_design() -> None:
    # K=10, D=10, M=20, newest frame 39; detected on 10, 20 and 30.
    model, _ = random_models('sam21', 1)
    config = EngineConfig(
        10, 10, 20, mode='window', windows='plain', association='class', max_lost_frames=1000)
    script = {frame: {1: _BOXES[0]} for frame in (10, 20, 30)}
    stream = Engine(model, ScriptedDetector(script, 10), config).open_stream('x')
    film = random_sam2.images(40)
    reads = _spied_reads(
        [lambda i=i, image=image: stream.push(image, i) for i, image in enumerate(film)])

    # Exactly M frames, of which 20 and 30 keep their prompted mask.
    assert list(reads) == [f for f in range(39, 19, -1) if f not in (20, 30)]
    conditioned = {'conditioned 10': 6, 'conditioned 20': 6, 'conditioned 30': 6}
    assert reads[39] == (conditioned, {})
    spatial, pointers = reads[33]
    assert spatial == {**conditioned, **{f'tracked {f}': f - 34 for f in range(34, 40)}}
    assert pointers == {f'tracked {f}': pytest.approx((f - 33) / 15) for f in range(34, 40)}
    # A prompted frame among the next six is read as a conditioned one, no earlier stands in.
    spatial, pointers = reads[26]
    assert spatial == {
        **conditioned,
        **{f'tracked {f}': f - 27 for f in (27, 28, 29, 31, 32)},
    }
    assert pointers == {
        'conditioned 30': pytest.approx(4 / 15),
        **{f'tracked {f}': pytest.approx((f - 26) / 15) for f in range(27, 40) if f != 30},
    }
    # Of the pointers, those of the next 15 frames.
    assert 'tracked 36' in reads[21][1]
    assert 'tracked 37' not in reads[21][1]


def test_what_frames_read_before_a_detection_that_ends_their_window() -> None:
    model, _ = random_models('sam21', 1)
    config = EngineConfig(
        10, 10, 20, mode='window', association='class', max_lost_frames=1000)
    script = {frame: {1: _BOXES[0]} for frame in (10, 20, 30, 40)}
    stream = Engine(model, ScriptedDetector(script, 10), config).open_stream('x')
    reads = _spied_reads([
        lambda i=i, image=image: stream.push(image, i)
        for i, image in enumerate(random_sam2.images(41))
    ])  # fmt: skip

    assert list(reads) == [f for f in range(39, 20, -1) if f != 30]
    conditioned = {f'conditioned {frame}': 6 for frame in (10, 20, 30, 40)}
    assert reads[39] == (conditioned, {'conditioned 40': pytest.approx(1 / 15)})
    spatial, pointers = reads[35]
    assert spatial == {**conditioned, **{f'tracked {f}': f - 36 for f in range(36, 40)}}
    assert pointers == {
        'conditioned 40': pytest.approx(5 / 15),
        **{f'tracked {f}': pytest.approx((f - 35) / 15) for f in range(36, 40)},
    }


def encoded(model: Sam2Model, count: int) -> dict[int, ImageFeatures]:
    film = random_sam2.images(count, seed=3)
    with model.inference():
        return {
            i: encode_image(model, model.preprocess(image)[None])[0]
            for i, image in enumerate(film)
        }


def prompted(
    model: Sam2Model, features: Mapping[int, ImageFeatures], frames: tuple[int, ...], row: int
) -> PassInput:
    corners = torch.tensor(_BOXES[row]).reshape(1, 2, 2)
    labels = torch.tensor([[2, 3]], dtype=torch.int32)
    memories = {}
    with model.inference():
        for frame in frames:
            decoded = decode_points(model, features[frame], corners, labels)
            (memories[frame],) = encode_memory(model, features[frame], decoded, prompted=True)
    return PassInput(ObjectMemory(memories), frozenset(frames))


def run_pass(model, features, objects, newest, oldest, **options) -> list[PassOutput]:
    with model.inference():
        return reverse_pass(
            model, features, objects, range(oldest, newest + 1), newest + 1, **options)


@pytest.mark.parametrize('kind', ['sam21', 'odd'])
def test_equal_inputs_give_equal_outputs_whatever_ran_before(kind: str) -> None:
    model, _ = random_models(kind, 1)
    features = encoded(model, 8)
    objects = [
        prompted(model, features, (0, 4), 0),
        prompted(model, features, (4,), 1),
        prompted(model, features, (2, 4), 2),
    ]
    first = run_pass(model, features, objects, 7, 0)
    # A longer one, one of other objects, and one that breaks off half way.
    run_pass(model, features, objects[1:], 6, 1)
    failing = fail_once(steps.encode_memory, after=4)
    with mock.patch.object(steps, 'encode_memory', failing), pytest.raises(MemoryError):
        run_pass(model, features, objects, 7, 0)
    assert fingerprint(run_pass(model, features, objects, 7, 0)) == fingerprint(first)


@pytest.mark.parametrize('kind', ['sam21', 'sam20', 'odd'])
def test_objects_in_one_batch_are_as_one_by_one(kind: str) -> None:
    model, _ = random_models(kind, 1)
    features = encoded(model, 8)
    # Of one layout, of others, and one whose layout changes on the way.
    objects = [
        prompted(model, features, frames, row) for row, frames in enumerate([(0, 4), (0, 4), (4,)])
    ]
    sizes = []

    def noting(model, features, contexts, cache):
        sizes.append(len(contexts))
        return original(model, features, contexts, cache)

    original = steps.track
    with mock.patch.object(steps, 'track', noting):
        together = run_pass(model, features, objects, 7, 0)
    assert max(sizes) > 1
    apart = run_pass(model, features, objects, 7, 0, batch=False)
    for a, b in zip(together, apart, strict=True):
        for frame, tracked in a.tracked.items():
            other = b.tracked[frame].logits
            spread = other.std().clamp_min(1e-3)
            assert (tracked.logits - other).abs().max() <= 2e-2 * spread
            assert ((tracked.logits > 0) != (other > 0)).float().mean() <= 2e-3


@pytest.mark.parametrize('stage', ['track', 'encode_memory'])
def test_a_window_that_fails_leaves_no_trace(stage: str) -> None:
    model, _ = random_models('sam21', 1)
    config = EngineConfig(4, 4, 8, mode='window', windows='plain', association='class')
    script = {0: {1: _BOXES[0]}, 4: {1: _BOXES[0], 2: _BOXES[1]}, 8: {2: _BOXES[1]}}
    film = random_sam2.images(12)

    def push_all(fail_on: int | None) -> list[FrameResult]:
        stream = Engine(model, ScriptedDetector(script, 4), config).open_stream('x')
        results: list[FrameResult] = []
        for index, image in enumerate(film):
            if index == fail_on:
                failing = fail_once(getattr(steps, stage), after=3)
                with mock.patch.object(steps, stage, failing), pytest.raises(MemoryError):
                    stream.push(image, index)
                results += stream.flush()
            else:
                results += stream.push(image, index)
        return results

    expected = push_all(None)
    same_results(push_all(7), expected)
    same_results(push_all(11), expected)
